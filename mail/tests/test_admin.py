"""Staff see mails and why they failed, and send failed ones again."""

import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission

from accounts.tests.factories import UserFactory
from mail.models import Mail
from mail.outbox import post
from mail.sending import send_due
from ticketbook.postgres import clock

pytestmark = pytest.mark.django_db

URL = "/admin/mail/mail/"


@pytest.fixture
def mail(server):
    """A mail that the server has refused for good."""
    server.rcpt = lambda address: "550 Nobody <here>"
    post(kind="news", about=uuid.uuid4(), to="ann@example.com")
    send_due(now=clock.ask())
    server.rcpt = lambda address: None
    return Mail.objects.get()


def text(client, url):
    response = client.get(url, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def test_staff_find_a_mail_and_its_error(admin_client, mail):
    for query in ("", "?q=ann@", f"?q={mail.about}", "?status=FAILED", "?kind=news"):
        assert "550 Nobody &lt;here&gt;" in text(admin_client, URL + query)
    for query in ("?q=bob", "?status=SENT", "?kind=tickets"):
        assert "550 Nobody" not in text(admin_client, URL + query)


def test_the_list_has_the_beginning_of_a_long_error(admin_client, mail):
    Mail.objects.update(kind="part_returned", last_error="550 " + "No " * 100)
    shown = text(admin_client, URL)
    assert "Part returned</td>" in shown
    assert "550 No No" in shown
    assert "No " * 30 not in shown
    assert "No " * 99 in text(admin_client, f"{URL}{mail.pk}/change/")


def test_the_button_sends_a_failed_mail_again_with_its_message_id(admin_client, server, mail):
    page = f"{URL}{mail.pk}/change/"
    assert "Send again" in text(admin_client, page)
    said = admin_client.post(f"{URL}{mail.pk}/send-again/", follow=True).content.decode()
    assert "sent again within seconds: 1." in said
    assert "Send again" not in said.partition("<main")[2]
    assert send_due(now=clock.ask())
    again = Mail.objects.get()
    assert (again.status, again.attempts, again.last_error) == ("SENT", 1, "")
    assert server.ids == [mail.message_id]
    assert LogEntry.objects.get().object_id == str(mail.pk)


def test_the_action_sends_only_what_had_failed(admin_client, mail):
    post(kind="news", about=uuid.uuid4(), to="bob@example.com")
    rows = [str(pk) for pk in Mail.objects.values_list("pk", flat=True)]
    said = admin_client.post(
        URL, {"action": "send_again", "_selected_action": rows}, follow=True
    ).content.decode()
    assert "sent again within seconds: 1." in said
    assert "stay as they are: 1." in said
    assert list(Mail.objects.values_list("status", "attempts")) == [("WAITING", 0)] * 2


def test_only_staff_who_may_change_mails_send_them_again(client, mail):
    staff = UserFactory(is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename="view_mail"))
    client.force_login(staff)
    assert "Send again" not in text(client, f"{URL}{mail.pk}/change/")
    assert client.post(f"{URL}{mail.pk}/send-again/").status_code == 403
    assert Mail.objects.get().status == "FAILED"


def test_a_link_sends_nothing(admin_client, mail):
    assert admin_client.get(f"{URL}{mail.pk}/send-again/").status_code == 405
    assert admin_client.post(f"{URL}{uuid.uuid4()}/send-again/").status_code == 404


def test_nobody_changes_a_mail(admin_client, mail):
    assert admin_client.get(f"{URL}add/").status_code == 403
    admin_client.post(f"{URL}{mail.pk}/change/", {"address": "eve@example.com"})
    assert Mail.objects.get().address == "ann@example.com"
