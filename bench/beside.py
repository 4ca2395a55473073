"""Programs of ours that keep a server busy while something else is measured."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.servers import HERE


@contextmanager
def beside(module: str, plan: dict[str, Any], *, says: str) -> Iterator[subprocess.Popen[str]]:
    """Run `python -m module` while the block runs. It reads the plan as a line of JSON.

    Raises SystemExit if its first line is not `says`, which tells that it is under way. What it prints later
    can be read from the process. It ends by itself, or because its input is closed at the end of the block.
    """
    with subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=HERE.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        print(json.dumps(plan), file=process.stdin, flush=True)
        if (said := process.stdout.readline()) != f"{says}\n":
            raise SystemExit(f"{module} should have said {says!r} and said {said!r}.")
        yield process
