"""Every page has a strict policy for browsers, and no template of ours breaks it."""

import re

import pytest
from django.test import Client

from accounts.models import User
from bookings.models import Booking
from bookings.tests import redirecting
from bookings.tests.pages import choice
from concerts.tests.factories import TicketTierFactory
from ticketbook.settings import BASE_DIR
from ticketbook.tests.asgi import ask, echo, front_of
from tickets import qr

POLICY = "Content-Security-Policy"


@pytest.fixture
def tier():
    return TicketTierFactory(price=45)


def directives(answer):
    return dict(part.split(" ", 1) for part in answer[POLICY].split("; "))


@pytest.mark.django_db
def test_every_page_has_the_strict_policy(client, tier):
    concert = f"/concerts/{tier.concert_id}/"
    paths = [
        "/",
        concert,
        concert,
        "/accounts/login/",
        "/admin/login/",
        "/nowhere/",
        "/api/v1/docs",
    ]
    for path in [*paths, f"/bookings/{tier.pk}/"]:
        answer = client.get(path, follow=True)
        policy = directives(answer)
        assert "unsafe" not in answer[POLICY], path
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'", path
        assert "camera=()" in answer["Permissions-Policy"], path
        assert answer["Referrer-Policy"] == "same-origin", path


@pytest.mark.django_db
def test_what_is_no_page_has_none(client):
    for path in ("/api/v1/concerts", "/api/v1/bookings", "/livez"):
        assert POLICY not in client.get(path), path


def test_a_page_that_django_does_not_make_has_the_same_policy(client, settings, db):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    front = ask(front_of(echo), "POST", "/", b"", headers=[("Content-Length", "101")])
    assert front.status_code == 413
    django = client.get("/nowhere/")
    assert directives(front) == directives(django)
    for name in ("Permissions-Policy", "Referrer-Policy", "X-Frame-Options"):
        assert front[name] == django[name]


INLINE = re.compile(
    r"<style|\sstyle\s*=|<script(?![^>]*\ssrc=)|\son[a-z]+\s*=|javascript:", re.IGNORECASE
)


def test_no_template_but_those_of_mails_has_anything_inline():
    templates = BASE_DIR / "templates"
    found = {
        str(path.relative_to(templates).parent)
        for path in templates.rglob("*.html")
        if INLINE.search(path.read_text())
    }
    assert found == {"mail"}
    assert not INLINE.search(qr.svg("a token"))


# --- Forms that lead to a payment page ----------------------------------------------------------


@pytest.fixture
def paying_elsewhere(settings):
    """Ann has logged in, and the gateway sends her to https://pay.example."""
    settings.PAYMENT_GATEWAYS = {redirecting.NAME: redirecting.PATH}
    redirecting.LEDGER.clear()
    client = Client()
    client.force_login(User.objects.create_user("ann@example.com", "correct horse", name="Ann"))
    return client


def book(client, tier):
    answer = client.post("/bookings/", choice(tier))
    assert answer.status_code == 303
    return answer["Location"], Booking.objects.get()


@pytest.mark.django_db
def test_a_form_leads_to_the_payment_pages_that_the_policy_names(
    paying_elsewhere, tier, monkeypatch
):
    monkeypatch.setattr(
        redirecting.PageGateway, "page_origins", lambda: ["https://pay.example"], raising=False
    )
    page = paying_elsewhere.get(f"/concerts/{tier.concert_id}/")
    assert directives(page)["form-action"] == "'self' https://pay.example"
    location, booking = book(paying_elsewhere, tier)
    assert location == booking.action_url


@pytest.mark.django_db
def test_a_form_that_may_not_lead_to_a_payment_page_leads_to_its_link(paying_elsewhere, tier):
    page = paying_elsewhere.get(f"/concerts/{tier.concert_id}/")
    assert directives(page)["form-action"] == "'self'"
    location, booking = book(paying_elsewhere, tier)
    assert location == f"/bookings/{booking.pk}/"
    assert f'href="{booking.action_url}"' in paying_elsewhere.get(location).content.decode()
