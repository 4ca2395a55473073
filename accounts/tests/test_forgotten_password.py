"""A forgotten password: a link by mail that works once, and an answer that tells nothing."""

import re
import threading
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from knox.models import AuthToken

from accounts import new_password
from accounts.models import User
from accounts.new_password import LinkUsed, link_parts, reset_links, reset_password
from accounts.tests.mailed import link_of_last, mails
from mail.composing import compose
from mail.models import Mail
from ticketbook.postgres import clock

pytestmark = pytest.mark.django_db

ANN, OLD, NEW = "ann@example.com", "correct horse", "another sentence"


@pytest.fixture
def ann():
    return User.objects.create_user(ANN, OLD, name="Ann")


def ask(client, email=ANN):
    return client.post("/accounts/forgotten/", {"email": email})


def open_link(client, link):
    """The page behind the link, to which Django redirects without the token."""
    return client.get(link, follow=True)


def set_new(client, page, password=NEW):
    return client.post(page.request["PATH_INFO"], {"new_password": password})


def test_the_link_sets_a_new_password_and_logs_in(client, ann):
    AuthToken.objects.create(ann)
    elsewhere = Client()
    elsewhere.force_login(ann)
    assert "If there is an account" in ask(client).content.decode()
    response = set_new(client, open_link(client, link_of_last("password_reset")))
    assert response.status_code == 302
    assert "Ann" not in client.get("/accounts/login/").content.decode()  # it sends on
    ann.refresh_from_db()
    assert ann.check_password(NEW)
    assert client.get("/accounts/").status_code == 200
    assert elsewhere.get("/accounts/").status_code == 302
    assert not AuthToken.objects.exists()
    assert mails() == [("password_reset", ANN), ("password_changed", ANN)]


def test_the_link_works_once(client, ann):
    ask(client)
    link = link_of_last("password_reset")
    set_new(client, open_link(client, link))
    again = open_link(Client(), link)
    assert again.status_code == 410
    assert "does not work any more" in again.content.decode()


def test_two_who_open_the_link_at_once_set_one_password(client, ann):
    ask(client)
    link = link_of_last("password_reset")
    browsers = [Client(), Client()]
    pages = [open_link(browser, link) for browser in browsers]
    first, second = (
        set_new(browser, page, password)
        for browser, page, password in zip(
            browsers, pages, ("a first one", "a second"), strict=True
        )
    )
    assert (first.status_code, second.status_code) == (302, 410)
    ann.refresh_from_db()
    assert ann.check_password("a first one")


@pytest.mark.django_db(transaction=True)
def test_a_race_for_one_link_has_one_winner(ann, monkeypatch):
    """Both hash their password before either of them is saved."""
    _, token = link_parts(ann)
    both, outcomes = threading.Barrier(2, timeout=10), []
    set_password = User.set_password

    def hash_together(self, raw):
        set_password(self, raw)
        both.wait()

    monkeypatch.setattr(User, "set_password", hash_together)

    def attempt(password):
        try:
            reset_password(User.objects.get(pk=ann.pk), token=token, password=password)
            outcomes.append("set")
        except LinkUsed:
            outcomes.append("used")
        finally:
            connections.close_all()

    threads = [threading.Thread(target=attempt, args=[f"{n} sentence"]) for n in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["set", "used"]


def test_the_link_ends_after_an_hour(client, ann, monkeypatch):
    _uid, token = link_parts(ann)
    now = clock.now()
    for minutes, works in ((59, True), (61, False)):
        later = now + timedelta(minutes=minutes)
        monkeypatch.setattr(new_password.clock, "now", lambda later=later: later)
        assert reset_links.check_token(ann, token) == works
    monkeypatch.undo()


@pytest.mark.parametrize("field", ["email", "password"])
def test_the_link_ends_with_another_address_or_password(client, ann, field):
    ask(client)
    link = link_of_last("password_reset")
    value = "other@example.com" if field == "email" else "!set by staff"
    User.objects.filter(pk=ann.pk).update(**{field: value})
    assert open_link(client, link).status_code == 410


def test_a_mail_that_waits_is_skipped_when_the_account_has_another_address(client, ann):
    ask(client)
    User.objects.filter(pk=ann.pk).update(email="other@example.com")
    assert compose(Mail.objects.get()) is None


@pytest.mark.parametrize("reason", ["unknown", "inactive", "no password"])
def test_nobody_else_gets_a_link(client, ann, reason):
    if reason == "inactive":
        User.objects.filter(pk=ann.pk).update(is_active=False)
    elif reason == "no password":
        User.objects.filter(pk=ann.pk).update(password="!")
    ask(client, "bob@example.com" if reason == "unknown" else ANN)
    assert compose(Mail.objects.get()) is None


def test_a_closed_account_is_not_opened_by_a_link_from_before(client, ann):
    ask(client)
    link = link_of_last("password_reset")
    page = open_link(client, link)
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert set_new(client, page).status_code == 410


def test_a_known_and_an_unknown_address_get_the_same_answer_by_the_same_statements(client, ann):
    """The statements are what takes time."""
    answers, statements = [], []
    for email in (ANN, "bob@example.com"):
        with CaptureQueriesContext(connection) as done:
            response = ask(Client(), email)
        answers.append(response.content.decode().replace(email, "…"))
        statements.append([re.sub(r"s\d+_x\d+", "…", query["sql"])[:60] for query in done])
    assert answers[0] == answers[1]
    assert statements[0] == statements[1]
    assert not any("accounts_user" in sql for sql in statements[0])


def test_any_spelling_of_the_address_finds_its_account(client, ann):
    ask(client, "ANN@Example.com")
    assert link_of_last("password_reset")


def test_mails_to_one_address_are_slowed_down_whether_it_is_known_or_not(client, ann):
    for email in (ANN, "bob@example.com"):
        statuses = [ask(client, email).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
    assert len(mails()) == 6


@pytest.mark.parametrize("password", ["short", "password", "ann@example.com", "", "x" * 129])
def test_a_weak_password_is_told_beside_its_field_and_the_link_still_works(client, ann, password):
    ask(client)
    page = open_link(client, link_of_last("password_reset"))
    assert set_new(client, page, password).context["form"].errors["new_password"]
    assert set_new(client, page).status_code == 302


@pytest.mark.parametrize("path", ["x/y", "x/set-password", "%00/y", "MQ/set-password"])
def test_a_made_up_link_is_refused(client, path):
    assert client.get(f"/accounts/reset/{path}/").status_code == 410


@pytest.mark.parametrize("email", ["", "nobody", "a\x00@example.com", "x" * 250 + "@example.com"])
def test_what_is_no_address_is_told(client, email):
    assert ask(client, email).context["form"].errors["email"]
    assert not mails()
