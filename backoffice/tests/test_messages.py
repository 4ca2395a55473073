"""Message holders: a page that says whom it reaches, shows the mail, sends a test, and sends once."""

import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.http import HttpResponseRedirect
from django.test import Client
from django.utils import timezone

from accounts.tests.factories import UserFactory
from backoffice.verbs.messages import MessageToConcert, MessageToTier
from bookings import guests
from bookings.placing import place
from bookings.tests.racing import race
from bookings.tests.wishing import wish
from concerts.tests.factories import TicketTierFactory
from mail.models import Mail
from ticketbook.postgres import clock
from tickets import messages
from tickets.models import HolderMessage

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("every_payment_succeeds")]
TO_CONCERT, TO_TIER = MessageToConcert(), MessageToTier()


@pytest.fixture
def tier():
    """Ann has two bookings of it, and a guest has one of the VIP tier."""
    tier = TicketTierFactory(concert__name="Northern Lights")
    vip = TicketTierFactory(concert=tier.concert, tier_type="VIP")
    ann, key = UserFactory(email="ann@example.com"), uuid.uuid4()
    for _ in range(2):
        place(wish(ann, tier))
    gus = guests.enter(email="gus@example.com", name="Gus", key=key)
    place(wish(gus, vip, key=key))
    return tier


def typed(**more):
    form = {"once": uuid.uuid4(), "subject": "Doors open earlier", "text": "At six.\r\n\r\nBye."}
    return form | more


def text(response):
    return response.content.decode()


def test_the_page_says_whom_it_reaches(admin_client, tier):
    page = text(admin_client.get(TO_CONCERT.address(tier.concert)))
    assert "It reaches 2 people: everybody who holds tickets of this concert" in page
    page = text(admin_client.get(TO_TIER.address(tier)))
    assert "It reaches 1 person: everybody who holds tickets of this tier" in page


def test_the_pages_of_concert_and_tier_have_a_button_if_there_are_holders(admin_client, tier):
    for row, verb in ((tier.concert, TO_CONCERT), (tier, TO_TIER)):
        url = f"/admin/concerts/{row._meta.model_name}/{row.pk}/change/"
        assert f'href="{verb.address(row)}"' in text(admin_client.get(url))
    other = TicketTierFactory()
    page = admin_client.get(TO_TIER.address(other))
    assert page.status_code == 409
    assert "Nobody holds tickets of this tier at the moment." in text(page)
    assert admin_client.post(TO_TIER.address(other), typed(test="x")).status_code == 409
    assert not HolderMessage.objects.exists()


def test_it_is_looked_at_first_and_nothing_is_sent(admin_client, tier):
    form = typed(look="Look at the mail")
    assert "Send to" not in text(admin_client.get(TO_CONCERT.address(tier.concert)))
    page = admin_client.post(TO_CONCERT.address(tier.concert), form)
    assert page.status_code == 200
    shown = text(page)
    assert "Send to 2 people" in shown
    assert "TicketBook, http" in shown  # the text
    assert "srcdoc=" in shown  # the HTML
    assert shown.count("At six.") >= 3
    assert not HolderMessage.objects.exists()
    # The same form sends it then.
    admin_client.post(TO_CONCERT.address(tier.concert), typed(once=form["once"]))
    assert HolderMessage.objects.count() == 1


def test_the_preview_allows_the_styles_of_the_mail_and_no_others(admin_client, tier):
    url = TO_CONCERT.address(tier.concert)
    usual = admin_client.get(url)["Content-Security-Policy"]
    assert "unsafe" not in usual
    words = '<p style="color: red">'
    page = admin_client.post(url, typed(look="x", text=words))
    allowed = page["Content-Security-Policy"]
    assert "'unsafe-inline'" not in allowed
    assert allowed.count("'sha256-") > 5
    assert allowed == admin_client.post(url, typed(look="x"))["Content-Security-Policy"]


def test_a_test_goes_to_oneself_only(admin_client, admin_user, tier):
    page = admin_client.post(TO_CONCERT.address(tier.concert), typed(test="x"))
    assert f"A test is on its way to {admin_user.email}. Nobody else gets it." in text(page)
    assert "Send to 2 people" in text(page)
    assert [mail.address for mail in Mail.objects.filter(kind="message")] == [admin_user.email]
    assert "Doors open" not in text(admin_client.get("/admin/tickets/holdermessage/"))


def test_it_is_sent_and_the_history_says_who_did(admin_client, admin_user, tier):
    answer = admin_client.post(TO_TIER.address(tier), typed(), follow=True)
    message = HolderMessage.objects.get()
    assert "The message goes to 1 person." in text(answer)
    assert answer.redirect_chain[-1][0] == f"/admin/tickets/holdermessage/{message.pk}/change/"
    assert (message.made_by, message.text) == (admin_user, "At six.\n\nBye.")
    assert LogEntry.objects.get().change_message == "Wrote to 1 person: Doors open earlier"


def test_a_form_that_is_sent_twice_sends_once(admin_client, tier):
    form = typed()
    for _ in range(2):
        answer = admin_client.post(TO_CONCERT.address(tier.concert), form, follow=True)
    assert "was sent before" in text(answer)
    assert HolderMessage.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_form_that_is_sent_eight_times_at_once_sends_once(admin_user, tier):
    form = typed()

    def send(runner):
        client = Client()
        client.force_login(admin_user)
        return client.post(TO_CONCERT.address(tier.concert), form)

    assert race(send, 8) == {HttpResponseRedirect: 8}
    assert HolderMessage.objects.count() == 1


@pytest.mark.parametrize(
    ("field", "words", "sentence"),
    [
        ("text", "Dear {{ name }},", "Leave out the braces"),
        ("text", "{% now 'Y' %}", "Leave out the braces"),
        ("subject", "For {name}", "Leave out the braces"),
        ("subject", "  ", "This field is required."),
        ("text", " \r\n\r\n ", "This field is required."),
        ("text", "a\x1bb", "Remove characters that cannot be seen."),
        ("text", "a\u202eb", "Remove characters that cannot be seen."),
        ("text", "\u200d", "Use characters that can be seen."),
        ("text", "a\x00b", "Null characters are not allowed."),
        ("subject", "a\nb", "Remove characters that cannot be seen."),
        ("subject", "x" * 151, "at most 150 characters"),
        ("text", "x" * 5001, "at most 5000 characters"),
    ],
)
@pytest.mark.parametrize("button", [{}, {"look": "x"}, {"test": "x"}], ids=["send", "look", "test"])
def test_bad_words_are_refused_with_a_sentence(admin_client, tier, field, words, sentence, button):
    page = admin_client.post(TO_CONCERT.address(tier.concert), typed(**{field: words}) | button)
    assert page.status_code == 409
    assert sentence in text(page)
    assert not HolderMessage.objects.exists()
    assert not Mail.objects.filter(kind="message").exists()


def test_words_that_join_letters_are_fine(admin_client, tier):
    words = "می\u200cخواهم\t👨\u200d👩\u200d👧\r\n\r\nשלום"
    admin_client.post(TO_CONCERT.address(tier.concert), typed(text=words))
    assert HolderMessage.objects.get().text == words.replace("\r\n", "\n")


def test_only_staff_who_may_send_messages_can(staff_who_may, tier):
    client = staff_who_may("change_concert", "view_concert")
    for sent in ({}, {"look": "x"}, {"test": "x"}):
        assert client.post(TO_CONCERT.address(tier.concert), typed() | sent).status_code == 403
    client = staff_who_may("add_holdermessage")
    assert client.post(TO_CONCERT.address(tier.concert), typed()).status_code == 302
    assert HolderMessage.objects.count() == 1


# --- The list -----------------------------------------------------------------------------------


@pytest.fixture
def message(admin_user, tier):
    message = messages.draft(
        concert=tier.concert, tier=None, subject="Doors", text="At six.", by=admin_user,
        now=clock.ask(),
    )  # fmt: skip
    messages.send(message)
    return message


def listed(admin_client):
    page = admin_client.get("/admin/tickets/holdermessage/")
    cells = page.context["cl"].model_admin
    [row] = page.context["cl"].result_list
    return {name: getattr(cells, name)(row) for name in ("sent", "waiting", "failed", "skipped")}


def test_the_list_says_how_far_it_is(admin_client, message, monkeypatch):
    monkeypatch.setattr(messages, "AT_ONCE", 2)
    assert listed(admin_client) == {"sent": 0, "waiting": 2, "failed": "0", "skipped": 0}
    messages.write_some(now=clock.ask())  # both bookings are Ann's
    Mail.objects.filter(kind="message").update(status="SENT", sent_at=timezone.now())
    assert listed(admin_client) == {"sent": 1, "waiting": 1, "failed": "0", "skipped": 0}
    while messages.write_some(now=clock.ask()):
        pass
    Mail.objects.waiting().filter(kind="message").update(status="FAILED", last_error="550")
    found = listed(admin_client)
    failed = f'<a href="/admin/mail/mail/?q={message.pk}&status__exact=FAILED">1</a>'
    assert found == {"sent": 1, "waiting": 0, "failed": failed.replace("&", "&amp;"), "skipped": 0}
    mails = admin_client.get(f"/admin/mail/mail/?q={message.pk}&status__exact=FAILED")
    assert [mail.address for mail in mails.context["cl"].result_list] == ["gus@example.com"]
    Mail.objects.filter(status="SENT").delete()  # as mail/tasks.py does in the end
    assert listed(admin_client)["sent"] == 1


def test_nobody_changes_what_was_sent(admin_client, message):
    url = f"/admin/tickets/holdermessage/{message.pk}/change/"
    page = text(admin_client.get(url))
    assert "At six." in page
    assert 'name="_save"' not in page
    admin_client.post(url, {"subject": "Other", "text": "Other"})
    admin_client.post(url.replace("change", "delete"), {"post": "yes"})
    message.refresh_from_db()
    assert message.subject == "Doors"


def test_the_list_takes_few_queries(admin_client, message, django_assert_num_queries):
    with django_assert_num_queries(4):  # session, user, number, rows
        admin_client.get("/admin/tickets/holdermessage/")
