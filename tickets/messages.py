"""Staff write to all who hold tickets of a concert, or of one tier of it.

`send` writes down what is to be told, and a job writes the mails: one for each person, however many bookings
they have. A person is an address, as for the limits, so a guest and an account with it get one mail.

- Told is who holds tickets by a booking that was made before the message, and that is confirmed when its turn
  comes. Later bookings do not count.
- A mail whose person has given all these tickets back before it leaves is skipped.
- Mails are written some at a time, and no more of them wait than are sent in a few seconds. So fifty thousand
  of them neither make one long transaction nor stand before the mail with somebody's tickets.
- Each batch is one transaction, which locks the message and notes how far it came. So a worker that dies
  leaves nothing half done, and two workers write nobody twice.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import transaction

from accounts.models import User
from bookings.models import Booking, BookingQuerySet
from concerts.models import Concert, TicketTier
from mail.composing import NEVER_REACHED
from mail.models import Mail
from mail.outbox import Post, post, post_all
from ticketbook.errors import Refusal
from tickets.models import HolderMessage, Reached

MESSAGE = "message"  # the kind of mail; it is about a HolderMessage

AT_ONCE = 250  # bookings in one transaction
MOST_WAITING = 500  # mails of messages that are due; no further ones are written until these leave


class NobodyHoldsTickets(Refusal):
    """Nobody holds tickets of this at the moment, so there is nobody to write to."""


Holder = tuple[UUID, UUID, str]  # a booking, its customer, and their address


def people_of(holders: BookingQuerySet) -> int:
    """How many people these bookings belong to, each counted once."""
    return _reachable(holders).order_by().values("user__email").distinct().count()


def draft(
    *, concert: Concert, tier: TicketTier | None, subject: str, text: str, by: User, now: datetime
) -> HolderMessage:
    """A message that is not sent, with the number of people whom it would reach."""
    message = HolderMessage(
        concert=concert, tier=tier, subject=subject, text=text, made_by=by, made_at=now
    )
    message.people = people_of(message.holders())
    return message


def send(message: HolderMessage) -> None:
    """Send a draft, and write into the history of the concert who sent it. Raises NobodyHoldsTickets."""
    if not message.people:
        raise NobodyHoldsTickets
    with transaction.atomic():
        message.save(force_insert=True)
        row = message.tier or message.concert
        people = "1 person" if message.people == 1 else f"{message.people:,} people"
        said = f"Wrote to {people}: {message.subject}"
        LogEntry.objects.log_actions(message.made_by_id, [row], CHANGE, said, single_object=True)


def send_test(message: HolderMessage) -> None:
    """Send a draft to its author only, as if they had booked."""
    message.is_test, message.people, message.written_at = True, 1, message.made_at
    with transaction.atomic():
        message.save(force_insert=True)
        post(kind=MESSAGE, about=message.pk, to=message.made_by.email)


def write_some(*, now: datetime) -> bool:
    """Write the next mails of a message. Returns whether to go on: there may be more to write now."""
    with transaction.atomic():
        if Mail.objects.due(now).filter(kind=MESSAGE)[:MOST_WAITING].count() == MOST_WAITING:
            return False
        unwritten = HolderMessage.objects.filter(written_at=None)
        # Any of them, so that a large one keeps no small one waiting.
        message = unwritten.select_for_update(skip_locked=True, no_key=True).order_by("?").first()
        if message is None:
            return False
        holders = _next_holders(message)
        write_batch(message, holders)
        if holders:
            message.last_booking = holders[-1][0]
        if len(holders) < AT_ONCE:
            message.written_at = now
            message.people = Mail.objects.filter(kind=MESSAGE, about=message.pk).count()
        message.save(update_fields=["last_booking", "written_at", "people"])
    return True


def _next_holders(message: HolderMessage) -> list[Holder]:
    holders = _reachable(message.holders())
    if message.last_booking:
        holders = holders.filter(pk__gt=message.last_booking)
    return list(holders.order_by("pk").values_list("pk", "user_id", "user__email")[:AT_ONCE])


def _reachable(holders: BookingQuerySet) -> BookingQuerySet:
    # Nobody has the address of an account that was closed.
    return holders.exclude(user__email__endswith=NEVER_REACHED)


def write_batch(message: HolderMessage, holders: Sequence[Holder]) -> None:
    """Write this message to each of these people who was not written to before."""
    addresses = {address for _, _, address in holders}
    by_address = _mails_of(message, addresses)
    # By an earlier booking of theirs. They may have another address since.
    earlier = message.reached.filter(booking__user__in={user for _, user, _ in holders})
    by_customer = dict(earlier.values_list("booking__user", "mail"))
    new = {}
    for booking, user, address in holders:
        if user not in by_customer and address not in by_address and address not in new:
            key = f"{MESSAGE}:{message.pk}:{booking}"
            new[address] = Post(kind=MESSAGE, about=message.pk, to=address, key=key)
    post_all(new.values())
    by_address |= _mails_of(message, new)
    Reached.objects.bulk_create(
        Reached(
            message=message,
            booking_id=booking,
            mail_id=by_customer.get(user) or by_address[address],
        )
        for booking, user, address in holders
    )


def _mails_of(message: HolderMessage, addresses: Iterable[str]) -> dict[str, UUID]:
    mails = Mail.objects.filter(kind=MESSAGE, about=message.pk, address__in=addresses)
    return dict(mails.values_list("address", "pk"))


def written_about(booking: Booking) -> list[Reached]:
    """What staff have written to the customer of a booking, the first message first, each with its mail.

    Mails that were skipped are left out, and so are those that were forgotten (mail/tasks.py).
    """
    reached = Reached.objects.filter(booking=booking).exclude(mail__status=Mail.Status.SKIPPED)
    return list(reached.select_related("message__made_by", "mail").order_by("message_id"))
