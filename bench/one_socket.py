"""gunicorn.conf.py, but one listening socket for all processes; gunicorn has no option to say so."""

import runpy
from pathlib import Path

globals().update(runpy.run_path(str(Path(__file__).parent.parent / "gunicorn.conf.py")))
reuse_port = False
