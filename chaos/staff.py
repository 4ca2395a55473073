"""Staff in a process of their own: the verbs of the back office, on the site's settings.

    python -m chaos.staff

prints `ready`, reads one request a line from standard input, {"verb": …, "by": e-mail, …}, and answers each
with a line: {"outcome": "ok", "refused" or "unknown", "code": …, "answer": …, "error": …}.
"""

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import django

Request = dict[str, Any]


def main() -> None:
    django.setup()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


def _answer(request: Request) -> dict[str, Any]:
    from django.db import DatabaseError, InterfaceError, close_old_connections

    from ticketbook.errors import Refusal

    close_old_connections()
    try:
        return {"outcome": "ok", "answer": VERBS[request["verb"]](request)}
    except Refusal as refusal:
        facts = {name: str(fact) for name, fact in refusal.facts.items()}
        return {"outcome": "refused", "code": refusal.code, "answer": facts}
    except (DatabaseError, InterfaceError) as exc:
        return {"outcome": "unknown", "error": f"{type(exc).__name__}: {exc}"}


def _by(request: Request) -> Any:
    from accounts.models import User

    return User.objects.get(email=request["by"])


def _capacity(request: Request) -> Any:
    from concerts import stock
    from ticketbook.postgres import clock

    change = stock.change_capacity(
        tier_id=UUID(request["tier"]),
        total=request["total"],
        by=_by(request),
        reason="chaos",
        now=clock.ask(),
    )
    return {"old": change.old}


def _keep_back(request: Request) -> Any:
    from concerts import stock
    from ticketbook.postgres import clock

    change = stock.keep_back(
        tier_id=UUID(request["tier"]),
        tickets=request["tickets"],
        by=_by(request),
        reason="chaos",
        now=clock.ask(),
    )
    return {"old": change.old}


def _price(request: Request) -> Any:
    # No verb of ours changes a price, but somebody who has a shell can.
    from django.db import transaction

    from concerts import stock
    from concerts.models import TicketTier
    from ticketbook.copies import store

    with transaction.atomic():
        tier = stock.lock_tier(UUID(request["tier"]))
        TicketTier.objects.filter(pk=tier.pk).update(price=Decimal(request["price"]))
    store.forget()
    return {"old": str(tier.price)}


def _call_off(request: Request) -> Any:
    from concerts.calling_off import call_off
    from ticketbook.postgres import clock

    by, concert = _by(request), UUID(request["concert"])
    return {"said": call_off(concert, by=by, note="chaos", now=clock.ask())}


def _refund(request: Request) -> Any:
    from bookings.models import Booking
    from bookings.refunding import give_money_back
    from ticketbook.postgres import clock

    booking = Booking.objects.get(pk=request["booking"])
    amount = Decimal(request["amount"])
    refund = give_money_back(booking, amount, by=_by(request), note="chaos", now=clock.ask())
    return {"refund": str(refund.pk)}


def _book_for(request: Request) -> Any:
    from bookings import desk
    from bookings.gateways.named import FREE
    from bookings.models import Booking
    from bookings.wishes import StaffDecision
    from ticketbook.postgres import clock

    decision = StaffDecision(
        by=_by(request),
        source=Booking.Source.HOUSE,
        gateway=FREE,
        note="chaos",
        from_kept_back=request["from_kept_back"],
        waives_limit=True,
    )
    order = desk.Order(
        tier_id=UUID(request["tier"]),
        quantity=request["quantity"],
        name="Chaos",
        email=request["customer"],
        key=UUID(request["key"]),
        decision=decision,
    )
    booking = desk.book(order, now=clock.ask()).booking
    return {"id": str(booking.pk), "status": booking.status}


def _message(request: Request) -> Any:
    from concerts.models import Concert
    from ticketbook.postgres import clock
    from tickets import messages

    message = messages.draft(
        concert=Concert.objects.get(pk=request["concert"]),
        tier=None,
        subject="Chaos",
        text="Doors open earlier.",
        by=_by(request),
        now=clock.ask(),
    )
    messages.send(message)
    return {"people": message.people}


VERBS: dict[str, Callable[[Request], Any]] = {
    "capacity": _capacity,
    "keep_back": _keep_back,
    "price": _price,
    "call_off": _call_off,
    "refund": _refund,
    "book_for": _book_for,
    "message": _message,
}

if __name__ == "__main__":
    main()
