"""Guests: customers without an account. A guest is a name and an address, and each address is one guest.

`enter` is called for each form that a guest sends, before the booking is placed. The form leaves a slip
(GuestSlip): the name that was typed belongs to this booking alone, so nobody who types the same address
changes what other bookings say. The name of the guest's own row is the first one, and only staff see it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from django.db import IntegrityError, connection

from accounts.models import new_public_id
from bookings.models import Booking, GuestSlip
from ticketbook.postgres.keys import first_key_of
from ticketbook.postgres.statements import execute_prepared

Result = TypeVar("Result")

# Of guests and slips that have come to no booking.
KEEP_UNUSED = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Guest:
    """A customer without an account, with the form that they have just sent."""

    id: UUID
    public_id: str
    slip: UUID
    stops: int
    # The booking that this form made before, if it has moved to an account since.
    claimed: UUID | None
    is_guest: bool = True


# One statement, which also finds what is there already. The commit does not wait for the disk: the booking
# refers to the guest, and its own commit takes this one along.
ENTER = """
WITH known AS (
    SELECT id, public_id FROM accounts_user WHERE email = %(email)s AND is_guest
), made AS (
    INSERT INTO accounts_user
        (public_id, email, name, password, is_active, is_staff, is_superuser, is_guest)
    SELECT %(public_id)s::varchar, %(email)s, %(name)s::varchar, '!', true, false, false, true
    WHERE NOT EXISTS (SELECT FROM known)
    ON CONFLICT (email) WHERE is_guest DO UPDATE SET email = excluded.email
    RETURNING id, public_id
), slip AS (
    INSERT INTO bookings_guestslip (address, idempotency_key, name)
    VALUES (%(email)s, %(key)s, %(name)s::varchar)
    ON CONFLICT (address, idempotency_key) DO UPDATE SET address = excluded.address
    RETURNING id, stops, booking_id
)
SELECT guest.id, guest.public_id, slip.id, slip.stops, slip.booking_id,
    set_config('synchronous_commit', 'off', true)
FROM (SELECT * FROM known UNION ALL SELECT * FROM made) AS guest, slip
"""


def enter(*, email: str, name: str, key: UUID) -> Guest:
    """The guest with this address, who is made if there is none, with a slip for this form.

    `email` is in its one form (accounts/email_field.py). The first name that came with a key stays.
    """
    typed = {"email": email, "name": name, "key": key, "public_id": new_public_id()}
    ((*found, _),) = execute_prepared(ENTER, typed).fetchall()
    return Guest(*found)


def is_gone(error: Exception | None) -> bool:
    """Whether a booking failed because its guest is no longer there.

    The guest goes when the bookings move to an account (bookings/claiming.py). Then `enter` finds out more.
    """
    diag = getattr(error and error.__cause__, "diag", None)
    return diag is not None and diag.sqlstate == "23503" and diag.table_name == BOOKINGS


BOOKINGS = Booking._meta.db_table


def as_long_as_there(act: Callable[[], Result]) -> Result:
    """Call `act`, which enters a guest and books, a second time if the guest goes meanwhile."""
    try:
        return act()
    except IntegrityError as exc:
        if not is_gone(exc):
            raise
        return act()


def slip_of_form(*, email: str, key: UUID) -> GuestSlip:
    """The slip of a form that was entered."""
    return GuestSlip.objects.get(address=email, idempotency_key=key)


def slip_of(booking: Booking) -> GuestSlip:
    """The slip of a guest's booking, which comes with its user."""
    slip, _ = GuestSlip.objects.get_or_create(
        address=booking.user.email,
        idempotency_key=booking.idempotency_key,
        defaults={"name": booking.user.name},
    )
    return slip


def name_for(booking: Booking) -> str:
    """The name of the customer of a booking: a guest's as it was typed for it; empty for a closed account."""
    if booking.user.is_guest:
        typed = GuestSlip.objects.filter(
            address=booking.user.email, idempotency_key=booking.idempotency_key
        )
        return typed.values_list("name", flat=True).first() or booking.user.name
    return booking.user.name if booking.user.is_active else ""


def forget_unused(*, now: datetime) -> None:
    """Delete slips of forms that have booked nothing, and guests who have no booking.

    If such a guest books at this very moment, the booking fails and the guest is entered anew (`is_gone`).
    """
    with connection.cursor() as cursor:
        for table in (UNUSED_SLIPS, UNUSED_GUESTS):
            cursor.execute(table, [first_key_of(now - KEEP_UNUSED)])


UNUSED_SLIPS = """
DELETE FROM bookings_guestslip slip
WHERE id < %s AND booking_id IS NULL AND NOT EXISTS (
    SELECT FROM accounts_user guest JOIN bookings_booking booking ON booking.user_id = guest.id
    WHERE guest.email = slip.address AND guest.is_guest
        AND booking.idempotency_key = slip.idempotency_key
)
"""

UNUSED_GUESTS = """
DELETE FROM accounts_user guest
WHERE is_guest AND id < %s
    AND NOT EXISTS (SELECT FROM bookings_booking booking WHERE booking.user_id = guest.id)
    AND NOT EXISTS (SELECT FROM bookings_guestslip slip WHERE slip.address = guest.email
        AND slip.booking_id IS NULL)
"""


# --- The audit ----------------------------------------------------------------------------------

WRONG_SLIPS = """
SELECT booking.id, 'has left its guest, but belongs to them'
FROM bookings_guestslip slip
JOIN bookings_booking booking ON booking.id = slip.booking_id
JOIN accounts_user guest ON guest.id = booking.user_id
WHERE guest.is_guest AND guest.email = slip.address AND booking.idempotency_key = slip.idempotency_key
UNION ALL
SELECT booking.id, 'belongs to a guest, whose form has left no slip'
FROM accounts_user guest
JOIN bookings_booking booking ON booking.user_id = guest.id
WHERE guest.is_guest AND NOT EXISTS (
    SELECT FROM bookings_guestslip slip
    WHERE slip.address = guest.email AND slip.idempotency_key = booking.idempotency_key
)
ORDER BY 1
"""


def wrong_slips() -> Iterator[str]:
    """A sentence for each booking whose slip and customer do not go together."""
    with connection.cursor() as cursor:
        cursor.execute(WRONG_SLIPS)
        for pk, wrong in cursor.fetchall():
            yield f"Booking {pk} {wrong}."
