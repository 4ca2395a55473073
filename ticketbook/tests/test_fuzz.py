import os
import subprocess
import sys

import pytest
from django.conf import settings


@pytest.mark.timeout(240)
def test_no_door_breaks_under_hostile_values(tmp_path):
    """A few requests of `make fuzz`: no 5xx, no stack trace, no HTML under /api/, nothing unescaped."""
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "300", "1"],
        cwd=settings.BASE_DIR,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONWARNINGS": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
