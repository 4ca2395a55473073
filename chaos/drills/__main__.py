"""make chaos-drills: one drill after the other, each in a process and with a database of its own.

DRILLS=killed_database,no_worker makes these. The docstring of chaos/drills/NAME.py says what a drill shows,
how long it takes, and which variables it reads. What they leave is in .data/chaos/drills/NAME. The exit code
is 1 if one of them failed.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from chaos.system import HOME

DRILLS = [
    *("late_answers", "killed_database", "no_worker", "called_off"),
    *("full_disk", "failpoints", "cost"),
]


def main() -> None:
    names = [name.strip() for name in os.environ.get("DRILLS", "").split(",") if name.strip()]
    if unknown := set(names) - set(DRILLS):
        sys.exit(f"There is no drill {', '.join(unknown)}. The drills are {', '.join(DRILLS)}.")
    failed = [name for name in names or DRILLS if _run(name, HOME / "drills" / name)]
    if failed:
        sys.exit(f"FAILED: {', '.join(failed)}")


def _run(name: str, home: Path) -> int:
    print(f"--- {name}", flush=True)
    environment = os.environ | {"CHAOS_HOME": str(home), "DATABASE_URL": ""}
    process = subprocess.Popen([sys.executable, "-m", f"chaos.drills.{name}"], env=environment)
    # The drill ends its servers, and then itself.
    signal.signal(signal.SIGTERM, lambda number, frame: process.terminate())
    try:
        return process.wait()
    except KeyboardInterrupt:  # the drill has got it too
        process.wait(120)
        raise


if __name__ == "__main__":
    main()
