"""One real run: the web server, the worker, PostgreSQL, the gateway, and two faults."""

import json
import os
import subprocess
import sys

from chaos import facts
from chaos.history import History


def test_a_short_run_with_two_faults_breaks_no_promise(tmp_path):
    environment = os.environ | {
        "CHAOS_HOME": str(tmp_path),
        "SEED": "1",
        "SECONDS": "6",
        "CLIENTS": "6",
        "SCHEDULE": "2 kill_web 0; 3 cut_at_commit 2",
        "SHRINK": "0",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "chaos"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        printed, _ = process.communicate(timeout=105)
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends its servers
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    assert "No promise was broken." in printed
    folder = tmp_path / "runs" / "1"
    history = History.read(folder / "history.jsonl")
    assert [fault.name for fault in history.faults] == ["kill_web", "cut_at_commit"]
    assert {"book"} <= {attempt.verb for attempt in history.attempts if attempt.outcome == "ok"}
    assert not [each.code for each in history.attempts if each.code.startswith("unread")]
    assert facts.Facts.read(folder / "facts.json").captures
    assert json.loads((folder / "verdict.json").read_text())["violations"] == []


def test_the_clock_of_a_process_can_be_set_wrong_and_right_again(tmp_path):
    code = """if True:
        import os, time
        from pathlib import Path
        from django.utils import timezone
        file = Path(os.environ["CHAOS_CLOCKS"]) / str(os.getpid())
        def ahead():
            time.sleep(0.3)
            real = time.clock_gettime(time.CLOCK_REALTIME)
            return [round(each - real) for each in (time.time(), timezone.now().timestamp())]
        seen = [ahead()]
        file.write_text("-180")
        seen.append(ahead())
        file.unlink()
        seen.append(ahead())
        print(seen)
    """
    environment = os.environ | {"PYTHONPATH": "chaos/clock", "CHAOS_CLOCKS": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[[0, 0], [-180, -180], [0, 0]]"
