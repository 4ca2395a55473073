"""The first page shows staff what needs them, what sells and what comes next, as far as they may see it."""

import html
import re
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from django.utils.html import escape

from accounts.tests.factories import UserFactory
from backoffice.auditing import KEPT_DIFFERENCES, run_audit
from backoffice.models import Audit, Difference
from backoffice.needs import NEEDS
from backoffice.tests.random_sales import sell_at_random
from bookings.models import Booking, PaymentEvent, Refund
from concerts.models import Concert, TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory
from mail.models import Mail

pytestmark = pytest.mark.django_db

FIRST_PAGE = "/admin/"
SELLS_NOW = "/admin/sells-now/"


def text(response):
    assert response.status_code == 200
    return response.content.decode()


def numbers(page):
    """The number of each need that the page shows, by the address of its list."""
    found = re.findall(r'<li><a href="([^"]+\?needs=\w+)"><strong>(\d+)</strong>', page)
    return {url: int(number) for url, number in found}


def rows_of(client, url):
    return client.get(url).context["cl"].result_count


def trouble(number):
    """So many rows for each need, and others beside them."""
    now = timezone.now()
    user, tier = UserFactory(), TicketTierFactory(concert__description="Loud.")
    usual = {"user": user, "ticket_tier": tier, "quantity": 1, "unit_price": 10, "total_price": 10}
    for n in range(number + 1):
        is_wrong = n < number
        late = now - timedelta(hours=1) if is_wrong else now + timedelta(hours=1)
        Booking.objects.create(**usual, idempotency_key=uuid.uuid4(), hold_expires_at=late)
        paid = Booking.objects.create(
            **usual,
            idempotency_key=uuid.uuid4(),
            hold_expires_at=now,
            status="CONFIRMED",
            payment_status="SUCCESS",
            refunded_total=2,
        )
        made = now - timedelta(hours=1) if is_wrong else now
        Refund.objects.create(booking=paid, amount=1, reason="GOODWILL", created_at=made)
        status = "FAILED" if is_wrong else "SENT"
        Refund.objects.create(
            booking=paid,
            amount=1,
            reason="GOODWILL",
            status=status,
            sent_at=None if is_wrong else now,
        )
        in_cash = Booking.objects.create(
            **usual,
            idempotency_key=uuid.uuid4(),
            hold_expires_at=now,
            status="CONFIRMED",
            payment_status="SUCCESS",
            refunded_total=1,
            gateway="cash",
            source="DOOR",
        )
        handed = {} if is_wrong else {"status": "SENT", "sent_at": now}
        Refund.objects.create(booking=in_cash, amount=1, reason="GOODWILL", **handed)
        _mail(f"mail {n}", status)
        PaymentEvent.objects.create(
            gateway="hosted", event_id=f"event {n}", type="paid", alert="?" * is_wrong
        )
        TicketTierFactory(concert__description="" if is_wrong else "Quiet.")
    ConcertFactory(status=Concert.Status.DRAFT)  # not on sale, so it may have no description
    audit = Audit.objects.create(tiers=1, bookings=1, differences=number)
    for n in range(number):
        Difference.objects.create(audit=audit, sentence=f"Difference {n}")


def _mail(key, status):
    Mail.objects.create(
        kind="news",
        about=uuid.uuid4(),
        key=key,
        address="ann@example.com",
        message_id=f"<{key}>",
        status=status,
        last_error="no such mailbox",
        sent_at=timezone.now() if status == "SENT" else None,
    )


@pytest.mark.parametrize("number", [1, 3])
def test_each_number_is_that_of_the_rows_it_leads_to(admin_client, number):
    trouble(number)
    shown = numbers(text(admin_client.get(FIRST_PAGE)))
    assert shown == {need.url: number for need in NEEDS}
    assert {url: rows_of(admin_client, url) for url in shown} == shown


@pytest.mark.parametrize("seed", range(2))
def test_numbers_and_lists_agree_on_random_data(admin_client, seed):
    sell_at_random(seed, now=timezone.now(), days=2)
    shown = numbers(text(admin_client.get(FIRST_PAGE)))
    assert {url: rows_of(admin_client, url) for url in shown} == shown
    # No job is at work on refunds, so this number is still the one that the page has shown.
    refused = Refund.objects.filter(status="FAILED").count()
    assert shown.get("/admin/bookings/refund/?needs=refused", 0) == refused


def test_if_there_is_nothing_to_do_it_says_so(admin_client):
    page = text(admin_client.get(FIRST_PAGE))
    assert numbers(page) == {}
    assert "Nothing needs you now." in page
    assert "No audit has run yet." in page
    assert "Nothing was booked in the last hour." in page
    assert "No published concert is to come." in page


def test_a_list_says_what_to_do_about_what_it_shows(admin_client):
    for need in NEEDS:
        page = text(admin_client.get(need.url))
        assert f"<strong>{need.title}.</strong>" in page
        assert escape(need.what_to_do) in page


def test_an_unknown_need_filters_nothing(admin_client):
    trouble(1)
    assert rows_of(admin_client, "/admin/bookings/refund/?needs=nonsense") == 6


SECTIONS = {
    "needs-you": {"view_mail"},
    "sells-now": {"view_booking"},
    "days": {"view_booking"},
    "next-concerts": {"view_concert", "view_tickettier"},
}


@pytest.mark.parametrize("section", SECTIONS)
def test_staff_see_the_parts_that_they_may_see(staff_who_may, section):
    shown = sections(text(staff_who_may(*SECTIONS[section]).get(FIRST_PAGE)))
    assert section in shown
    assert shown <= {"needs-you"} | {
        name for name, needed in SECTIONS.items() if needed <= SECTIONS[section]
    }


def sections(page):
    return set(re.findall(r'<h2 id="([\w-]+)">', page))


def test_nobody_sees_money_without_permission_for_bookings(staff_who_may):
    sell_at_random(1, now=timezone.now(), days=1)
    client = staff_who_may("view_concert", "view_tickettier", "view_mail", "view_user")
    assert "$" not in text(client.get(FIRST_PAGE))
    assert client.get(SELLS_NOW).status_code == 403
    assert "$" in text(staff_who_may("view_booking").get(FIRST_PAGE))
    assert "$" in text(client.get(SELLS_NOW))


def test_needs_are_shown_to_whoever_may_see_their_rows(staff_who_may):
    trouble(1)
    page = text(staff_who_may("view_refund").get(FIRST_PAGE))
    assert set(numbers(page)) == {need.url for need in NEEDS if need.model is Refund}


def test_staff_without_any_permission_are_told_so(staff_who_may):
    page = text(staff_who_may().get(FIRST_PAGE))
    assert sections(page) == set()
    assert "You don’t have permission to view or edit anything." in page


def test_strangers_and_customers_see_nothing(client):
    for _ in range(2):
        for url in (FIRST_PAGE, SELLS_NOW):
            assert client.get(url).status_code == 302
        client.force_login(UserFactory())


def test_what_sells_now_is_sent_again_only_if_it_has_changed(admin_client):
    sell_at_random(1, now=timezone.now() - timedelta(minutes=5), days=0)
    first = admin_client.get(SELLS_NOW)
    assert "tickets sold for" in text(first)
    again = admin_client.get(SELLS_NOW, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    sell_at_random(2, now=timezone.now(), days=0, bookings=20)
    changed = admin_client.get(SELLS_NOW, headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]
    assert "no-store" in changed["Cache-Control"]


def test_what_is_polled_changes_nothing(admin_client):
    assert admin_client.post(SELLS_NOW).status_code == 405


def test_charts_have_their_tables(admin_client):
    page = text(admin_client.get(FIRST_PAGE))
    for name in ("Money", "Tickets"):
        assert f"<summary>{name} as a table</summary>" in page
    assert page.count('<svg class="chart"') == 2
    assert page.count("<title>") == 61  # the page's own, and one for each day of each chart


@pytest.mark.parametrize("number", [1, 8])
def test_the_first_page_takes_the_same_queries_however_much_there_is(
    admin_client, django_assert_num_queries, number
):
    trouble(number)
    sell_at_random(1, now=timezone.now(), days=30, bookings=20 * number)
    admin_client.get(FIRST_PAGE)
    with django_assert_num_queries(20):
        admin_client.get(FIRST_PAGE)
    with django_assert_num_queries(4):
        admin_client.get(SELLS_NOW)


def test_what_sells_now_leads_to_the_bookings_of_the_last_hour(admin_client):
    now = timezone.now()
    sell_at_random(3, now=now, days=1, bookings=200)
    page = text(admin_client.get(SELLS_NOW))
    links = [html.unescape(url) for url in re.findall(r'<a href="([^"]+)"', page)]
    *of_tiers, of_all = links
    lately = Booking.objects.filter(created_at__gte=now - timedelta(hours=1))
    assert set(admin_client.get(of_all).context["cl"].queryset) == set(lately)
    for url in of_tiers:
        tier = re.search(r"tier=([-0-9a-f]+)", url)[1]
        found = set(admin_client.get(url).context["cl"].queryset)
        assert found == set(lately.filter(ticket_tier=tier)) != set()


# --- The audit ----------------------------------------------------------------------------------


def test_the_nightly_audit_tells_what_it_found(admin_client):
    tier = TicketTierFactory()
    run_audit()
    page = text(admin_client.get(FIRST_PAGE))
    assert "compared 0 bookings and 1 tier, and found no difference" in page
    TicketTier.objects.filter(pk=tier.pk).update(available_quantity=97)
    run_audit()
    page = text(admin_client.get(FIRST_PAGE))
    assert "and found 1 difference." in page
    assert numbers(page)["/admin/backoffice/difference/?needs=differences"] == 1
    found = text(admin_client.get("/admin/backoffice/difference/"))
    assert "3 tickets are out of stock, but its bookings hold 0." in found
    TicketTier.objects.filter(pk=tier.pk).update(available_quantity=100)
    run_audit()
    assert numbers(text(admin_client.get(FIRST_PAGE))) == {
        "/admin/concerts/concert/?needs=undescribed": 1
    }
    assert Audit.objects.count() == 3


def test_an_audit_keeps_the_first_differences_and_the_number_of_all(monkeypatch):
    monkeypatch.setattr("backoffice.auditing.KEPT_DIFFERENCES", 2)
    assert KEPT_DIFFERENCES > 2
    for _ in range(3):
        tier = TicketTierFactory()
        TicketTier.objects.filter(pk=tier.pk).update(available_quantity=97)
    assert run_audit().differences == 3
    assert Difference.objects.count() == 2


def test_old_audits_are_forgotten(monkeypatch):
    monkeypatch.setattr("backoffice.auditing.KEPT_AUDITS", 2)
    audits = [run_audit() for _ in range(3)]
    assert list(Audit.objects.order_by("id")) == audits[1:]
