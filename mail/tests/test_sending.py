"""What waits is sent: once, whatever the mail server does, and without harm to other mails."""

import uuid
from datetime import timedelta
from time import monotonic, thread_time

import pytest
from django.db import OperationalError

from mail import kinds, sending
from mail.models import Mail
from mail.outbox import Post, post, post_all
from mail.sending import CLAIM, IDLE_SHARE, WAITS, _pause, claim, send_due
from mail.tests.conftest import NEWS
from ticketbook.postgres import clock
from ticketbook.tests.running import free_port

pytestmark = pytest.mark.django_db


def write(*addresses):
    posts = [Post(kind="news", about=uuid.uuid4(), to=address) for address in addresses]
    for each in posts:
        post_all([each])
    return list(Mail.objects.order_by("id"))


def send(*, after=timedelta(0)):
    return send_due(now=clock.ask() + after)


def states():
    return list(Mail.objects.order_by("id").values_list("status", "attempts"))


def wait_of(mail):
    mail.refresh_from_db()
    return mail.next_attempt_at - clock.now()


def about(wait):
    return pytest.approx(wait.total_seconds(), abs=2)


def test_a_batch_is_sent_over_one_connection(server):
    write("ann@example.com", "bob@example.com")
    assert send()
    assert states() == [("SENT", 1), ("SENT", 1)]
    assert server.connections == 1
    assert [message["To"] for message in server.accepted] == ["ann@example.com", "bob@example.com"]
    assert server.ids == list(Mail.objects.order_by("id").values_list("message_id", flat=True))
    assert not send()
    assert len(server.accepted) == 2


def test_what_is_not_due_waits(server):
    write("ann@example.com")
    Mail.objects.update(next_attempt_at=clock.ask() + timedelta(minutes=1))
    assert not send()
    assert send(after=timedelta(minutes=1))


def test_a_mail_that_kills_its_worker_each_time_is_given_up_and_the_others_are_sent(server):
    deadly, _ = write("bob@example.com", "ann@example.com")
    Mail.objects.filter(pk=deadly.pk).update(attempts=len(WAITS))
    claim(now=clock.ask())  # and the worker dies
    Mail.objects.exclude(pk=deadly.pk).update(attempts=1)
    assert send(after=CLAIM)
    assert [status for status, _ in states()] == ["FAILED", "SENT"]
    assert "worker died" in Mail.objects.failed().get().last_error


@pytest.mark.parametrize("host", ["mail..test", "x" * 64])
def test_a_name_that_no_server_can_have_delays_mails(server, settings, host):
    settings.EMAIL_HOST = host
    [mail] = write("ann@example.com")
    assert not send()
    assert states() == [("WAITING", 1)]
    assert wait_of(mail).total_seconds() == about(WAITS[0])
    assert "label" in mail.last_error


def test_an_address_that_is_refused_for_good_fails_at_once_and_alone(server):
    server.rcpt = lambda address: "550 5.1.1 Nobody here" if "bob" in address else None
    write("ann@example.com", "bob@example.com", "eve@example.com")
    assert send()
    assert states() == [("SENT", 1), ("FAILED", 1), ("SENT", 1)]
    assert Mail.objects.failed().get().last_error == "550 5.1.1 Nobody here"
    assert server.connections == 1


@pytest.mark.parametrize("where", ["rcpt", "data"])
def test_what_is_refused_for_now_is_tried_again(server, where):
    setattr(server, where, lambda _: "451 Try again later")
    [mail] = write("ann@example.com")
    assert send()
    assert states() == [("WAITING", 1)]
    assert wait_of(mail).total_seconds() == about(WAITS[0])
    assert mail.last_error == "451 Try again later"
    setattr(server, where, lambda _: None)
    assert send(after=WAITS[0])
    assert states() == [("SENT", 2)]
    assert Mail.objects.get().last_error == ""


def test_a_message_that_is_refused_for_good_fails(server):
    server.data = lambda message: "554 5.7.1 No"
    write("ann@example.com")
    send()
    assert states() == [("FAILED", 1)]


def test_a_server_that_wants_another_log_in_refuses_no_mail_for_good(server):
    server.rcpt = lambda address: "530 5.7.0 Authentication required"
    write("ann@example.com")
    send()
    assert states() == [("WAITING", 1)]


def test_waits_grow_for_two_days_and_then_a_mail_fails(use_server):
    use_server(f"smtp://127.0.0.1:{free_port()}")
    assert sorted(WAITS) == WAITS
    assert timedelta(days=2) <= sum(WAITS, timedelta(0)) < timedelta(days=2, hours=2)
    [mail] = write("ann@example.com")
    for number, wait in enumerate(WAITS, 1):
        assert not send(after=timedelta(days=3))
        assert states() == [("WAITING", number)]
        assert wait_of(mail).total_seconds() == about(wait)
        assert "ConnectionRefusedError" in mail.last_error
    assert not send(after=timedelta(days=3))
    assert states() == [("FAILED", len(WAITS) + 1)]
    assert "two days" in Mail.objects.get().last_error


def test_a_server_that_is_away_costs_each_batch_one_look(use_server):
    use_server(f"smtp://127.0.0.1:{free_port()}")
    write(*["ann@example.com"] * (sending.AT_ONCE + 5))
    assert not send()
    assert not send()
    assert set(states()) == {("WAITING", 1)}
    assert not send()


def test_a_server_that_hangs_costs_a_bounded_time_and_one_attempt(server, settings):
    settings.EMAIL_TIMEOUT = 0.3
    server.hangs = 2
    write("ann@example.com", "bob@example.com")
    assert not send()
    assert states() == [("WAITING", 1), ("WAITING", 0)]
    server.hangs = 0
    assert send()
    assert states() == [("WAITING", 1), ("SENT", 1)]


def test_a_server_that_drops_after_data_gets_a_second_copy_with_the_same_message_id(server):
    server.drops_after_data = 1
    write("ann@example.com", "bob@example.com")
    assert not send()
    assert send(after=WAITS[0])
    assert states() == [("SENT", 2), ("SENT", 1)]
    assert len(server.accepted) == 3
    assert len(set(server.ids)) == 2


def test_a_server_that_closes_is_left_alone(server):
    server.rcpt = lambda address: "421 Too busy"
    write("ann@example.com", "bob@example.com")
    assert not send()
    assert states() == [("WAITING", 1), ("WAITING", 0)]


def test_a_slow_server_gets_the_rest_later(server, monkeypatch):
    monkeypatch.setattr(sending, "NO_NEW_ONE_AFTER", 0)
    server.hangs = 0.05
    write("ann@example.com", "bob@example.com", "eve@example.com")
    assert send()
    assert states()[1:] == [("WAITING", 0)] * 2


@pytest.mark.parametrize("busy", [True, False])
def test_many_mails_take_a_share_of_a_core_and_a_small_one_while_it_is_busy(
    server, settings, monkeypatch, busy
):
    monkeypatch.setattr(sending, "getloadavg", lambda: (99.0 if busy else 0.0, 0, 0))
    share = settings.EMAIL_SHARE if busy else IDLE_SHARE

    def render(mail):
        began = thread_time()
        while thread_time() < began + 0.01:
            pass
        return NEWS

    kinds.register("news", render)
    write(*["ann@example.com"] * 5)
    began, worked = monotonic(), thread_time()
    assert send()
    assert states() == [("SENT", 1)] * 5
    assert thread_time() - worked < 1.5 * share * (monotonic() - began)


def test_a_mail_that_took_long_keeps_the_next_one_waiting_for_a_second_only(monkeypatch):
    monkeypatch.setattr(sending, "getloadavg", lambda: (99.0, 0, 0))
    assert _pause(0.001) < 0.1
    assert _pause(10) == 1


def test_words_that_cannot_be_made_fail_their_own_mail_only(server, monkeypatch, caplog):
    def render(mail):
        if mail.address.startswith("bob"):
            raise ZeroDivisionError("no words")
        return NEWS

    kinds.register("news", render)
    write("ann@example.com", "bob@example.com", "eve@example.com")
    assert send()
    assert states() == [("SENT", 1), ("FAILED", 1), ("SENT", 1)]
    assert Mail.objects.failed().get().last_error == "ZeroDivisionError: no words"
    assert "could not be written" in caplog.text


def test_a_kind_that_nobody_knows_fails(server):
    post(kind="unknown", about=uuid.uuid4(), to="ann@example.com")
    send()
    assert "no kind of mail" in Mail.objects.failed().get().last_error


def test_a_busy_database_is_no_fault_of_the_words(server):
    def render(mail):
        raise OperationalError("busy")

    kinds.register("news", render)
    write("ann@example.com")
    send()
    assert states() == [("WAITING", 1)]


def test_what_need_not_be_told_any_more_is_skipped(server):
    kinds.register("news", lambda mail: None)
    write("ann@example.com")
    assert send()
    assert states() == [("SKIPPED", 1)]
    assert server.connections == 0


@pytest.mark.parametrize(
    "address",
    ["ann@example.com\r\nBcc: eve@example.com", "no address", "ann@example.com, eve@example.com",
     "ann\x00@example.com".replace("\x00", "\x01"), "<ann@example.com", ""],
)  # fmt: skip
def test_an_address_that_is_none_fails_and_reaches_nobody_else(server, address):
    write(address, "bob@example.com")
    send()
    send()
    assert dict(Mail.objects.values_list("address", "status"))[address] == "FAILED"
    assert [message["To"] for message in server.accepted] == ["bob@example.com"]


def test_two_workers_never_claim_the_same_mail():
    write(*["ann@example.com"] * 30)
    now = clock.ask()
    claimed = [mail.pk for _ in range(3) for mail in claim(now=now)]
    assert len(claimed) == len(set(claimed)) == 30


def test_the_claim_of_a_dead_worker_runs_out(server):
    write("ann@example.com")
    claim(now=clock.ask())
    assert not send()
    assert send(after=CLAIM)
    assert states() == [("SENT", 2)]


def test_a_mail_that_kills_its_worker_is_given_up():
    write("ann@example.com")
    for number in range(len(WAITS) + 1):
        assert claim(now=clock.ask() + number * CLAIM)
    [mail] = claim(now=clock.ask() + timedelta(days=9))
    sending._put_off(mail, "died")
    assert states() == [("FAILED", len(WAITS) + 2)]


def test_whoever_lost_a_claim_does_not_put_the_mail_off(server):
    write("ann@example.com")
    [first] = claim(now=clock.ask())
    [second] = claim(now=clock.ask() + CLAIM)
    sending._put_off(first, "late")
    assert Mail.objects.get().next_attempt_at == second.next_attempt_at
    sending._note(first, status="SENT", sent_at=clock.now())  # it was accepted, whoever sent it
    assert states() == [("SENT", 2)]
