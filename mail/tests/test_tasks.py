"""Old mails are forgotten at night, and none that somebody still waits for."""

import uuid
from datetime import timedelta

import pytest

from mail.models import Mail
from mail.outbox import post
from mail.tasks import forget_mails
from ticketbook.postgres import clock

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("status", "days", "stays"),
    [
        ("SENT", 179, True),
        ("SENT", 181, False),
        ("SKIPPED", 179, True),
        ("SKIPPED", 181, False),
        ("FAILED", 364, True),
        ("FAILED", 366, False),
        ("WAITING", 999, True),
    ],
)
def test_a_mail_is_kept_for_half_a_year_and_a_failed_one_for_a_year(status, days, stays):
    post(kind="news", about=uuid.uuid4(), to="ann@example.com")
    now = clock.ask()
    Mail.objects.update(
        status=status,
        made_at=now - timedelta(days=days),
        sent_at=now if status == "SENT" else None,
        last_error="550 No" if status == "FAILED" else "",
    )
    forget_mails(timestamp=0)
    assert Mail.objects.exists() == stays
