import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from ticketbook.tests.running import environment, free_port, lives, manage, postmaster, python


@pytest.fixture(scope="module")
def demo_dir(open_folder: Path) -> Path:
    return open_folder / "demo"


@dataclass
class Demo:
    process: subprocess.Popen[str]
    address: str
    everything: list[psutil.Process]

    def end(self) -> tuple[str, str]:
        """Wait until it has ended by itself; returns its remaining output and errors."""
        return self.process.communicate(timeout=60)

    def leftovers(self) -> list[psutil.Process]:
        """Its processes that still live twenty seconds later."""
        psutil.wait_procs(self.everything, timeout=20, callback=None)
        return [process for process in self.everything if lives(process.pid)]


@contextmanager
def demo(data_dir: Path, **changes: object) -> Iterator[Demo]:
    """Run `manage.py demo`, and wait for the line that says how to stop it."""
    port = free_port()
    changes = {"PORT": port, "DATA_DIR": data_dir, "WEB_CONCURRENCY": 1} | changes
    process = python("manage.py", "demo", env=environment(**changes))
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C" in line:
            break
    else:
        raise AssertionError(process.communicate()[1])
    server = psutil.Process(postmaster(data_dir))
    everything = [server, *psutil.Process(process.pid).children(recursive=True)]
    try:
        yield Demo(process, f"http://127.0.0.1:{port}", everything)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=60)
        finally:  # a process that outlives the demo must not hang the tests
            for survivor in [process, *everything]:
                if lives(survivor.pid):
                    survivor.kill()


def ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


def runs_another(data_dir: Path, server: int) -> bool:
    try:
        return postmaster(data_dir) != server
    except (FileNotFoundError, IndexError):  # the pid file is just being written
        return False


def test_it_serves_and_ctrl_c_leaves_nothing_behind(demo_dir):
    with demo(demo_dir) as running:
        assert ready(running.address)
        running.process.send_signal(signal.SIGINT)
        said, complaints = running.end()
    assert running.process.returncode == 0
    assert said.endswith("Stopped.\n")
    assert "Traceback" not in complaints
    assert [process for process in running.everything if lives(process.pid)] == []


def test_a_database_that_is_killed_comes_back(demo_dir):
    with demo(demo_dir) as running:
        server = postmaster(demo_dir)
        os.kill(server, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while not (runs_another(demo_dir, server) and ready(running.address)):
            assert time.monotonic() < deadline
        running.process.send_signal(signal.SIGINT)
        running.end()
    assert running.process.returncode == 0


def test_it_ends_with_a_part_that_ends_and_says_which(demo_dir):
    with demo(demo_dir) as running:
        web = next(p for p in running.everything if "gunicorn" in p.cmdline())
        web.send_signal(signal.SIGTERM)
        said, complaints = running.end()
    assert running.process.returncode == 1
    assert "The web server ended unexpectedly" in complaints
    assert said.endswith("Stopped.\n")


def test_its_customers_pay_at_a_page_if_the_gateway_has_one(demo_dir):
    port = free_port()
    with demo(demo_dir, PAYMENT_DEFAULT="hosted", HOSTED_PORT=port) as running:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as page:
            assert "No money moves" in page.read().decode()
        running.process.send_signal(signal.SIGINT)
        running.end()
    assert [process for process in running.everything if lives(process.pid)] == []


def test_a_port_of_the_payment_page_in_use_is_refused_too(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {"PAYMENT_DEFAULT": "hosted", "PORT": free_port(), "HOSTED_PORT": port}
        done = manage("demo", DATA_DIR=tmp_path, **settings)
    assert done.returncode == 1
    assert f"Port {port} is in use. Choose another one: make demo HOSTED_PORT=9001" in done.stderr


def test_killed_it_takes_its_children_and_the_database_along(demo_dir):
    with demo(demo_dir) as running:
        running.process.kill()
        running.process.wait()
        assert running.leftovers() == []


def test_a_port_in_use_is_refused_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = manage("demo", PORT=port, DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert f"Port {port} is in use. Choose another one: make demo PORT=8001" in done.stderr
    assert not (tmp_path / "postgres").exists()


def test_a_site_for_customers_gets_no_demo_data(tmp_path):
    done = manage("demo", HTTPS="on", PORT=free_port(), DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert "HTTPS=on says that this is a site for customers" in done.stderr
    assert not (tmp_path / "postgres").exists()


def test_the_demo_can_use_a_real_server(tmp_path):
    """It needs no SECRET_KEY and touches no embedded server. Here the real server does not answer."""
    url = "postgres://ann@127.0.0.1:9/tickets"
    done = manage("demo", DATABASE_URL=url, PORT=free_port(), DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert "cannot reach its database at 127.0.0.1:9" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["secret_key"]
