"""Whoever guesses passwords or signs up in masses is slowed down, and nobody else."""

import json
from datetime import timedelta
from ipaddress import ip_network
from math import ceil

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.models import F
from django.test import Client
from django.utils import timezone

from accounts import devices, throttle
from accounts.models import Attempts, User
from accounts.tasks import forget_old_attempts

pytestmark = pytest.mark.django_db

ANN, BOB = "ann@example.com", "bob@example.com"
RIGHT, WRONG = "correct horse", "wrong horse"
STRANGER = "198.51.100.66"


@pytest.fixture(autouse=True)
def ann():
    return User.objects.create_user(ANN, RIGHT, name="Ann", is_staff=True)


@pytest.fixture(autouse=True)
def addresses(settings):
    """Requests say where they come from."""
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]


@pytest.fixture(autouse=True)
def few_and_long(settings, monkeypatch):
    """Few failures, to be quick. The first wait is so long that no slow test outlasts it."""
    settings.LOGIN_FAILURES = 4
    monkeypatch.setattr(throttle, "FIRST_WAIT", 60.0)


DEFAULTS = throttle.FIRST_WAIT, settings.LOGIN_FAILURES


class Door:
    """A door that a password opens. Calling it is a log-in, by a new client if none is given."""

    def __init__(self, path, *, api=False):
        self.path, self.api = path, api

    def __call__(self, password=WRONG, email=ANN, *, address=STRANGER, client=None, **more):
        client, headers = client or Client(), {"X-Forwarded-For": address}
        if self.api:
            body = json.dumps({"email": email, "password": password})
            return client.post(self.path, body, content_type="application/json", headers=headers)
        return client.post(
            self.path, {"username": email, "password": password, **more}, headers=headers
        )

    def __repr__(self):
        return self.path


PAGE, STAFF = Door("/accounts/login/"), Door("/admin/login/")
API = Door("/api/v1/auth/token", api=True)
DOORS = [PAGE, STAFF, API]
every_door = pytest.mark.parametrize("door", DOORS, ids=repr)


def guess(door=API, times=4, **more):
    """So many wrong log-ins, each of which is looked at."""
    for _ in range(times):
        assert door(**more).status_code == (401 if door.api else 200)


def lets_in(response):
    return response.status_code == (302 if "text/html" in response["Content-Type"] else 200)


def seconds_pass(seconds):
    moved = {name: F(name) - timedelta(seconds=seconds) for name in ("forgotten_at", "free_at")}
    Attempts.objects.update(**moved)


def wait_of(response):
    """In seconds, rounded up to tens, because the clock runs while a test does."""
    assert response.status_code == 429
    return ceil(int(response["Retry-After"]) / 10) * 10


# --- One account --------------------------------------------------------------------------------


@every_door
def test_after_the_limit_a_wrong_log_in_has_to_wait_and_so_has_the_right_one(door):
    guess(door)
    assert wait_of(door()) == 60
    assert wait_of(door(RIGHT)) == 60


@every_door
def test_the_right_password_after_the_wait_works_and_ends_the_count(door):
    guess(door)
    seconds_pass(wait_of(door(RIGHT)))
    assert lets_in(door(RIGHT))
    guess(door)


def test_retry_after_is_when_the_next_try_is_looked_at():
    guess()
    wait = int(API()["Retry-After"])
    seconds_pass(wait - 10)
    assert wait_of(API()) == 10
    seconds_pass(10)
    assert API().status_code == 401


def test_by_default_ten_fail_and_the_first_wait_is_two_seconds(settings, monkeypatch):
    monkeypatch.setattr(throttle, "FIRST_WAIT", DEFAULTS[0])
    settings.LOGIN_FAILURES = DEFAULTS[1]
    assert DEFAULTS == (2.0, 10)
    guess(times=10)
    assert API()["Retry-After"] in {"1", "2"}


def test_the_waits_grow_from_a_minute_to_a_quarter_of_an_hour_and_no_further():
    guess()
    waits = []
    for _ in range(7):
        waits.append(wait_of(API()))
        seconds_pass(waits[-1])
        guess(times=1)
    assert waits == [60, 120, 240, 480, 480, 900, 900]  # at the fifth, one failure is forgotten


def test_what_comes_too_early_does_not_make_the_wait_longer():
    guess()
    for _ in range(8):
        assert wait_of(API()) == 60


def test_failures_are_forgotten_bit_by_bit():
    guess()
    seconds_pass(900)
    guess(times=1)
    assert wait_of(API()) == 60
    seconds_pass(4 * 900)
    guess()


@every_door
def test_all_doors_count_together(door):
    for other in (PAGE, STAFF, API):
        guess(other, times=1)
    guess(door, times=1)
    for other in DOORS:
        assert wait_of(other(RIGHT)) == 60


def test_several_spellings_are_one_account():
    for spelling in (ANN, "ANN@example.com", "Ann@Example.COM", " aNN@example.com "):
        guess(API, times=1, email=spelling)
    assert wait_of(PAGE(RIGHT, "anN@example.com")) == 60
    assert (
        wait_of(STAFF(RIGHT, "\uff41nn@example.com")) == 60
    )  # the admin folds a full-width letter


@every_door
def test_an_unknown_account_is_treated_as_a_known_one(door):
    User.objects.create_user("closed@example.com", RIGHT, name="Carol", is_active=False)
    told = []
    for email in (ANN, "nobody@example.com", "closed@example.com"):
        guess(door, email=email)
        answer = door(email=email)
        told.append((wait_of(answer), "Try again in" in answer.content.decode()))
    assert told == [(60, True)] * 3


def test_one_account_does_not_slow_down_another():
    User.objects.create_user(BOB, RIGHT, name="Bob")
    guess(API)
    assert lets_in(API(RIGHT, BOB))


def test_right_log_ins_are_not_counted():
    for _ in range(8):
        assert lets_in(API(RIGHT, address="203.0.113.5"))
        assert lets_in(PAGE(RIGHT))
    guess(API)


# --- A known device -----------------------------------------------------------------------------


@pytest.mark.parametrize("door", [PAGE, STAFF], ids=repr)
def test_a_browser_that_has_logged_in_before_passes_while_strangers_guess(door):
    home = Client()
    assert lets_in(door(RIGHT, client=home, address="203.0.113.5"))
    home.post("/accounts/logout/")
    guess(API)
    assert wait_of(door(RIGHT, address="203.0.113.77")) == 60
    assert lets_in(door(RIGHT, client=home, address="203.0.113.78"))
    assert wait_of(door(RIGHT, address="203.0.113.77"))  # the strangers still have to wait


def test_a_browser_that_has_signed_up_is_known():
    home = Client()
    form = {"name": "Bob", "email": BOB, "password": RIGHT}
    assert home.post("/accounts/signup/", form).status_code == 302
    home.post("/accounts/logout/")
    guess(API, email=BOB)
    assert lets_in(PAGE(RIGHT, BOB, client=home, address="203.0.113.78"))


def test_a_client_of_the_api_is_known_by_its_address():
    assert lets_in(API(RIGHT, address="203.0.113.5"))
    guess(API)
    assert wait_of(API(RIGHT, address="203.0.113.6")) == 60
    assert lets_in(API(RIGHT, address="203.0.113.5"))
    seconds_pass(devices.ADDRESS_SECONDS)
    guess(API)
    assert wait_of(API(RIGHT, address="203.0.113.5")) == 60


def test_a_known_device_has_a_limit_of_its_own():
    home = Client()
    PAGE(RIGHT, client=home)
    home.post("/accounts/logout/")
    guess(PAGE, client=home)
    assert wait_of(PAGE(RIGHT, client=home)) == 60
    assert lets_in(PAGE(RIGHT, address="203.0.113.5"))  # nobody else had to wait for it


def test_the_cookie_of_one_account_is_of_no_use_for_another():
    User.objects.create_user(BOB, RIGHT, name="Bob")
    home = Client()
    PAGE(RIGHT, BOB, client=home)
    home.post("/accounts/logout/")
    guess(API)
    assert wait_of(PAGE(client=home)) == 60


def test_one_browser_is_known_to_several_accounts():
    User.objects.create_user(BOB, RIGHT, name="Bob")
    home = Client()
    for email in (ANN, BOB):
        assert lets_in(PAGE(RIGHT, email, client=home, address="203.0.113.5"))
        home.post("/accounts/logout/")
    for email in (ANN, BOB):
        guess(API, email=email)
        assert lets_in(PAGE(RIGHT, email, client=home, address="203.0.113.78"))
        home.post("/accounts/logout/")


@pytest.mark.parametrize("forged", ["", "x", "a:b:c", '"\\000"', "W10:1:abc", "é", "x" * 3000])
def test_a_made_up_cookie_is_no_device(forged):
    guess(API)
    client = Client(headers={"Cookie": f"device={forged}"})
    assert wait_of(PAGE(RIGHT, client=client)) == 60


def test_the_cookie_goes_to_the_log_in_page_only_and_not_to_scripts(settings):
    settings.SESSION_COOKIE_SECURE = True
    for door in (PAGE, STAFF):
        cookie = door(RIGHT).cookies["device"]
        assert (cookie["path"], cookie["samesite"]) == (door.path, "Lax")
        assert cookie["httponly"]
        assert cookie["secure"]
        assert ANN not in cookie.value
    assert not API(RIGHT).cookies


# --- Addresses ----------------------------------------------------------------------------------


def test_an_address_that_guesses_at_many_accounts_has_to_wait(settings):
    settings.LOGIN_FAILURES_PER_ADDRESS = 12
    for n in range(12):
        guess(API, times=1, email=f"{n}@example.com")
    assert wait_of(API(email="other@example.com"))
    assert wait_of(PAGE(RIGHT))
    assert lets_in(API(RIGHT, address="198.51.100.67"))


def test_a_network_that_guesses_has_to_wait(settings):
    settings.LOGIN_FAILURES_PER_ADDRESS = 2  # a network may make four times as many
    for n in range(8):
        guess(API, times=1, email=f"{n}@example.com", address=f"198.51.100.{n}")
    assert wait_of(API(address="198.51.100.200"))
    guess(API, times=1, address="198.51.101.1")


def test_a_host_cannot_escape_by_choosing_another_ipv6_address(settings):
    settings.LOGIN_FAILURES_PER_ADDRESS = 5
    for n in range(5):
        guess(API, times=1, email=f"{n}@example.com", address=f"2001:db8::{n}")
    assert wait_of(API(address="2001:db8::ffff:1"))
    guess(API, times=1, address="2001:db8:0:1::1")


def test_a_stranger_cannot_spend_the_guesses_of_another_address(settings):
    settings.TRUSTED_PROXIES = []
    settings.LOGIN_FAILURES_PER_ADDRESS = 5
    for n in range(5):  # all of them come from 127.0.0.1, whatever they say
        guess(API, times=1, email=f"{n}@example.com", address=f"192.0.2.{n}")
    assert wait_of(API(address="192.0.2.200"))


def test_a_crowd_behind_one_address_is_not_taken_for_one_person():
    for n in range(30):
        guess(API, times=1, email=f"{n}@example.com")
    assert lets_in(API(RIGHT))


def test_a_known_device_passes_although_its_address_guesses(settings):
    settings.LOGIN_FAILURES_PER_ADDRESS = 5
    home = Client()
    PAGE(RIGHT, client=home)
    home.post("/accounts/logout/")
    for n in range(5):
        guess(API, times=1, email=f"{n}@example.com")
    assert wait_of(API(email=BOB))
    assert lets_in(PAGE(RIGHT, client=home))


def test_what_has_to_wait_for_its_account_does_not_count_for_its_address(settings):
    settings.LOGIN_FAILURES_PER_ADDRESS = 5
    guess(API)
    for _ in range(8):
        API()
    guess(API, times=1, email=BOB)


# --- Sign-up ------------------------------------------------------------------------------------


def sign_up(n, *, api, client=None):
    fields = {"name": "Eve", "email": f"eve{n}@example.com", "password": RIGHT}
    if api:
        body, kind = json.dumps(fields), "application/json"
        return Client().post("/api/v1/users", body, content_type=kind)
    return (client or Client()).post("/accounts/signup/?next=/bookings/", fields)


@pytest.mark.parametrize("api", [True, False], ids=["api", "page"])
def test_sign_ups_from_one_address_have_to_wait(settings, api):
    settings.SIGNUPS_PER_ADDRESS = 6
    for n in range(6):
        assert sign_up(n, api=n % 2).status_code == (201 if n % 2 else 302)
    assert wait_of(sign_up(7, api=api)) == 10
    assert not User.objects.filter(email="eve7@example.com").exists()
    seconds_pass(10)
    assert sign_up(7, api=api).status_code in {201, 302}


def test_a_taken_address_costs_a_sign_up_too(settings):
    settings.SIGNUPS_PER_ADDRESS = 3
    for _ in range(3):
        sign_up(1, api=True)
    assert wait_of(sign_up(1, api=True))


def test_a_crowd_signs_up_from_one_address(settings):
    for n in range(30):
        assert sign_up(n, api=True).status_code == 201


# --- What is told -------------------------------------------------------------------------------


def test_the_api_answers_with_a_problem():
    guess(API)
    response = API()
    assert response["Content-Type"] == "application/problem+json"
    body = response.json()
    assert (body["status"], body["code"]) == (429, "throttled")
    wait = response["Retry-After"]
    assert body["detail"] == f"There were too many attempts. Try again in {wait} seconds."


@pytest.mark.parametrize("door", [PAGE, STAFF], ids=repr)
def test_a_page_keeps_the_choice_and_the_address(door):
    guess(API)
    response = door(RIGHT, next="/bookings/?x=1")
    html = response.content.decode()
    assert f"Try again in {response['Retry-After']} seconds." in html
    assert f'value="{ANN}"' in html
    assert 'name="next" value="/bookings/?x=1"' in html
    assert RIGHT not in html


def test_the_sign_up_page_keeps_the_choice_and_the_address(settings):
    settings.SIGNUPS_PER_ADDRESS = 1
    sign_up(1, api=True)
    response = sign_up(2, api=False)
    html = response.content.decode()
    assert wait_of(response) == 60
    assert f"Try again in {response['Retry-After']} seconds." in html
    assert 'value="eve2@example.com"' in html
    assert 'value="/bookings/"' in html
    assert RIGHT not in html


def test_a_long_wait_is_told_in_minutes():
    assert str(throttle.Throttled(99.5)) == "There were too many attempts. Try again in 2 minutes."
    assert str(throttle.Throttled(0.1)) == "There were too many attempts. Try again in 1 second."


# --- Switches, and the end of counts ------------------------------------------------------------


def test_limits_can_be_switched_off(settings):
    settings.LOGIN_FAILURES = settings.LOGIN_FAILURES_PER_ADDRESS = settings.SIGNUPS_PER_ADDRESS = 0
    guess(times=20)
    assert lets_in(API(RIGHT))


def test_an_operator_ends_a_wait(settings, capsys):
    settings.LOGIN_FAILURES_PER_ADDRESS = 4
    guess(API)
    assert wait_of(API())
    call_command("forget_attempts", "ANN@example.com", STRANGER)
    assert capsys.readouterr().out == "3 counts were forgotten.\n"
    assert lets_in(API(RIGHT))


def test_the_night_takes_old_counts_and_leaves_the_others():
    guess(API, times=1)
    seconds_pass(61)
    throttle.remember("known", 60)
    forget_old_attempts(0)
    assert (
        Attempts.objects.count() == 2
    )  # the account, which forgets more slowly, and what is remembered
    assert not Attempts.objects.filter(forgotten_at__lt=timezone.now()).exists()


def test_the_table_tells_nothing_about_people():
    guess(API)
    for row in Attempts.objects.all():
        assert len(row.key) == 64
        assert set(row.key) <= set("0123456789abcdef")


@pytest.mark.django_db(transaction=True)
@every_door
def test_without_the_table_people_still_log_in(door, caplog):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE accounts_attempts RENAME TO gone")
    try:
        assert lets_in(door(RIGHT))
        assert door(WRONG).status_code in {200, 401}
        assert sign_up(1, api=True).status_code == 201
        assert "Attempts cannot be counted (ProgrammingError)." in caplog.messages
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE gone RENAME TO accounts_attempts")


# --- The old password, in the form for a new one --------------------------------------------------


def test_the_old_password_cannot_be_guessed_at_an_open_session(ann):
    client, door = Client(), "/admin/password_change/"
    client.force_login(ann)
    new = {"new_password1": "another sentence", "new_password2": "another sentence"}
    for _ in range(4):
        assert client.post(door, {"old_password": WRONG, **new}).status_code == 200
    response = client.post(door, {"old_password": RIGHT, **new})
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 30
    assert "too many attempts" in response.content.decode()
    call_command("forget_attempts", ANN)
    assert client.post(door, {"old_password": RIGHT, **new}).status_code == 302


def test_an_attempt_that_began_before_the_last_one_need_not_wait():
    """Two attempts may wait for each other, and the one that began first may be counted last."""
    for _ in range(2):
        throttle.count(*throttle.by_account("any", "one", failures=3, longest=60.0))
        assert Attempts.objects.get().free_at < timezone.now() - timedelta(hours=1)
