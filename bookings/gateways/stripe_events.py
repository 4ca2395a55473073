"""What an event of Stripe's means for us. `about` is the object that the event is about."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from bookings.gateways.base import Outcome
from bookings.gateways.stripe_amounts import in_words


def booking_of(about: Any) -> UUID | None:
    """The key of the booking. None for payments of other shops that use the same account of Stripe's."""
    try:
        return UUID(metadata(about, "booking") or "")
    except ValueError:
        return None


def metadata(about: Any, name: str) -> str | None:
    values = getattr(about, "metadata", None)
    return str(values[name]) if values is not None and name in values else None


def claim(event_type: str, about: Any) -> Outcome | None:
    """What the event says became of the payment, if it says so."""
    if event_type == "checkout.session.completed":
        # A payment that is settled later completes its session too, and another event says how it ended.
        return Outcome.SUCCEEDED if about.payment_status == "paid" else None
    return {
        "checkout.session.expired": Outcome.CANCELLED,
        "checkout.session.async_payment_succeeded": Outcome.SUCCEEDED,
        "checkout.session.async_payment_failed": Outcome.DECLINED,
    }.get(event_type)


def alert(event_type: str, about: Any) -> str:
    """A sentence for staff, if they have to act."""
    if event_type == "charge.dispute.created":
        return _dispute_opened(about)
    if event_type == "charge.dispute.closed":
        amount = in_words(about.amount, about.currency)
        return f"The dispute about {amount} was closed: {about.status.replace('_', ' ')}."
    if event_type == "refund.failed":
        return refund_failed(about)
    return ""


def _dispute_opened(dispute: Any) -> str:
    amount, reason = in_words(dispute.amount, dispute.currency), dispute.reason.replace("_", " ")
    due = dispute.evidence_details.due_by
    deadline = f" by {datetime.fromtimestamp(due, UTC):%d %B %Y, %H:%M} UTC" if due else ""
    return f"The customer disputes {amount} ({reason}). Answer in Stripe's dashboard{deadline}."


def refund_failed(refund: Any) -> str:
    reason = (getattr(refund, "failure_reason", None) or "no reason given").replace("_", " ")
    return (
        f"Stripe could not send the refund of {in_words(refund.amount, refund.currency)} ({reason}). "
        "Send the money to the customer in another way."
    )
