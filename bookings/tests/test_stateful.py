"""Any sequence of verbs is compared with a plain Python model of what they should do.

Hypothesis makes up the sequences. The clock is injected, the database is real, and the gateway has a process
of its own. After every step the counters agree with the bookings, the bookings with the model, and the
gateway's ledger with the confirmed bookings.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, Phase
from hypothesis import settings as rules
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from accounts.tests.factories import UserFactory
from bookings import tasks
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.errors import BookingError, CustomerLimitReached, InsufficientTickets
from bookings.models import Booking
from bookings.placing import place
from bookings.resolving import CLAIM, resolve_expired
from bookings.tests.wishing import wish
from concerts import stock
from concerts.tests.factories import TicketTierFactory
from ticketbook.errors import Refusal

HOLD, GIVE_UP = timedelta(seconds=60), timedelta(seconds=600)
LIMIT = 8  # tickets of one customer
WHAT_BECOMES_OF_A_CHARGE = {
    "approve": "CONFIRMED",
    "decline": "FAILED",
    "lose_request": "PENDING",
    "lose_answer": "PENDING",
    "outage": "PENDING",
}


@dataclass
class Model:
    """What should be true of one booking."""

    customer: int
    quantity: int
    charged: bool  # the gateway took the money
    status: str
    since: datetime
    due: datetime  # when a resolver may take it, if it is PENDING


class TicketOffice(RuleBasedStateMachine):
    bookings = Bundle("bookings")

    def __init__(self, ledger):
        super().__init__()
        self.ledger = ledger
        self.ledger.clear()
        self.now = timezone.now()
        self.customers = UserFactory.create_batch(2)
        self.staff = UserFactory(is_staff=True)
        self.total = 12
        self.tier = TicketTierFactory(total_quantity=self.total, max_per_customer=LIMIT)
        self.models = {}

    def sold(self, customer=None):
        return sum(
            m.quantity
            for m in self.models.values()
            if m.status in {"PENDING", "CONFIRMED"} and customer in {None, m.customer}
        )

    def resolve_in_model(self, *, gateway_answers):
        """What the resolver does with holds past their time."""
        for m in self.models.values():
            if m.status != "PENDING" or self.now < m.due:
                continue
            m.due = self.now + CLAIM
            if gateway_answers:
                m.status = "CONFIRMED" if m.charged else "FAILED"
            elif self.now >= m.since + GIVE_UP:
                m.status = "FAILED"

    @rule(
        target=bookings,
        customer=st.integers(0, 1),
        quantity=st.integers(1, 5),
        gateway=st.sampled_from(sorted(WHAT_BECOMES_OF_A_CHARGE)),
    )
    def book(self, customer, quantity, gateway):
        self.ledger.mode("approve")
        resolve_expired(now=self.now)  # so that the booking finds no expired hold in its way
        self.resolve_in_model(gateway_answers=True)
        self.ledger.mode(gateway)
        try:
            booking = self.place(customer, quantity, uuid.uuid4())
        except InsufficientTickets:
            assert self.sold() + quantity > self.total
            return multiple()
        except CustomerLimitReached:
            assert self.sold(customer) + quantity > LIMIT
            return multiple()
        self.models[booking.pk] = Model(
            customer,
            quantity,
            gateway in {"approve", "lose_answer"},
            WHAT_BECOMES_OF_A_CHARGE[gateway],
            self.now,
            self.now + HOLD,
        )
        return booking

    def place(self, customer, quantity, key):
        user = self.customers[customer]
        return place(wish(user, self.tier, quantity, key, now=self.now)).booking

    @rule(booking=bookings)
    def send_the_same_request_again(self, booking):
        m = self.models[booking.pk]
        self.ledger.mode("approve")
        due = m.status == "PENDING" and self.now >= m.due
        again = self.place(m.customer, m.quantity, booking.idempotency_key)
        if due:
            m.status = "CONFIRMED" if m.charged else "FAILED"
        assert again.pk == booking.pk

    @rule(seconds=st.sampled_from([0.7, 10.3, 61.1, 601.3]))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule(gateway_answers=st.booleans())
    def the_resolver_runs(self, gateway_answers):
        self.ledger.mode("approve" if gateway_answers else "outage")
        resolve_expired(now=self.now)
        self.resolve_in_model(gateway_answers=gateway_answers)

    @rule(booking=bookings, refunds_work=st.booleans())
    def cancel(self, booking, refunds_work):
        m = self.models[booking.pk]
        self.ledger.mode("approve" if refunds_work else "outage")
        try:
            cancel(Booking.objects.get(pk=booking.pk), now=self.now)
        except BookingError:
            assert m.status in {"PENDING", "FAILED"}
        else:
            assert m.status in {"CONFIRMED", "CANCELLED"}
            m.status = "CANCELLED"

    @rule(total=st.integers(0, 20))
    def change_capacity(self, total):
        try:
            stock.change_capacity(
                tier_id=self.tier.pk, total=total, by=self.staff, reason="", now=self.now
            )
        except Refusal:
            assert total < self.sold()
        else:
            self.total = total

    @rule()
    def all_jobs_run(self):
        self.ledger.mode("approve")
        for booking in Booking.objects.filter(pk__in=self.models):
            tasks.refund_booking(str(booking.pk))
            if booking.failure_reason == Booking.FailureReason.EXPIRED:
                tasks.look_for_late_payment(str(booking.pk))
                tasks.refund_booking(str(booking.pk))
        # Nothing is owed now: what the gateway kept is what was booked.
        kept = {uuid.UUID(key) for key in self.ledger.kept()}
        waiting = {k for k, m in self.models.items() if m.status == "PENDING" and m.charged}
        assert kept - waiting == {k for k, m in self.models.items() if m.status == "CONFIRMED"}

    @invariant()
    def nothing_is_oversold_and_nothing_is_lost(self):
        assert audit() == []
        self.tier.refresh_from_db()
        assert self.tier.total_quantity == self.total
        assert self.tier.available_quantity == self.total - self.sold()

    @invariant()
    def every_booking_is_as_the_model_says(self):
        actual = dict(Booking.objects.filter(pk__in=self.models).values_list("pk", "status"))
        assert actual == {pk: m.status for pk, m in self.models.items()}

    @invariant()
    def every_confirmed_ticket_is_paid(self):
        kept = self.ledger.kept()
        for booking in Booking.objects.filter(pk__in=self.models, status="CONFIRMED"):
            assert kept[str(booking.pk)] == booking.total_price


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(180)
def test_any_sequence_of_verbs_keeps_the_books(ledger, both_modes, settings):
    settings.PAYMENT_BREAKER_FAILURES = 0  # it would remember the failures of earlier sequences
    run_state_machine_as_test(
        lambda: TicketOffice(ledger),
        settings=rules(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],  # shrinking against a database takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
