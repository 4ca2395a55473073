"""What tests need that drive a real Chromium. Root conftest.py makes the fixtures known to all of them."""

import os
import shutil
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import User
from concerts.models import Concert, TicketTier
from concerts.tests.factories import TicketTierFactory

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}
PASSWORD = "correct horse"

browser_test = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]

UNLABELLED = """
[...document.querySelectorAll("input:not([type=hidden]), select, textarea")]
    .filter(control => !control.labels.length).map(control => control.outerHTML)
"""
# A finger meets the labels of chips and tiers and not the radio buttons inside. Links within a sentence
# are exempt (WCAG 2.5.8).
TOO_SMALL = """
[...document.querySelectorAll("button, .button, nav a, .chip, .tier, .check, .brand, .back a, .field input")]
    .filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML)
"""


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    # Playwright's sync API runs an event loop in this thread, and Django would refuse to query there.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def violations():
    """What pages did that their Content-Security-Policy refuses. A test that leaves anything here fails."""
    found = []
    yield found
    assert found == []


def watch(context, violations):
    """Collect what the policy of a page refuses. The console tells it without JavaScript too."""

    def hear(message):
        if "Content Security Policy" in message.text or "Permissions policy" in message.text:
            violations.append(f"{message.page.url}: {message.text}")

    context.on("console", hear)


@pytest.fixture
def visit(chromium, live_server, violations):
    """Open a page in a browser of its own."""
    contexts = []

    def visit(path, *, viewport=PHONE, **options):
        context = chromium.new_context(viewport=viewport, base_url=live_server.url, **options)
        contexts.append(context)
        watch(context, violations)
        context.set_default_timeout(10_000)
        page = context.new_page()
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture
def as_staff(visit):
    """Log in as a superuser, and open a page of the back office."""
    User.objects.create_superuser("staff@example.com", PASSWORD, name="Sam")

    def as_staff(path, **options):
        page = visit(f"/admin/login/?next={path}", **options)
        page.get_by_label("E-mail address").fill("staff@example.com")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"**{path}")
        return page

    return as_staff


@pytest.fixture
def tier():
    tier = TicketTierFactory(
        concert__name="Northern Lights", concert__description="Doors at seven.", price=45
    )
    TicketTierFactory(concert=tier.concert, tier_type=TicketTier.Type.VIP, price=160)
    return tier


@pytest.fixture
def ann():
    return User.objects.create_user("ann@example.com", PASSWORD, name="Ann")


def log_in(page, then="/"):
    page.goto(f"/accounts/login/?next={then}")
    page.get_by_label("E-mail address").fill("ann@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Log out").wait_for()
    page.wait_for_load_state()  # a key pressed before the next page has loaded would be lost


def choose(page, kind, quantity):
    page.get_by_role("radio", name=kind).check()
    page.get_by_role("radio", name=str(quantity), exact=True).check()


def press_book(page):
    page.get_by_role("button", name="Book and pay").click()


def sale_changes(tier, **moments):
    Concert.objects.filter(pk=tier.concert_id).update(**moments)


def in_seconds(seconds):
    return timezone.now() + timedelta(seconds=seconds)
