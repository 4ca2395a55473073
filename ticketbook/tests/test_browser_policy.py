"""A real Chromium visits all pages, and their Content-Security-Policy refuses nothing."""

from urllib.parse import urlsplit

import pytest
from django.urls import Resolver404, resolve

from bookings.cancelling import cancel
from bookings.placing import place
from bookings.tests.wishing import wish
from concerts.tests.factories import ConcertFactory
from ticketbook.postgres import clock
from ticketbook.tests.browser import DESKTOP, ann, browser_test, log_in, tier

__all__ = ["ann", "tier"]

pytestmark = browser_test

LINKS = "[...document.querySelectorAll('a[href]')].map(a => a.href)"
FILES = (".pdf", ".ics", ".json")


def walk(page, *starts):
    """Follow links until a page of every route was seen; returns the routes."""
    host, seen, waiting = urlsplit(page.url).netloc, set(), list(starts)
    while waiting:
        address = waiting.pop(0)
        parts = urlsplit(address)
        if parts.netloc not in {"", host} or parts.path.endswith(FILES):
            continue
        route = route_of(parts.path)
        if route in seen:
            continue
        seen.add(route)
        answer = page.goto(address)
        assert answer.headers.get("content-security-policy"), address
        assert "unsafe" not in answer.headers["content-security-policy"]
        waiting += page.evaluate(LINKS)
    return seen


def route_of(path):
    try:
        return resolve(path).route
    except Resolver404:
        return "nothing"


@pytest.fixture
def bookings(ann, tier):
    """One to look at, and one that was given back: it has a refund, a mail and a job."""
    cancel(place(wish(ann, tier, 1)).booking, now=clock.now())
    return place(wish(ann, tier, 3)).booking


def test_pages_of_customers(visit, tier, bookings):
    page = visit("/", viewport=DESKTOP)
    seen = walk(
        page, "/", "/accounts/login/", "/accounts/signup/", "/not-here/", "/bookings/not-here/"
    )
    log_in(page)
    seen |= walk(page, "/bookings/")
    assert {"concerts/<id:concert_id>/", "bookings/<id:booking_id>/", "api/v1/docs"} <= seen


def test_pages_of_staff(as_staff, tier, bookings):
    page = as_staff("/admin/", viewport=DESKTOP)
    off = f"/admin/concerts/concert/{ConcertFactory(status='CANCELLED').pk}/calling-off/"
    draft = f"/concerts/{ConcertFactory(status='DRAFT').pk}/"
    seen = walk(page, "/admin/", f"/admin/concerts/concert/{tier.concert_id}/delete/", off, draft)
    assert {"admin/concerts/concert/<path:object_id>/change/", "admin/mail/mail/"} <= seen
    assert "admin/concerts/concert/<uuid:key>/call-off/" in seen
    assert "admin/concerts/tickettier/<uuid:key>/guest-list/" in seen


def test_the_api_is_tried_out(visit, tier):
    page = visit("/api/v1/docs", viewport=DESKTOP)
    page.locator(".opblock-summary", has_text="/api/v1/health-check").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".live-responses-table").get_by_text("uptime").wait_for()
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(300)


def test_control_an_inline_style_and_script_are_refused_and_seen(visit, violations):
    page = visit("/")
    page.evaluate("""() => {
        document.body.insertAdjacentHTML("beforeend", '<p id=styled style="color: red">Hello</p>');
        const script = document.createElement("script");
        script.textContent = "document.title = 'changed'";
        document.body.append(script);
    }""")
    assert page.title() != "changed"
    assert page.evaluate("getComputedStyle(styled).color") != "rgb(255, 0, 0)"
    page.wait_for_timeout(100)
    assert len(violations) == 2
    violations.clear()
