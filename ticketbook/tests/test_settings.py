import re
import runpy

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ticketbook.environment import cache_server
from ticketbook.tests.running import environment, manage

URL = "postgres://ticketbook:hush@127.0.0.1:9/ticketbook"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"PORT": "abc"}, "PORT='abc' is not a number. Set it to 1 … 65535."),
        ({"PORT": "70000"}, "PORT=70000 is out of range. Set it to 1 … 65535."),
        ({"WEB_THREADS": "1.5"}, "WEB_THREADS=1.5 must be a whole number."),
        ({"DEBUG": "maybe"}, "DEBUG='maybe' is neither on nor off."),
        ({"PAYMENT_SUCCESS_RATE": "2"}, "PAYMENT_SUCCESS_RATE=2 is out of range. Set it to 0 … 1."),
        ({"DATABASE_URL": "mysql://ann:hush@db/x"}, "DATABASE_URL must name a PostgreSQL server"),
        ({"DATABASE_URL": "postgres://ann:hush@db:x/y"}, "DATABASE_URL must name a PostgreSQL"),
        ({"DATABASE_URL": "postgres://ann:hush@db"}, "DATABASE_URL must name a PostgreSQL server"),
        ({"DATABASE_URL": URL}, "SECRET_KEY is not set."),
        (
            {"CACHE_URL": "memcached://ann:hush@cache"},
            "CACHE_URL must name a Valkey or Redis server",
        ),
        ({"CACHE_URL": "valkey://ann:hush@cache:x/0"}, "CACHE_URL must name a Valkey or Redis"),
        ({"CACHE_URL": "valkey://ann:hush@cache/0?socket_timeout=soon"}, "CACHE_URL must name"),
        ({"CACHE_URL": "redis://"}, "CACHE_URL must name a Valkey or Redis server"),
        ({"CACHE_URL": "cache:6379"}, "CACHE_URL must name a Valkey or Redis server"),
        (
            {"DATABASE_POOLER": "session"},
            "DATABASE_POOLER='session' is not known here. Set it to none or",
        ),
        (
            {"DATABASE_POOLER": "transaction"},
            "DATABASE_POOLER=transaction needs a pooler: set DATABASE_URL",
        ),
        (
            {"DATABASE_POOLER": "transaction", "DATABASE_URL": URL, "SECRET_KEY": "x"},
            "DATABASE_DIRECT_URL is not set.",
        ),
        (
            {
                "DATABASE_POOLER": "transaction",
                "DATABASE_URL": URL,
                "DATABASE_DIRECT_URL": "db",
                "SECRET_KEY": "x",
            },
            "DATABASE_DIRECT_URL must name a PostgreSQL server",
        ),
        ({"LOCK_TIMEOUT_MS": "9000"}, "LOCK_TIMEOUT_MS=9000 is out of range. Set it to 1 … 2900."),
        (
            {"PAYMENT_GATEWAYS": "Main=a.b"},
            "PAYMENT_GATEWAYS has the entry 'Main=a.b'. Write name=",
        ),
        ({"PAYMENT_GATEWAYS": "a.b.C"}, "PAYMENT_GATEWAYS has the entry 'a.b.C'. Write name=value"),
        ({"SITE_URL": "tickets.example.com"}, "SITE_URL='tickets.example.com' is not the address"),
        ({"SITE_URL": "https://x.com?y=1"}, "SITE_URL='https://x.com?y=1' is not the address"),
        ({"SITE_URL": "https://x.com/shop"}, "SITE_URL='https://x.com/shop' is not the address"),
        ({"TIME_ZONE": "EST"}, "TIME_ZONE='EST' is no time zone. Set it to an area and city, like"),
        ({"CURRENCY": "eur"}, "CURRENCY='eur' is not spelt as in ISO 4217. Set it to EUR."),
        ({"CURRENCY": " Usd"}, "CURRENCY=' Usd' is not spelt as in ISO 4217. Set it to USD."),
        ({"CURRENCY": "XXQ"}, "CURRENCY='XXQ' is not a currency of ISO 4217. Set it to the code"),
        ({"CURRENCY": "€"}, "CURRENCY='€' is not a currency of ISO 4217."),
        ({"CURRENCY": "DEM"}, "CURRENCY='DEM' is not a currency of ISO 4217."),
        ({"CURRENCY": "KWD"}, "CURRENCY='KWD' has amounts with 3 decimals, and TicketBook keeps"),
        ({"CURRENCY": "CLF"}, "CURRENCY='CLF' has amounts with 4 decimals, and TicketBook keeps"),
        ({"CURRENCY": "XTS"}, "CURRENCY='XTS' is a code for funds, metals or tests."),
        ({"CURRENCY": "XAU"}, "CURRENCY='XAU' is a code for funds, metals or tests."),
        ({"CURRENCY": "XXX"}, "CURRENCY='XXX' is a code for funds, metals or tests."),
        (
            {"TRUSTED_PROXIES": "127.0.0.1,proxy"},
            "TRUSTED_PROXIES has the entry 'proxy'. Write addresses and networks such as",
        ),
        ({"TRUSTED_PROXIES": "10.0.0.1/8"}, "TRUSTED_PROXIES has the entry '10.0.0.1/8'. Write"),
        ({"LOGIN_FAILURES": "-1"}, "LOGIN_FAILURES=-1 is out of range. Set it to 0 … 1000."),
        ({"LOGIN_LONGEST_WAIT": "0"}, "LOGIN_LONGEST_WAIT=0 is out of range. Set it to 1 … 86400."),
        (
            {"SIGNUPS_PER_ADDRESS": "few"},
            "SIGNUPS_PER_ADDRESS='few' is not a number. Set it to 0 …",
        ),
        ({"PASSWORD_THREADS": "0"}, "PASSWORD_THREADS=0 is out of range. Set it to 1 … 100."),
        (
            {"TICKET_KEYS": f"hush,{'0' * 64}"},
            "TICKET_KEYS has something else than a key at place 1.",
        ),
        (
            {"TICKET_KEYS": f"{'0' * 64}, hush"},
            "TICKET_KEYS has something else than a key at place 2.",
        ),
        (
            {"TICKET_KEYS": "0" * 63},
            "TICKET_KEYS has something else than a key at place 1. Write keys",
        ),
        ({"TICKET_KEYS": f"{'a' * 64},{'A' * 64}"}, "TICKET_KEYS has a key twice."),
        ({"DATA_DIR": "/dev/null/x"}, "DATA_DIR='/dev/null/x' cannot be used"),
    ],
    ids=str,
)
def test_a_wrong_value_stops_the_start_with_one_sentence(wrong, sentence, tmp_path, monkeypatch):
    for name, value in environment(**{"DATA_DIR": tmp_path} | wrong).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as stop:
        runpy.run_path(str(settings.BASE_DIR / "ticketbook" / "settings.py"))
    assert str(stop.value).startswith(sentence)
    assert len(str(stop.value).splitlines()) == 1
    assert "hush" not in str(stop.value)


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("valkey://ann:hush@cache:6380/2", "redis://ann:hush@cache:6380/2"),
        ("valkeys://cache", "rediss://cache"),
        ("redis://cache/1", "redis://cache/1"),
        ("rediss://cache/1", "rediss://cache/1"),
    ],
)
def test_a_cache_server_is_known_by_its_new_and_its_old_name(url, location):
    assert cache_server(url)["LOCATION"] == location


def test_a_payment_gateway_that_is_not_there_stops_the_start(tmp_path):
    done = manage("check", PAYMENT_GATEWAY="no.such", DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("PAYMENT_GATEWAY='no.such' cannot be used")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"PAYMENT_DEFAULT": "stripe"}, "PAYMENT_DEFAULT='stripe' names no gateway that customers"),
        ({"PAYMENT_DEFAULT": "cash"}, "PAYMENT_DEFAULT='cash' names no gateway that customers can"),
        ({"PAYMENT_GATEWAYS": "bank=no.such"}, "PAYMENT_GATEWAYS: bank='no.such' cannot be used"),
    ],
    ids=str,
)
def test_a_gateway_that_cannot_be_used_stops_the_start(wrong, sentence, tmp_path):
    done = manage("check", DATA_DIR=tmp_path, **wrong)
    assert done.returncode == 1
    assert done.stderr.startswith(sentence)
    assert "Traceback" not in done.stderr


def test_the_demo_makes_its_secret_key_once(tmp_path):
    keys = []
    for _ in range(2):
        assert manage("check", DATA_DIR=tmp_path).returncode == 0
        keys.append((tmp_path / "secret_key").read_text())
    assert keys[0] == keys[1]
    assert len(keys[0]) >= 50
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_settings_of_a_production_site_pass_the_deployment_checks(tmp_path):
    done = manage(
        "check", "--deploy", "--fail-level", "WARNING",
        DATABASE_URL=URL, SECRET_KEY="".join(map(chr, range(33, 97))), HTTPS="on",
        TICKET_KEYS="7e" * 32, DATA_DIR=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_setting_is_documented():
    """The README's table and .env.example name the settings that settings.py reads, and no others."""
    source = (settings.BASE_DIR / "ticketbook" / "settings.py").read_text()
    read = re.findall(
        r"\b(?:text|words|named|address|currency|networks|number|whole|switch|folder|time_zone|postgres_server|sender"
        r"|choice|direct_server)"
        r'\(\s*"(\w+)"',
        source,
    )
    expected = {*read, "SECRET_KEY"}
    table = (settings.BASE_DIR / "README.md").read_text().partition("## Settings")[2]
    rows = [row.split("|")[1] for row in table.partition("\n## ")[0].splitlines() if "|" in row]
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == expected
    example = (settings.BASE_DIR / ".env.example").read_text()
    assert set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE)) == expected
