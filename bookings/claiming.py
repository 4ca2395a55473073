"""To keep a guest's bookings in an account: a link that is mailed to their address moves all of them.

The link names the guest, and the guest is gone afterwards. So a link works once, and a booking that is being
made for the guest at that moment fails (`guests.is_gone`) and is looked up anew.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.core import signing
from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.new_password import LinkUsed, locked
from accounts.on_request import post_on_request
from ticketbook.errors import Refusal
from ticketbook.postgres import clock
from ticketbook.postgres.statements import execute, waiting_at_most

KEEP = "keep_bookings"  # a kind of mail
LIFETIME = timedelta(days=1)
# Milliseconds. A sale that has locked a booking of the guest goes first.
PATIENCE = 500

_signer = signing.Signer(salt="bookings.claiming")


class AnotherAccount(Refusal):
    """You are logged in with another account. Log out, and open the link of the mail once more."""

    code = "permission_denied"
    status = 403


def ask_for_link(address: str) -> None:
    """Mail a link to a guest's address, unless that was done a few minutes ago."""
    post_on_request(KEEP, to=address)


def part_of(guest: User) -> str:
    """The part of a link that names the guest. It is made when the mail is sent."""
    return _signer.sign(f"{guest.pk.hex}-{int(clock.now().timestamp())}")


def guest_of(part: str) -> User:
    """Returns the guest that a link names. Raises LinkUsed if it was used or is older than LIFETIME."""
    try:
        pk, _, made = _signer.unsign(part).partition("-")
        made_at = datetime.fromtimestamp(int(made), UTC)
        guest = User.objects.guests().filter(pk=UUID(pk)).first()
    except (signing.BadSignature, ValueError):
        raise LinkUsed from None
    if guest is None or clock.now() - made_at > LIFETIME:
        raise LinkUsed
    return guest


def account_of(guest: User) -> User | None:
    """The account that may have the guest's bookings, if there is one with this address."""
    return User.objects.accounts().filter(email=guest.email).first()


def claim(guest: User, account: User) -> int:
    """Move all bookings of a guest to the account with the same address. Returns how many.

    Raises LinkUsed and AnotherAccount, and what the database raises if it is busy.
    """
    with waiting_at_most(PATIENCE):
        try:
            return _claim(guest, account)
        except IntegrityError:
            # The account has booked with a key of the guest's at this very moment.
            return _claim(guest, account)


# A key that the account has used too becomes another one. The slip still has the guest's, so the form that
# was sent with it finds its booking. `updated_at` stays, because the page says by it when the money came.
MOVE = """
WITH moved AS (
    UPDATE bookings_booking booking SET user_id = %(account)s,
        idempotency_key = CASE WHEN EXISTS (
            SELECT FROM bookings_booking other
            WHERE other.user_id = %(account)s AND other.idempotency_key = booking.idempotency_key
        ) THEN gen_random_uuid() ELSE booking.idempotency_key END
    WHERE user_id = %(guest)s
    RETURNING booking.id, old.idempotency_key AS key
)
INSERT INTO bookings_guestslip (address, idempotency_key, name, booking_id)
SELECT %(address)s, key, %(name)s, id FROM moved
ON CONFLICT (address, idempotency_key) DO UPDATE SET booking_id = excluded.booking_id
"""


# Nobody books for the guest any more who had found them before.
GONE = "DELETE FROM accounts_user WHERE id = %s"


def _claim(guest: User, account: User) -> int:
    with transaction.atomic():
        # FOR UPDATE: it waits for bookings that refer to the guest, and later ones wait for it and fail.
        of_link = User.objects.guests().select_for_update().filter(pk=guest.pk).first()
        now = locked(account.pk)
        if of_link is None or now is None or not now.is_active:
            raise LinkUsed
        if now.is_guest or now.email != of_link.email:
            raise AnotherAccount
        who = {"guest": of_link.pk, "account": now.pk}
        moved: int = execute(MOVE, who | {"address": of_link.email, "name": of_link.name}).rowcount
        execute(GONE, [of_link.pk])
    return moved
