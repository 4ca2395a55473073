"""To call off a concert: nothing of it is sold any more, and nobody keeps what was sold.

This app knows no bookings. Whoever sells tickets connects to `called_off`, and undoes its sales there, in the
same transaction.
"""

from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import connection, transaction
from django.dispatch import Signal

from concerts.changing import CalledOffBefore, lock_concert, see_it_anew
from concerts.models import Concert

# Sent with `concert`, its `tiers`, which are locked until the transaction ends, `by` (None if the system goes
# on with what was begun), `note` and `now`. A receiver returns a sentence for staff about what it did.
called_off = Signal()
# Sent with `concert`. A receiver says whether it has ever sold a ticket of it, given back or not.
ever_sold = Signal()


def was_ever_sold(concert: Concert) -> bool:
    return any(answer for _, answer in ever_sold.send(Concert, concert=concert))


def call_off(
    concert_id: UUID,
    *,
    by: AbstractBaseUser | None,
    note: str = "",
    once: bool = False,
    now: datetime,
) -> list[str]:
    """Call off a concert, for good. Returns sentences about what became of its sales.

    A second call undoes only what was left; with `once` it raises CalledOffBefore. The concert's history in
    the admin says who did it and why. Raises NotFound, and OperationalError (LockNotAvailable) if a sale
    holds a tier for too long.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # Those who write down payments lock bookings in an order of their own, and may wait for us while we
        # wait for them. They give up first, and try again.
        cursor.execute(f"SET LOCAL lock_timeout = {2 * settings.LOCK_TIMEOUT_MS:d}")
        # The concert, its tiers, their bookings: in this order everywhere.
        concert = lock_concert(concert_id)
        if once and concert.status == Concert.Status.CANCELLED:
            raise CalledOffBefore
        tiers = list(concert.ticket_tiers.locked())
        if concert.status != Concert.Status.CANCELLED:
            concert.status = Concert.Status.CANCELLED
            concert.save(update_fields=["status", "updated_at"])
        answers = called_off.send(Concert, concert=concert, tiers=tiers, by=by, note=note, now=now)
        said = [str(sentence) for _, sentence in answers]
        if by is not None:
            message = " ".join(["Called off.", *filter(None, [note]), *said])
            LogEntry.objects.log_actions(by.pk, [concert], CHANGE, message, single_object=True)
        see_it_anew()
    return said
