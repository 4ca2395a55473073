"""The settings of gunicorn.conf.py, but with one listening socket for all processes.

gunicorn's command line cannot switch `reuse_port` off, so this needs a file.
"""

import runpy
from pathlib import Path

globals().update(runpy.run_path(str(Path(__file__).parent.parent / "gunicorn.conf.py")))
reuse_port = False
