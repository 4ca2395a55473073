import logging
import sys

import pytest

from ticketbook.logs import LONGEST, LineFormatter


def line(message, *args, **more):
    record = logging.makeLogRecord({"msg": message, "args": args, "levelname": "ERROR", **more})
    return LineFormatter("%(levelname)s: %(message)s").format(record)


@pytest.fixture
def fault():
    try:
        raise ValueError("first\n2026-01-01 INFO: made up")
    except ValueError:
        return sys.exc_info()


def test_a_refusal_is_one_line_without_a_traceback(fault):
    assert line("Invalid host", exc_info=fault, status_code=400) == "ERROR: Invalid host"


@pytest.mark.parametrize("more", [{}, {"status_code": 500}])
def test_a_fault_of_ours_has_its_traceback(fault, more):
    text = line("It failed", exc_info=fault, **more)
    assert text.startswith("ERROR: It failed\n    Traceback")
    assert "ValueError: first" in text


def test_nobody_can_write_a_line_of_their_own(fault):
    assert line("Host %s", "a\r\nb\x1b[1m\u2028c") == "ERROR: Host a\\r\\nb\\x1b[1m\\u2028c"
    beginnings = [row[:4] for row in line("x", exc_info=fault).splitlines()[1:]]
    assert set(beginnings) == {"    "}


def test_a_line_is_not_longer_than_anybody_wants_to_read():
    assert len(line("%s", "x" * 100_000)) < LONGEST + 20


def test_letters_of_every_language_are_shown():
    assert line("Solène, 東京") == "ERROR: Solène, 東京"


def test_the_address_of_a_ticket_is_in_no_line():
    address = f"/tickets/{'Ab-_' * 34}/"
    assert line("Forbidden: %s", address) == "ERROR: Forbidden: /tickets/…/"
    of_api = "/api/v1/tickets/01a217d0-e14c-7c7d-92e4-62b16c97d8a9"
    assert line("Forbidden: %s", of_api) == f"ERROR: Forbidden: {of_api}"
