"""A site that is imagined: a small model that keeps all promises, and what its clients and rows would say.

Its steps happen one after the other. `told` then gives each request a time around its steps that overlaps
with others, and loses some answers.
"""

import random
import uuid
from copy import deepcopy
from dataclasses import dataclass, field, replace

from chaos.facts import (
    Booking,
    CapacityChange,
    Capture,
    Concert,
    Facts,
    Letter,
    Mail,
    Move,
    Payment,
    Press,
    Refund,
    Return,
    SentBack,
    Ticket,
    Tier,
)
from chaos.history import GUEST, OK, REFUSED, UNKNOWN, Attempt, Header, History

PRICE = 10
CLIENTS = [*(f"buyer-{number}" for number in range(4)), "guest:buyer-0"]
ONE = Booking(
    user="",
    tier="t",
    quantity=0,
    returned=0,
    status="PENDING",
    payment_status="PENDING",
    failure_reason="",
    total="",
    refunded="0.00",
    key="",
    gateway="main",
    source="ONLINE",
    called_off=False,
    created_at=0.0,
    updated_at=0.0,
)


@dataclass
class Site:
    seed: int = 0
    capacity: int = 8
    limit: int | None = None
    time: float = 0.0
    price: int = PRICE
    facts: Facts = field(default_factory=Facts)
    attempts: list[Attempt] = field(default_factory=list)
    asked: list[dict] = field(default_factory=list)

    def __post_init__(self):
        self.draw = random.Random(self.seed)
        self.facts.concerts |= {"c": Concert("PUBLISHED"), "draft": Concert("DRAFT")}
        self.facts.tiers["t"] = Tier("c", self.capacity, 0, self.capacity, self.limit, "10.00")

    # --- Steps --------------------------------------------------------------------------------------------

    def book(self, client=None, quantity=None, request=None):
        """Ask for tickets. Whoever gets a hold waits for its settlement."""
        client = client or self.draw.choice(CLIENTS)
        request = request or self.wish(quantity or self.draw.choice([1, 1, 2, 3]))
        self.asked.append({"client": client, "request": request})
        attempt = self.begin(client, "book", request)
        for pk, row in self.facts.bookings.items():
            if row.key == request["key"]:
                if row.handed_to:
                    return self.answer_for_another(attempt, pk)
                return self.answer_again(attempt, pk)
        if self.facts.concerts["c"].status == "CANCELLED":
            return self.refuse(attempt, 409, "sales_closed")
        tier = self.facts.tiers["t"]
        if request["quantity"] > tier.available:
            return self.refuse(
                attempt, 409, "insufficient_tickets", availableQuantity=tier.available
            )
        has = sum(
            row.quantity - row.returned
            for row in self.facts.bookings.values()
            if row.user == client.removeprefix(GUEST)
            and not row.handed_to
            and row.status in {"PENDING", "CONFIRMED"}
        )
        if tier.max_per_customer is not None and has + request["quantity"] > tier.max_per_customer:
            return self.refuse(attempt, 409, "customer_limit_reached")
        pk = self.name()
        total = f"{self.price * request['quantity']}.00"
        if float(request.get("max_total", total)) < float(total):
            return self.refuse(attempt, 409, "changed", price=f"{self.price}.00", total=total)
        self.facts.bookings[pk] = replace(
            ONE,
            user=client.removeprefix(GUEST),
            guest=client.startswith(GUEST),
            quantity=request["quantity"],
            total=total,
            key=request["key"],
        )
        self.move(-request["quantity"])
        attempt.error = pk  # it waits
        return attempt

    def wish(self, quantity):
        request = {"tier": "t", "quantity": quantity, "key": self.name()}
        if self.draw.random() < 0.7:
            price = self.draw.choice([self.price, self.price, PRICE])
            request["max_total"] = f"{price * quantity}.00"
        return request

    def book_again(self):
        if self.asked:
            again = self.draw.choice(self.asked[-6:])
            self.book(again["client"], request=again["request"])

    def settle(self, outcome=None):
        """Tell one who waits that the payment succeeded, was declined, or is not known."""
        waiting = [each for each in self.attempts if each.error]
        if waiting:
            attempt = self.draw.choice(waiting)
            pk, attempt.error = attempt.error, ""
            outcome = outcome or self.draw.choice(["paid", "paid", "paid", "declined", "silent"])
            if self.facts.bookings[pk].status == "PENDING" and outcome != "silent":
                self.write(pk, outcome)
            self.answer_again(attempt, pk)

    def resolve(self):
        """Settle a hold that nobody was told of, as the worker does."""
        at_work = {each.error for each in self.attempts}
        for pk, row in self.facts.bookings.items():
            if row.status == "PENDING" and (pk not in at_work or self.draw.random() < 0.2):
                self.tick()
                return self.write(pk, self.draw.choice(["paid", "declined"]))
        return None

    def cancel(self, pk=None):
        if pk := pk or self.some_booking():
            row = self.facts.bookings[pk]
            attempt = self.begin(self.owner(row), "cancel", {"booking": pk})
            if row.status == "PENDING":
                return self.refuse(attempt, 409, "request_in_progress", bookingId=pk)
            if row.status == "FAILED":
                return self.refuse(attempt, 409, "not_cancellable")
            if row.status == "CONFIRMED":
                self.give_back(pk, row.quantity - row.returned, "")
            self.answer(attempt, 200, self.body(pk))
        return None

    def return_tickets(self, pk=None, number=1):
        if pk := pk or self.some_booking():
            row, key = self.facts.bookings[pk], self.name()
            request = {"booking": pk, "quantity": number, "key": key}
            attempt = self.begin(self.owner(row), "return", request)
            if row.status != "CONFIRMED":
                return self.refuse(attempt, 409, "not_cancellable")
            self.give_back(pk, number, key)
            self.answer(attempt, 200, self.body(pk))
        return None

    def look_up(self):
        if pk := self.some_booking():
            owner = self.owner(self.facts.bookings[pk])
            self.answer(self.begin(owner, "look_up", {"booking": pk}), 200, self.body(pk))

    def my_bookings(self):
        client = f"buyer-{self.draw.randrange(4)}"
        attempt = self.begin(client, "my_bookings", {})
        theirs = [pk for pk, row in self.facts.bookings.items() if self.owner(row) == client]
        self.answer(attempt, 200, [self.body(pk) for pk in theirs])

    def keep(self, person="buyer-0"):
        """A guest keeps their bookings in the account with the same address."""
        attempt = self.begin(GUEST + person, "keep", {"email": person})
        for pk, row in self.facts.bookings.items():
            if row.user == person and row.guest and not row.handed_to:
                self.facts.bookings[pk] = replace(row, kept=True)
        self.answer(attempt, 303, None)

    @staticmethod
    def owner(row):
        if row.handed_to:
            return GUEST + row.handed_to
        return row.user if row.kept else row.maker

    def availability(self):
        tier = self.facts.tiers["t"]
        body = {"tierId": "t", "availableQuantity": tier.available, "price": tier.price}
        attempt = self.begin("buyer-0", "availability", {"concert": "c"})
        self.answer(attempt, 200, {"tiers": [body]})

    def change_price(self, price=None):
        old, self.price = self.price, price or self.draw.randint(5, 15)
        attempt = self.begin("staff", "price", {"tier": "t", "price": f"{self.price}.00"})
        self.set_tier(price=f"{self.price}.00")
        self.answer(attempt, 0, {"old": f"{old}.00"})

    def change_capacity(self, total=None):
        tier = self.facts.tiers["t"]
        total = self.draw.randint(4, 12) if total is None else total
        attempt = self.begin("staff", "capacity", {"tier": "t", "total": total})
        if total - tier.total + tier.available < 0:
            return self.refuse(attempt, 0, "capacity_below_sold")
        self.facts.capacity.append(CapacityChange("t", self.time, "total", tier.total, total))
        self.set_tier(total=total, available=tier.available + total - tier.total)
        return self.answer(attempt, 0, {"old": tier.total})

    def keep_back(self):
        tier, tickets = self.facts.tiers["t"], self.draw.randint(0, 3)
        attempt = self.begin("staff", "keep_back", {"tier": "t", "tickets": tickets})
        if tickets - tier.kept_back > tier.available:
            facts = {"available": str(tier.available), "keptBack": str(tier.kept_back)}
            return self.refuse(attempt, 0, "insufficient_tickets", **facts)
        change = CapacityChange("t", self.time, "kept_back", tier.kept_back, tickets)
        self.facts.capacity.append(change)
        self.set_tier(kept_back=tickets, available=tier.available - tickets + tier.kept_back)
        return self.answer(attempt, 0, {"old": tier.kept_back})

    def goodwill(self):
        pk = self.some_booking()
        row = self.facts.bookings.get(pk)
        if row and row.status == "CONFIRMED" and float(row.total) - float(row.refunded) >= 1:
            attempt = self.begin("staff", "refund", {"booking": pk, "amount": "1.00"})
            self.refund(pk, 1, 0, "GOODWILL")
            self.answer(attempt, 0, {})

    def call_off(self):
        attempt = self.begin("staff", "call_off", {"concert": "c"})
        self.facts.concerts["c"] = Concert("CANCELLED")
        for pk, row in list(self.facts.bookings.items()):
            if row.status in {"PENDING", "CONFIRMED"}:
                self.facts.bookings[pk] = replace(row, called_off=True)
            if row.status == "CONFIRMED":
                self.give_back(pk, row.quantity - row.returned, "", "CALLED_OFF")
        self.answer(attempt, 0, {})

    # --- Staff at the pages of the back office ------------------------------------------------------------

    def press(self, verb, about, request):
        return self.begin("desk", verb, {**about, **request, "press": self.name()})

    def done(self, attempt, about):
        self.facts.presses.append(Press(attempt.request["press"], about))
        self.answer(attempt, 302, {})

    def add_tickets(self, tickets=None):
        tier, tickets = self.facts.tiers["t"], tickets or self.draw.choice([-3, -1, 1, 2])
        attempt = self.press("add_tickets", {"tier": "t"}, {"tickets": tickets})
        if tier.available + tickets < 0:
            return self.refuse(attempt, 409, "capacity_below_sold", available=tier.available)
        self.note_change(attempt, "total", tier.total, tickets)
        self.set_tier(total=tier.total + tickets, available=tier.available + tickets)
        return self.done(attempt, "t")

    def keep_more_back(self, tickets=1):
        tier = self.facts.tiers["t"]
        attempt = self.press("keep_more_back", {"tier": "t"}, {"tickets": tickets})
        if tier.available < tickets:
            return self.refuse(attempt, 409, "insufficient_tickets", available=tier.available)
        self.note_change(attempt, "kept_back", tier.kept_back, tickets)
        self.set_tier(kept_back=tier.kept_back + tickets, available=tier.available - tickets)
        return self.done(attempt, "t")

    def put_on_sale(self, tickets=1):
        tier = self.facts.tiers["t"]
        attempt = self.press("put_on_sale", {"tier": "t"}, {"tickets": tickets})
        if tier.kept_back < tickets:
            return self.refuse(attempt, 409, "not_kept_back")
        self.note_change(attempt, "kept_back", tier.kept_back, -tickets)
        self.set_tier(kept_back=tier.kept_back - tickets, available=tier.available + tickets)
        return self.done(attempt, "t")

    def note_change(self, attempt, what, old, more):
        press = attempt.request["press"]
        self.facts.capacity.append(CapacityChange("t", 0.0, what, old, old + more, press))

    def publish(self, concert="draft"):
        attempt = self.press("publish", {"concert": concert}, {})
        if self.facts.concerts[concert].status != "DRAFT":
            return self.refuse(attempt, 409, "published_before")
        self.facts.concerts[concert] = Concert("PUBLISHED")
        return self.answer(attempt, 302, {})

    def unpublish(self, concert="draft"):
        attempt = self.press("unpublish", {"concert": concert}, {})
        if self.facts.concerts[concert].status == "DRAFT":
            return self.refuse(attempt, 409, "not_published")
        self.facts.concerts[concert] = Concert("DRAFT")
        return self.answer(attempt, 302, {})

    def move_concert(self):
        attempt = self.press("move", {"concert": "c"}, {"drawn": self.time})
        if self.facts.concerts["c"].status == "CANCELLED":
            return self.refuse(attempt, 409, "sales_closed")
        change = len(self.facts.moves)
        self.facts.moves.append(Move("c"))
        holders = {
            self.owner(row): (pk, row.handed_to or row.user)
            for pk, row in self.facts.bookings.items()
            if row.status == "CONFIRMED"
        }
        for pk, address in holders.values():
            name = f"<moved {pk} {change}>"
            self.facts.mails.append(Mail(f"moved:{pk}:{change}", pk, "SENT", name, address))
            self.facts.letters.append(Letter(name, self.time))
        return self.done(attempt, "c")

    def hand_over(self, pk=None):
        if pk := pk or self.some_booking():
            row, heir = self.facts.bookings[pk], f"heir-{self.time}"
            attempt = self.press("hand_over", {"booking": pk}, {"email": heir})
            if row.status != "CONFIRMED":
                return self.refuse(attempt, 409, "not_confirmed")
            self.facts.bookings[pk] = replace(row, handed_to=heir)
            if not row.guest or row.kept:
                self.facts.stand_ins.append(f"instead of {pk}")
            name = f"<handed {pk}>"
            self.facts.mails.append(Mail(f"handed_over:{pk}:k", pk, "SENT", name, row.user))
            self.facts.letters.append(Letter(name, self.time))
            self.done(attempt, pk)
        return None

    def answer_for_another(self, attempt, pk):
        if attempt.client.startswith(GUEST):
            return self.answer(attempt, 303, {"bookingId": pk})
        body = self.body(pk) | {"id": f"instead of {pk}", "status": "FAILED"}
        return self.refuse(attempt, 402, "payment_declined", booking=body)

    # --- Rows ---------------------------------------------------------------------------------------------

    def write(self, pk, outcome):
        row = self.facts.bookings[pk]
        state = "declined" if outcome == "declined" else "paid"
        self.facts.payments.append(Payment(pk, state, row.total, self.time))
        if outcome == "declined":
            self.facts.bookings[pk] = replace(row, status="FAILED", payment_status="FAILED")
            return self.move(row.quantity)
        self.facts.captures.append(Capture(pk, row.total, self.time))
        self.facts.bookings[pk] = replace(row, status="CONFIRMED", payment_status="SUCCESS")
        if row.called_off:
            self.give_back(pk, row.quantity, "", "CALLED_OFF")
        return None

    def give_back(self, pk, number, key, reason=None):
        row = self.facts.bookings[pk]
        returned = row.returned + number
        ends = returned == row.quantity
        self.facts.bookings[pk] = replace(
            row, returned=returned, status="CANCELLED" if ends else "CONFIRMED"
        )
        self.facts.returns.append(Return(self.name(), pk, number, key))
        self.move(number)
        left = float(row.total) - float(row.refunded)
        amount = left if reason else min(left, float(row.total) / row.quantity * number)
        if ends:
            amount = left
        if amount:
            self.refund(pk, amount, number, reason or ("CANCELLED" if ends else "PART"))

    def refund(self, pk, amount, tickets, reason):
        made = Refund(self.name(), pk, f"{amount:.2f}", tickets, reason, "SENT")
        self.facts.refunds.append(made)
        self.facts.sent_back.append(SentBack(made.id, pk, made.amount, self.time))
        row = self.facts.bookings[pk]
        refunded = float(row.refunded) + amount
        self.facts.bookings[pk] = replace(row, refunded=f"{refunded:.2f}")

    def move(self, number):
        self.set_tier(available=self.facts.tiers["t"].available + number)

    def set_tier(self, **values):
        self.facts.tiers["t"] = replace(self.facts.tiers["t"], **values)

    def some_booking(self):
        left = [pk for pk, row in self.facts.bookings.items() if not row.handed_to]
        return self.draw.choice(left[-8:]) if left else None

    # --- Answers ------------------------------------------------------------------------------------------

    def name(self):
        return str(uuid.UUID(int=self.draw.getrandbits(128)))

    def tick(self):
        self.time += 1.0

    def begin(self, client, verb, request):
        self.tick()
        attempt = Attempt(len(self.attempts) + 1, client, verb, request, self.time)
        self.attempts.append(attempt)
        return attempt

    def answer(self, attempt, status, answer):
        self.tick()
        attempt.ended, attempt.status, attempt.answer = self.time, status, answer
        attempt.outcome = UNKNOWN if status == 202 else OK

    def refuse(self, attempt, status, code, **facts):
        self.answer(attempt, status, {"code": code, **facts})
        attempt.outcome, attempt.code = REFUSED, code

    def answer_again(self, attempt, pk):
        status = self.facts.bookings[pk].status
        at_work = any(each.error == pk for each in self.attempts)
        if status == "FAILED":
            self.refuse(attempt, 402, "payment_declined", booking=self.body(pk))
        elif status == "PENDING" and at_work:
            self.refuse(attempt, 409, "request_in_progress", bookingId=pk)
        else:
            self.answer(attempt, 202 if status == "PENDING" else 201, self.body(pk))

    def body(self, pk):
        row = self.facts.bookings[pk]
        return {
            "id": pk,
            "ticketTierId": row.tier,
            "quantity": row.quantity,
            "totalPrice": row.total,
            "status": row.status,
            "returnedQuantity": row.returned,
            "idempotencyKey": row.key,
        }

    # --- The end ------------------------------------------------------------------------------------------

    def quiet(self):
        while any(each.error for each in self.attempts):
            self.settle()
        while any(row.status == "PENDING" for row in self.facts.bookings.values()):
            self.resolve()

    def told(self, stretch=0.0, lost=0.0):
        """The history and the facts. Each request takes up to `stretch` seconds longer at both ends."""
        customers = {attempt.client: attempt.client for attempt in self.attempts}
        header = Header(self.seed, [], "", 0.0, customers=customers)
        history = History(header, deepcopy(self.attempts))
        for attempt in history.attempts:
            if self.draw.random() < lost:  # the client may have given up before anything happened
                attempt.outcome, attempt.status, attempt.code = UNKNOWN, 0, ""
                attempt.answer, attempt.error = None, "TimeoutError"
                attempt.began -= self.draw.uniform(0, stretch)
                attempt.ended = attempt.began + self.draw.uniform(0, 2 * stretch)
            else:
                attempt.began -= self.draw.uniform(0, stretch)
                attempt.ended += self.draw.uniform(0, stretch)
        facts = deepcopy(self.facts)
        facts.apps = ["tickets", "mail"]
        for pk in facts.bookings:
            print_and_mail(facts, pk)
        return history, facts


def print_and_mail(facts, pk):
    """What the site makes of a booking when all is quiet."""
    row = facts.bookings[pk]
    if row.status in {"CONFIRMED", "CANCELLED"}:
        kept = row.quantity - row.returned if row.status == "CONFIRMED" else 0
        for number in range(1, row.quantity + 1):
            facts.tickets.append(Ticket(pk, number, f"{pk} {number}", number <= kept))
        facts.mails.append(Mail(f"tickets:{pk}", pk, "SENT", f"<{pk}>"))
        facts.letters.append(Letter(f"<{pk}>", row.created_at))


STEPS = {
    Site.book: 10,
    Site.settle: 8,
    Site.book_again: 3,
    Site.resolve: 2,
    Site.cancel: 3,
    Site.return_tickets: 3,
    Site.look_up: 2,
    Site.my_bookings: 2,
    Site.keep: 1,
    Site.availability: 2,
    Site.change_price: 1,
    Site.change_capacity: 2,
    Site.keep_back: 2,
    Site.goodwill: 1,
    Site.add_tickets: 1,
    Site.keep_more_back: 1,
    Site.put_on_sale: 1,
    Site.publish: 1,
    Site.unpublish: 1,
    Site.move_concert: 1,
    Site.hand_over: 1,
}


def played(seed, steps=60, *, called_off=False, limit=None):
    """A site after so many steps, which the seed draws."""
    site = Site(seed, limit=limit)
    for step in site.draw.choices(list(STEPS), list(STEPS.values()), k=steps):
        step(site)
    if called_off:
        site.call_off()
        for step in site.draw.choices(list(STEPS), list(STEPS.values()), k=steps // 3):
            step(site)
    site.quiet()
    return site
