"""A mail is a row, written with what it tells of, once for each event."""

import uuid

import pytest
from django.db import IntegrityError, connection, transaction

from mail.models import Mail
from mail.outbox import Post, post, post_all

pytestmark = pytest.mark.django_db


def test_a_mail_is_written_once_for_each_event(django_assert_num_queries):
    about = uuid.uuid4()
    with django_assert_num_queries(1):
        post(kind="tickets", about=about, to="ann@example.com")
    post(kind="tickets", about=about, to="eve@example.com")
    mail = Mail.objects.get()
    assert (mail.key, mail.address) == (f"tickets:{about}", "ann@example.com")
    assert (mail.status, mail.attempts, mail.sent_at) == ("WAITING", 0, None)


def test_many_mails_are_one_statement(django_assert_num_queries):
    posts = [Post(kind="tickets", about=uuid.uuid4(), to="ann@example.com") for _ in range(1000)]
    with django_assert_num_queries(1):
        post_all([*posts, *posts])
    assert Mail.objects.count() == 1000
    post_all([])


def test_another_key_is_another_event():
    about = uuid.uuid4()
    for number in range(2):
        post(kind="moved", about=about, to="ann@example.com", key=f"moved:{about}:{number}")
    assert Mail.objects.count() == 2


def test_a_rollback_takes_the_mail_with_it():
    with transaction.atomic():
        post(kind="tickets", about=uuid.uuid4(), to="ann@example.com")
        transaction.set_rollback(True)
    assert not Mail.objects.exists()


def test_every_mail_has_a_message_id_of_its_own(settings):
    settings.MAIL_DOMAIN = "tickets.example.com"
    post_all([Post(kind="tickets", about=uuid.uuid4(), to="ann@example.com") for _ in range(9)])
    ids = set(Mail.objects.values_list("message_id", flat=True))
    assert len(ids) == 9
    assert all(each.endswith(".tickets@tickets.example.com>") for each in ids)


@pytest.mark.parametrize(
    ("assignment", "constraint"),
    [
        ("kind = '../x'", "mail_kind_form"),
        ("status = 'LOST'", "mail_status_known"),
        ("status = 'SENT'", "mail_sent_has_time"),
        ("sent_at = now()", "mail_sent_has_time"),
        ("status = 'FAILED'", "mail_failed_has_error"),
        ("attempts = -1", "mail_attempts_not_negative"),
        ("key = 'a'", "mail_key_unique"),
        ("message_id = 'a'", "mail_message_id_unique"),
    ],
)
def test_the_database_refuses_a_wrong_mail(assignment, constraint):
    post_all([Post(kind="tickets", about=uuid.uuid4(), to="ann@example.com") for _ in range(2)])
    with (
        pytest.raises(IntegrityError) as error,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"UPDATE mail_mail SET {assignment}")
    assert error.value.__cause__.diag.constraint_name == constraint
