"""The back office shows bookings, refunds and payment events, and changes none; it sends refunds again."""

import re
import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from accounts.tests.factories import UserFactory
from bookings.cancelling import cancel, cancel_for_customer
from bookings.models import Booking, PaymentEvent, Refund
from concerts import stock
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory

pytestmark = pytest.mark.django_db

URL = "/admin/bookings/booking/"
REFUNDS = "/admin/bookings/refund/"
EVENTS = "/admin/bookings/paymentevent/"


@pytest.fixture
def booking(ledger, ann, tier, book):
    return book(ann, tier, 5)


@pytest.fixture
def refused(ledger, booking):
    """A refund that the gateway has refused."""
    ledger.mode("refuse_refunds")
    cancel(booking, now=timezone.now())
    ledger.mode("approve")
    return Refund.objects.get()


def staff_who_may(*permissions):
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return user


def text(client, url):
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_staff_find_a_booking(admin_client, ann, booking):
    for query in ("", f"?q={ann.email}", f"?q={booking.pk}", "?status=CONFIRMED",
                  "?gateway=main", "?source=ONLINE"):  # fmt: skip
        assert str(booking.pk) in text(admin_client, URL + query)
    for query in ("?gateway=cash", "?source=HOUSE"):
        assert str(booking.pk) not in text(admin_client, URL + query)


def test_a_booking_shows_what_went_back_and_why(admin_client, booking):
    staff = UserFactory(email="staff@example.com", is_staff=True)
    now = timezone.now()
    cancel_for_customer(booking, 2, refund=None, by=staff, note="broken seat", now=now)
    page = text(admin_client, f"{URL}{booking.pk}/change/")

    for shown in (
        "main",
        "Online",
        "20.00",
        "staff@example.com",
        "broken seat",
        "Some tickets returned",
    ):
        assert shown in page
    for typed in ("amount", "tickets", "note", "status"):
        assert not re.search(f'<(input|select|textarea)[^>]* name="[^"]*{typed}"', page)


def test_staff_change_nothing_about_money_or_stock(admin_client, booking):
    for url, pk in [(URL, booking.pk), (REFUNDS, uuid.uuid4()), (EVENTS, uuid.uuid4())]:
        assert admin_client.get(f"{url}add/").status_code == 403
        assert admin_client.post(f"{url}{pk}/delete/", {"post": "yes"}).status_code in {403, 302}
    assert admin_client.post(f"{URL}{booking.pk}/delete/", {"post": "yes"}).status_code == 403
    assert admin_client.post(f"{URL}{booking.pk}/change/", {"status": "FAILED"}).status_code == 403
    booking.refresh_from_db()
    assert booking.status == Booking.Status.CONFIRMED


def test_a_user_with_bookings_is_not_deleted_and_the_page_says_why(admin_client, ann, booking):
    for method in (admin_client.get, admin_client.post):
        page = method(f"/admin/accounts/user/{ann.pk}/delete/", {"post": "yes"}).content.decode()
        assert "History outlives its author" in page
        assert "permission" not in page
    assert Booking.objects.get().user == ann


# --- Refunds ------------------------------------------------------------------------------------


def test_refunds_that_were_refused_are_found_with_the_reason(admin_client, refused):
    for query in ("", "?status__exact=FAILED", f"?q={refused.booking_id}"):
        assert "refunds are refused" in text(admin_client, REFUNDS + query)
    assert "refunds are refused" not in text(admin_client, f"{REFUNDS}?status__exact=SENT")
    assert "refunds are refused" in text(admin_client, f"{REFUNDS}{refused.pk}/change/")


def test_the_newest_refund_comes_first(admin_client, ledger, ann, tier, book):
    for quantity in (1, 2, 3):
        cancel(book(ann, tier, quantity), now=timezone.now())
    page = text(admin_client, REFUNDS)
    assert page.index("30.00") < page.index("20.00") < page.index("10.00")


def send_again(client, *refunds):
    chosen = {"action": "send_again", "_selected_action": [refund.pk for refund in refunds]}
    return client.post(REFUNDS, chosen, follow=True).content.decode()


def test_a_refused_refund_is_sent_again(admin_client, admin_user, refused):
    jobs = ProcrastinateJob.objects.count()
    said = send_again(admin_client, refused)

    refused.refresh_from_db()
    assert refused.status == "DUE"
    assert "Refunds that are sent again within a minute: 1." in said
    assert ProcrastinateJob.objects.count() == jobs + 1
    entry = LogEntry.objects.get()
    assert (entry.user, entry.get_change_message()) == (admin_user, "Made due again")


def test_other_refunds_stay_as_they_are(admin_client, ledger, booking):
    cancel(booking, now=timezone.now())
    said = send_again(admin_client, Refund.objects.get())

    assert Refund.objects.get().status == "SENT"
    assert "were not refused, and stay as they are: 1." in said


@pytest.mark.parametrize(
    ("permissions", "status"), [(["view_refund"], "FAILED"), (["change_refund"], "DUE")]
)
def test_only_staff_who_may_change_refunds_send_them_again(client, refused, permissions, status):
    client.force_login(staff_who_may(*permissions))
    assert "refunds are refused" in text(client, REFUNDS)
    send_again(client, refused)
    refused.refresh_from_db()
    assert refused.status == status


@pytest.mark.parametrize("url", [URL, REFUNDS, EVENTS])
def test_the_back_office_is_for_staff_with_the_permission(client, as_ann, url):
    assert as_ann.get(url).status_code == 302
    client.force_login(staff_who_may("view_concert"))
    assert client.get(url).status_code == 403


# --- Payment events -----------------------------------------------------------------------------


def test_events_with_an_alert_are_found_and_lead_to_their_booking(admin_client, booking):
    event = {"gateway": "stripe", "type": "charge.dispute.created"}
    dispute = PaymentEvent.objects.create(
        **event, event_id="evt_1", key=booking.pk, alert="The customer disputes it."
    )
    PaymentEvent.objects.create(**event | {"type": "payout.paid"}, event_id="evt_2")

    assert "payout.paid" in text(admin_client, EVENTS)
    page = text(admin_client, f"{EVENTS}?alert=yes")
    assert "The customer disputes it." in page
    assert f'href="{URL}{booking.pk}/change/"' in page
    assert "payout.paid" not in page
    assert "The customer disputes it." in text(admin_client, f"{EVENTS}{dispute.pk}/change/")


# --- Tiers --------------------------------------------------------------------------------------


def test_a_tier_shows_what_is_kept_back_and_staff_cannot_type_it(admin_client, admin_user):
    tier = TicketTierFactory(total_quantity=123)
    stock.keep_back(tier_id=tier.pk, tickets=17, by=admin_user, reason="guests", now=timezone.now())
    for url in (
        "/admin/concerts/tickettier/",
        f"/admin/concerts/tickettier/{tier.pk}/change/",
        f"/admin/concerts/concert/{tier.concert_id}/change/",
    ):
        page = text(admin_client, url)
        for shown in ("Kept back", "17", "106"):
            assert shown in page
        assert 'name="kept_back"' not in page
    admin_client.post(
        f"/admin/concerts/tickettier/{tier.pk}/change/", {"kept_back": 0, "max_per_customer": 4}
    )
    tier = TicketTier.objects.get()
    assert (tier.kept_back, tier.max_per_customer) == (17, 4)


@pytest.mark.parametrize("door", ["page", "list"])
def test_a_tier_with_bookings_is_not_deleted_and_the_page_says_why(
    admin_client, booking, tier, door
):
    url = "/admin/concerts/tickettier/"
    chosen = {"action": "delete_selected", "_selected_action": [str(tier.pk)]}
    for post in ({}, {"post": "yes"}):
        response = (
            admin_client.post(f"{url}{tier.pk}/delete/", post)
            if door == "page"
            else admin_client.post(url, chosen | post)
        )
        page = response.content.decode()
        assert "bookings are never deleted" in page
        assert "have permission" not in page
    assert TicketTier.objects.filter(pk=tier.pk).exists()


@pytest.mark.parametrize("year", ["99999", "0", "-1", "9" * 30])
@pytest.mark.parametrize(
    "column",
    ["concerts/concert/?date__year", "concerts/concert/?date__iso_year", "knox/authtoken/?expiry__year",
     "bookings/booking/?created_at__year", "accounts/user/?date_joined__year"],
)  # fmt: skip
def test_a_list_that_is_asked_for_a_year_that_there_is_not_breaks_nothing(
    admin_client, column, year
):
    assert admin_client.get(f"/admin/{column}={year}").status_code == 400
