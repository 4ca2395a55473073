"""A real worker is killed in the middle of fulfilment: tickets and mail are all there once, or not at all."""

import pytest

from bookings.audit import audit
from mail.models import Mail
from ticketbook.tests.running import wait_until
from tickets.models import Ticket

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("every_payment_succeeds"),
]


def test_a_worker_that_is_killed_leaves_nothing_half_done_and_the_next_one_does_it(
    ann, tier, book, start_worker, tmp_path
):
    bookings = [book(ann, tier, 2) for _ in range(3)]
    places = ("fulfil.claimed", "fulfil.written")
    failpoints = ",".join(f"{place}=kill@once" for place in places)
    for place in places:
        worker = start_worker(FAILPOINTS=failpoints, EMAIL_URL="")
        wait_until(lambda worker=worker: worker.poll() is not None)
        assert (tmp_path / "failpoints" / f"{place}.kill.1").exists()
        assert (Ticket.objects.count(), Mail.objects.count()) == (0, 0)

    start_worker(FAILPOINTS=failpoints, EMAIL_URL="")
    wait_until(lambda: Mail.objects.filter(status="SENT").count() == 3)
    assert Ticket.objects.count() == 6
    assert set(Mail.objects.values_list("kind", "about")) == {("tickets", b.pk) for b in bookings}
    assert len(list((tmp_path / "mail").glob("*.eml"))) == 3
    assert audit() == []
