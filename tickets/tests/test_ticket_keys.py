"""Where the keys of tickets come from, and how a site changes them."""

from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import call_command

from ticketbook.checks import ticket_keys_are_set
from ticketbook.environment import ticket_keys
from ticketbook.tests.running import manage
from tickets import tokens

URL = "postgres://ticketbook:hush@127.0.0.1:9/ticketbook"


def printed(*arguments):
    out = StringIO()
    call_command("ticket_keys", *arguments, stdout=out)
    return out.getvalue()


def token():
    return tokens.sign(ticket=uuid4(), concert=uuid4(), tier_type="GA", number=1)


def test_without_a_setting_the_key_follows_from_the_secret_key():
    assert ticket_keys([], "one") == ticket_keys([], "one")
    assert ticket_keys([], "one") != ticket_keys([], "another")
    assert [len(key) for key in ticket_keys([], "one")] == [32]


def test_the_command_prints_what_a_scanner_needs_and_no_secret(settings):
    settings.TICKET_KEYS = [b"\1" * 32, b"\2" * 32]
    text = token()
    lines = [line.split() for line in printed().splitlines()]
    assert [key_id for key_id, _ in lines] == [key.id.hex() for key in tokens.our_keys()]
    assert lines[0][0] == tokens.verify(text).key_id
    assert bytes.fromhex(lines[0][1]) == tokens.our_keys()[0].public.public_bytes_raw()
    assert "01" * 32 not in printed()


def test_a_new_key_signs_and_the_tickets_of_before_stay_valid(settings):
    settings.TICKET_KEYS = ticket_keys([], "a secret key")
    before = token()
    name, _, value = printed("--new").strip().partition("=")
    assert name == "TICKET_KEYS"
    settings.TICKET_KEYS = ticket_keys(value.split(","), "another secret key")
    assert tokens.verify(before)
    assert tokens.verify(token()).key_id != tokens.verify(before).key_id


@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        ({}, 1),
        ({"EMBEDDED": True}, 0),
        ({"DEMO": True}, 0),
        ({"TICKET_KEYS_SET": True}, 0),
    ],
    ids=str,
)
def test_a_production_site_is_told_to_set_its_keys(settings, changes, warnings):
    settings.EMBEDDED = settings.DEMO = settings.TICKET_KEYS_SET = False
    for name, value in changes.items():
        setattr(settings, name, value)
    assert len(ticket_keys_are_set()) == warnings


def test_the_deployment_checks_name_the_setting(tmp_path):
    done = manage(
        "check", "--deploy", "--fail-level", "WARNING",
        DATABASE_URL=URL, SECRET_KEY="".join(map(chr, range(33, 97))), HTTPS="on",
        TICKET_KEYS="", DATA_DIR=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "TICKET_KEYS is not set" in done.stderr
    assert done.stderr.count("?:") == 1
