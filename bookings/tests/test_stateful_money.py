"""Any sequence of verbs on slow payments, returns, refunds, kept-back tickets, and a concert called off.

As test_stateful.py, with a gateway that has a page of its own. After every step the counters, the bookings
and the refunds agree with a plain Python model, and the ledger of the gateway agrees to the cent.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.tests.factories import UserFactory
from bookings import events, tasks
from bookings.audit import audit
from bookings.cancelling import cancel, cancel_for_customer, return_tickets
from bookings.errors import (
    BookingError,
    CustomerLimitReached,
    InsufficientTickets,
    NotCancellable,
    NothingToRefund,
    SalesClosed,
    TooManyUnpaid,
)
from bookings.gateways.base import Outcome
from bookings.models import Booking
from bookings.outcomes import ask_and_settle
from bookings.placing import place
from bookings.refunding import give_money_back
from bookings.resolving import CLAIM, poll, resolve_expired
from bookings.steps import InLanes
from bookings.tests.redirecting import HOLD_SECONDS, LEDGER, NAME, PATH, SIGNATURE, told
from bookings.tests.wishing import wish
from bookings.wishes import StaffDecision
from concerts import stock
from concerts.calling_off import call_off
from concerts.tests.factories import TicketTierFactory
from ticketbook import event_loop

HOLD, GIVE_UP = timedelta(seconds=HOLD_SECONDS), timedelta(seconds=600)
LIMIT, UNPAID, PRICE = 12, 3, Decimal(10)


@dataclass
class Model:
    """What should be true of one booking."""

    customer: int
    quantity: int
    since: datetime
    due: datetime  # when a resolver may take it, if it is PENDING
    status: str = "PENDING"
    returned: int = 0
    refunded: Decimal = Decimal(0)
    price: Decimal = PRICE
    ours: bool = False  # the money never passed the gateway: staff took it, or nobody had to pay
    cash: bool = False

    @property
    def kept(self):
        return self.quantity - self.returned

    @property
    def refundable(self):
        return self.quantity * self.price - self.refunded


class BoxOffice(RuleBasedStateMachine):
    bookings = Bundle("bookings")

    def __init__(self):
        super().__init__()
        LEDGER.clear()
        self.now = timezone.now()
        self.customers = UserFactory.create_batch(2)
        self.staff = UserFactory(is_staff=True)
        self.tier = TicketTierFactory(total_quantity=20, max_per_customer=LIMIT, price=PRICE)
        self.kept_back = 0
        self.called_off = False
        self.models = {}

    def taken(self, customer=None):
        return sum(
            m.kept
            for m in self.models.values()
            if m.status in {"PENDING", "CONFIRMED"} and customer in {None, m.customer}
        )

    def free(self):
        return 20 - self.kept_back - self.taken()

    def unpaid(self, customer):
        mine = [m for m in self.models.values() if m.customer == customer]
        return sum(m.status == "PENDING" for m in mine)

    # --- What the site learns from the gateway, in the model ---

    def learn(self, key):
        """The gateway has been asked about this booking, and has answered."""
        m, outcome = self.models[key], LEDGER.outcomes.get(key)
        if m.status == "PENDING" and outcome is Outcome.SUCCEEDED:
            m.status = "CONFIRMED"
            if self.called_off:
                self.give_back(m, m.quantity, m.quantity * m.price)
        elif m.status == "PENDING" and outcome in {Outcome.DECLINED, Outcome.CANCELLED}:
            m.status = "FAILED"
        elif m.status == "FAILED" and outcome is Outcome.SUCCEEDED:
            m.refunded = m.quantity * m.price  # late money is owed

    def resolve_in_model(self, *, gateway_answers):
        for key, m in self.models.items():
            if m.status != "PENDING" or self.now < m.due:
                continue
            m.due = self.now + CLAIM
            if gateway_answers:
                self.learn(key)
                assert m.status != "PENDING", "a payment past its time was not closed"
            elif self.now >= m.since + HOLD + GIVE_UP:
                m.status = "FAILED"

    # --- Booking ---

    @initialize(target=bookings)
    def customers_come(self):
        return multiple(*(self.book(customer, 2) for customer in (0, 0, 0, 1)))

    @rule(target=bookings, customer=st.integers(0, 1), quantity=st.integers(1, 3))
    def book(self, customer, quantity):
        self.the_resolver_runs(gateway_answers=True)
        user = self.customers[customer]
        try:
            booking = place(wish(user, self.tier, quantity, now=self.now)).booking
        except TooManyUnpaid:
            assert self.unpaid(customer) >= UNPAID
            return multiple()
        except InsufficientTickets:
            assert self.free() < quantity
            return multiple()
        except CustomerLimitReached:
            assert self.taken(customer) + quantity > LIMIT
            return multiple()
        except SalesClosed:
            assert self.called_off
            return multiple()
        assert not self.called_off
        assert booking.awaits_customer
        assert self.unpaid(customer) < UNPAID
        self.models[booking.pk] = Model(customer, quantity, self.now, self.now + HOLD)
        return booking

    @rule(
        target=bookings,
        quantity=st.integers(1, 3),
        gateway=st.sampled_from(["none", "cash"]),
        from_kept_back=st.booleans(),
    )
    def staff_book(self, quantity, gateway, from_kept_back):
        self.the_resolver_runs(
            gateway_answers=True
        )  # or a sale that finds too few tickets would run it
        decision = StaffDecision(
            by=self.staff,
            source=Booking.Source.DOOR,
            gateway=gateway,
            note="",
            from_kept_back=from_kept_back,
            waives_limit=True,
        )
        guest = wish(self.customers[0], self.tier, quantity, now=self.now, staff=decision)
        try:
            booking = place(guest).booking
        except InsufficientTickets:
            assert quantity > (self.kept_back if from_kept_back else self.free())
            return multiple()
        except SalesClosed:
            assert self.called_off
            return multiple()
        assert not self.called_off
        price = PRICE if gateway == "cash" else Decimal(0)
        self.models[booking.pk] = Model(
            0, quantity, self.now, self.now, "CONFIRMED", price=price, ours=True, cash=bool(price)
        )
        if from_kept_back:
            self.kept_back -= quantity
        return booking

    # --- What customers and their banks do ---

    @rule(booking=bookings, pays=st.booleans())
    def the_customer_decides(self, booking, pays):
        if booking.pk in LEDGER.outcomes:
            (LEDGER.pay if pays else LEDGER.decline)(booking.pk)

    @rule(booking=bookings)
    def a_slow_bank_pays(self, booking):
        self.time_passes(HOLD_SECONDS + 1)
        self.the_resolver_runs(gateway_answers=True)
        if LEDGER.outcomes.get(booking.pk) is Outcome.CANCELLED:
            LEDGER.capture_late(booking.pk)

    # --- How the site learns of it ---

    @rule(booking=bookings, claim=st.sampled_from(["succeeded", "declined", "cancelled"]))
    def a_webhook_comes_twice(self, booking, claim):
        body = told(booking.pk, claim)
        for _ in range(2):
            event_loop.run(events.receive(NAME, body, SIGNATURE))
        if not self.models[booking.pk].ours:
            self.learn(booking.pk)

    @rule(booking=bookings)
    def the_customer_comes_back(self, booking):
        booking = Booking.objects.get(pk=booking.pk)
        if booking.awaits_customer:
            event_loop.run(ask_and_settle(booking, InLanes(), now=self.now))
            self.learn(booking.pk)

    @rule(gateway_answers=st.booleans())
    def the_resolver_runs(self, gateway_answers):
        LEDGER.mode = "approve" if gateway_answers else "outage"
        resolve_expired(now=self.now)
        LEDGER.mode = "approve"
        self.resolve_in_model(gateway_answers=gateway_answers)

    @rule()
    def the_poller_runs(self):
        before = set(Booking.objects.pending().values_list("pk", flat=True))
        for booking in poll(now=self.now):
            assert booking.pk in before
            self.learn(booking.pk)

    @rule(seconds=st.sampled_from([0.7, 10.3, 301.1, 905.3, 1600.3]))
    def time_passes(self, seconds):
        self.now += timedelta(seconds=seconds)

    # --- Returns and refunds ---

    @rule(booking=bookings, tickets=st.sampled_from([None, 1, 2, 4]), answers=st.booleans())
    def the_customer_returns_tickets(self, booking, tickets, answers):
        m, row = self.models[booking.pk], Booking.objects.get(pk=booking.pk)
        LEDGER.mode = "approve" if answers else "outage"
        key = uuid.uuid4()
        try:
            for _ in range(2):
                if tickets is None:
                    cancel(row, now=self.now)
                else:
                    return_tickets(row, tickets, key=key, now=self.now)
        except BookingError:
            assert m.cash or m.status != "CONFIRMED" or (tickets or 0) > m.kept
        else:
            assert not m.cash or m.status == "CANCELLED"
            if m.status == "CONFIRMED":
                number = tickets or m.kept
                self.give_back(m, number, min(number * m.price, m.refundable))
        LEDGER.mode = "approve"

    @rule(booking=bookings, tickets=st.integers(1, 3), refund=st.sampled_from([0, 5, 15]))
    def staff_return_tickets(self, booking, tickets, refund):
        m, row = self.models[booking.pk], Booking.objects.get(pk=booking.pk)
        try:
            cancel_for_customer(
                row, tickets, refund=Decimal(refund), by=self.staff, note="", now=self.now
            )
        except NotCancellable:
            assert m.status != "CONFIRMED" or tickets > m.kept
        except NothingToRefund:
            assert refund > m.refundable
        else:
            self.give_back(m, tickets, Decimal(refund))

    def give_back(self, m, tickets, refund):
        m.returned += tickets
        m.refunded += refund
        if not m.kept:
            m.status = "CANCELLED"

    @rule(booking=bookings, amount=st.sampled_from(["0.01", "5", "30"]))
    def staff_give_money_back(self, booking, amount):
        m, row = self.models[booking.pk], Booking.objects.get(pk=booking.pk)
        paid = m.status in {"CONFIRMED", "CANCELLED"} or m.refunded
        try:
            give_money_back(row, Decimal(amount), by=self.staff, note="", now=self.now)
        except NothingToRefund:
            assert not paid or Decimal(amount) > m.refundable
        else:
            m.refunded += Decimal(amount)

    @rule(tickets=st.integers(0, 12))
    def staff_keep_tickets_back(self, tickets):
        try:
            stock.keep_back(
                tier_id=self.tier.pk, tickets=tickets, by=self.staff, reason="", now=self.now
            )
        except stock.NotEnoughFree:
            assert tickets - self.kept_back > self.free()
        else:
            self.kept_back = tickets

    @precondition(lambda self: len(self.models) > 8)
    @rule()
    def the_concert_is_called_off(self):
        call_off(self.tier.concert_id, by=self.staff, now=self.now)
        self.called_off = True
        for m in self.models.values():
            if m.status == "CONFIRMED":
                self.give_back(m, m.kept, m.refundable)
            elif m.status == "PENDING":
                m.due = min(m.due, self.now)

    @rule()
    def all_jobs_run(self):
        tasks.send_refunds_of_concert(str(self.tier.concert_id))
        for booking in Booking.objects.filter(pk__in=self.models):
            if booking.failure_reason == Booking.FailureReason.EXPIRED:
                tasks.look_for_late_payment(str(booking.pk))
                self.learn(booking.pk)
            tasks.refund_booking(str(booking.pk))
        # Nothing is owed now. What the gateway kept is the price of what is booked.
        kept = LEDGER.kept()
        for key, m in self.models.items():
            if m.status in {"CONFIRMED", "CANCELLED"} and not m.ours:
                assert kept.get(key, 0) == m.refundable
            elif m.status == "FAILED" and not m.ours:
                assert kept.get(key, 0) == 0

    # --- After every step ---

    @invariant()
    def nothing_is_oversold_and_nothing_is_lost(self):
        assert audit() == []
        self.tier.refresh_from_db()
        assert self.tier.kept_back == self.kept_back
        assert self.tier.available_quantity == self.free()

    @invariant()
    def every_booking_is_as_the_model_says(self):
        rows = Booking.objects.filter(pk__in=self.models)
        actual = rows.values_list("pk", "status", "returned_quantity", "refunded_total")
        assert {pk: tuple(state) for pk, *state in actual} == {
            pk: (m.status, m.returned, m.refunded) for pk, m in self.models.items()
        }

    @invariant()
    def nobody_is_charged_twice_or_refunded_too_much(self):
        for key, amount in LEDGER.kept().items():
            assert 0 < amount <= LEDGER.amounts[key]

    @invariant()
    def every_confirmed_ticket_is_paid(self):
        for key, m in self.models.items():
            if m.status == "CONFIRMED" and not m.ours:
                assert LEDGER.taken[key] == m.quantity * m.price


@pytest.mark.django_db(transaction=True)
@pytest.mark.timeout(240)
def test_any_sequence_of_verbs_keeps_the_books_and_the_money(both_modes, settings):
    settings.PAYMENT_GATEWAYS, settings.PAYMENT_DEFAULT = {NAME: PATH}, NAME
    settings.MAX_UNPAID_HOLDS = UNPAID
    run_state_machine_as_test(BoxOffice, settings=SETTINGS)


SETTINGS = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking against a database takes minutes
    suppress_health_check=list(HealthCheck),
)
