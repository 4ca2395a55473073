"""Two doors for one request: the event loop's and Django's say the same, to the letter."""

import asyncio
import json
import random
import re
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from django.utils import timezone
from knox.models import AuthToken

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings import holding, hot_api, steps
from bookings.audit import audit
from bookings.cancelling import cancel
from bookings.models import Booking
from bookings.payments import Outcome
from bookings.settling import settle
from bookings.tests.jam import Jam, until
from bookings.tests.wishing import hold, wish
from concerts import stock
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory
from ticketbook import event_loop
from ticketbook.asgi import application
from ticketbook.front.front import Front
from ticketbook.tests.asgi import Exchange, ask, nothing, only_django, scope_of

pytestmark = pytest.mark.django_db(transaction=True)

URL = "/api/v1/bookings"


behind = only_django()


@pytest.fixture(autouse=True)
def _our_host(settings):
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.PAYMENT_SUCCESS_RATE = 1


@pytest.fixture
def hot(monkeypatch):
    """How many requests the hot door has answered itself."""
    answered = Counter()
    real = hot_api.book

    async def count(*args):
        answer = await real(*args)
        answered[answer is not None] += 1
        return answer

    monkeypatch.setitem(application.endpoints, ("POST", URL), count)
    return answered


def token_of(user):
    return AuthToken.objects.create(user)[1]


class World:
    """One customer and her concerts, as one of the two doors sees them."""

    def __init__(self, front):
        self.front = front
        self.ann, self.gone = UserFactory(), UserFactory(is_active=False)
        self.tiers = {
            "open": TicketTierFactory(total_quantity=100_000),
            "few": TicketTierFactory(total_quantity=7),
            "limited": TicketTierFactory(max_per_customer=2),
            "later": TicketTierFactory(concert__sales_open_at=timezone.now() + timedelta(hours=1)),
            "draft": TicketTierFactory(concert__status="DRAFT"),
            "free": TicketTierFactory(price="0.00"),
        }
        self.tokens = {"ann": token_of(self.ann), "gone": token_of(self.gone)}

    def fill(self, text):
        """The same request in this world: `<tier open>`, `<user>`, `<token ann>`."""
        for name, tier in self.tiers.items():
            text = text.replace(f"<tier {name}>", str(tier.pk))
        for name, token in self.tokens.items():
            text = text.replace(f"<token {name}>", token)
        return text.replace("<user>", self.ann.public_id)

    def send(self, wanted):
        headers = [(name, self.fill(value)) for name, value in wanted["headers"]]
        body = self.fill(wanted["body"]).encode("utf-8", "surrogatepass")
        chunks = [body[:20], body[20:]] if wanted["in_pieces"] else [body]
        answer = ask(self.front, wanted["method"], URL, *chunks, headers=headers)
        return answer.status_code, self.plain(answer.headers), self.plain_body(answer)

    def plain(self, headers):
        return {name: self.unnamed(value) for name, value in headers.items()}

    def plain_body(self, answer):
        return self.unnamed(answer.content.decode())

    def unnamed(self, text):
        """Without what differs from world to world: ids and times, of the same length."""
        text = text.replace(self.ann.public_id, "<user>")
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", text)
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)


def requests(count, seed):
    """Mostly valid, with one or two things changed."""
    dice = random.Random(seed)
    keys = [str(uuid.UUID(int=dice.getrandbits(128), version=4)) for _ in range(count // 4)]
    for _ in range(count):
        yield request(dice, keys)


STRANGE = ["", "x", None, True, 0, -1, 1.0, 2.5, 10**30, [], {}, "2", " ", "\x00", "ü", "\ud800"]


def request(dice, keys):
    fields = {
        "ticketTierId": f"<tier {dice.choice(['open'] * 6 + ['few', 'limited', 'later', 'draft', 'free'])}>",
        "quantity": dice.choice([1, 1, 1, 2, 3, 10]),
        "idempotencyKey": dice.choice(keys),
    }
    headers = [("Authorization", "Token <token ann>"), ("Content-Type", "application/json")]
    wanted = {"method": "POST", "in_pieces": dice.random() < 0.1}
    text = None
    for change in dice.sample(CHANGES, k=dice.choice([0, 0, 0, 1, 1, 2])):
        text = change(dice, fields, headers) or text
    if text is None:
        text = json.dumps(fields, ensure_ascii=dice.random() < 0.5, indent=dice.choice([None, 1]))
    return wanted | {"headers": headers, "body": text}


def a_strange_value(dice, fields, headers):
    fields[dice.choice(sorted(fields))] = dice.choice(STRANGE)


def a_field_is_missing(dice, fields, headers):
    del fields[dice.choice(sorted(fields))]


def a_field_too_many(dice, fields, headers):
    fields[dice.choice(["qauntity", "price", "userId ", ""])] = 1


def her_own_id(dice, fields, headers):
    fields["userId"] = "<user>"


def anothers_id(dice, fields, headers):
    fields["userId"] = dice.choice(["user_x", None, 5, "", "<USER>"])


def the_key_as_header(dice, fields, headers):
    key = fields.pop("idempotencyKey", "x")
    headers.append(("Idempotency-Key", dice.choice([str(key), str(key).upper(), "soon", ""])))


def the_key_twice(dice, fields, headers):
    key = str(fields.get("idempotencyKey"))
    headers.append(("Idempotency-Key", dice.choice([key, key.upper(), str(uuid.UUID(int=7))])))


def capitals(dice, fields, headers):
    fields["ticketTierId"] = str(fields.get("ticketTierId")).replace("-", dice.choice(["-", ""]))
    fields["idempotencyKey"] = str(fields.get("idempotencyKey")).upper()


def another_token(dice, fields, headers):
    headers[0] = (
        "Authorization",
        dice.choice(
            ["", "Token", "Token x", "Token <token gone>", "token <token ann>", "Bearer <token ann>",
             "Token  <token ann> ", "Token " + "0" * 64, "Token ü", "Token a b", "Basic YTpi"]
        ),
    )  # fmt: skip


def no_token(dice, fields, headers):
    del headers[0]


def two_tokens(dice, fields, headers):
    headers.append(("Authorization", "Token x"))


def another_host(dice, fields, headers):
    headers.append(("Host", "evil.example"))


def another_type(dice, fields, headers):
    headers[-1] = (
        "Content-Type",
        dice.choice(["text/plain", "", "multipart/form-data; boundary=x"]),
    )


def no_json(dice, fields, headers):
    return dice.choice(["", "{", "[]", "null", '"x"', "{}", "\ufeff{}", "[" * 2000, '{"quantity": NaN}',
                        '{"quantity": 1, "quantity": 2}', "x" * 20_000])  # fmt: skip


def a_long_body(dice, fields, headers):
    return json.dumps(fields) + " " * dice.choice([100, 16_000, 17_000])


CHANGES = [
    a_strange_value, a_field_is_missing, a_field_too_many, her_own_id, anothers_id, the_key_as_header,
    the_key_twice, capitals, another_token, no_token, two_tokens, another_host, another_type, no_json,
    a_long_body,
]  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize("lanes", [True, False], ids=["in batches", "in batches of one"])
def test_a_thousand_requests_get_the_same_answer_at_both_doors(lanes, settings, hot, monkeypatch):
    settings.BOOKING_LANES = lanes
    # Otherwise a refusal looks for expired holds in one world and not in the other.
    monkeypatch.setattr(steps, "resolve_expired", lambda **only: [])
    worlds = [World(application), World(behind)]
    statuses = Counter()
    for number, wanted in enumerate(requests(1000, seed=7 + lanes)):
        ours, djangos = (world.send(wanted) for world in worlds)
        assert ours == djangos, (number, wanted)
        statuses[ours[0]] += 1
    assert set(statuses) >= {201, 400, 401, 404, 409, 413, 422}
    assert hot[True] > 400  # it was really the hot door that answered
    assert hot[False] > 100
    left = [
        {
            name: TicketTier.objects.get(pk=tier.pk).available_quantity
            for name, tier in world.tiers.items()
        }
        for world in worlds
    ]
    assert left[0] == left[1]
    assert audit() == []


# --- What the hot door leaves to Django, or answers itself ------------------------------------------------


def book_at(front, tier, token, quantity=1, key=None, headers=(), **more):
    body = {
        "ticketTierId": str(tier.pk),
        "quantity": quantity,
        "idempotencyKey": str(key or uuid.uuid4()),
    }
    headers = [("Authorization", f"Token {token}"), *headers]
    return ask(front, "POST", URL, json.dumps(body).encode(), headers=headers, **more)


def test_a_plain_booking_needs_no_thread(hot, ann, tier):
    answer = book_at(application, tier, token_of(ann))
    assert answer.status_code == 201
    assert hot == {True: 1}


def test_plain_http_is_redirected_where_tls_is_asked_for(hot, ann, tier, settings):
    token = token_of(ann)
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 3600
    django_with_tls = Front(
        fresh_django(),
        threads=2,
        endpoints=application.endpoints,
        copies=lambda scope: None,
        end=nothing,
    )
    assert book_at(django_with_tls, tier, token).status_code == 301
    assert hot == {False: 1}
    secure = [("X-Forwarded-Proto", "https")]
    answer = book_at(django_with_tls, tier, token, headers=secure)
    assert answer.status_code == 201
    assert answer["Strict-Transport-Security"] == "max-age=3600"
    assert hot == {False: 1, True: 1}


def fresh_django():
    """Its middleware reads the settings once."""
    return get_wsgi_application()


def test_a_bug_of_ours_is_worded_as_django_words_it(hot, ann, tier, monkeypatch):
    monkeypatch.setattr(holding, "refusal_of", lambda *facts: 1 / 0)
    token = token_of(ann)
    ours, djangos = (book_at(front, tier, token) for front in (application, behind))
    assert ours.status_code == djangos.status_code == 500
    assert ours.json() == djangos.json()
    assert ours.json()["code"] == "server_error"


def test_a_row_that_somebody_locks_is_busy_at_both_doors(hot, ann, tier, impatient):
    impatient("100ms")
    token = token_of(ann)
    with transaction.atomic():
        User.objects.select_for_update().get(pk=ann.pk)
        answers = [book_at(front, tier, token) for front in (application, behind)]
    assert [answer.status_code for answer in answers] == [503, 503]
    assert answers[0].json() == answers[1].json()
    assert answers[0]["Retry-After"] == answers[1]["Retry-After"] == "1"


def test_a_dead_token_is_refused_from_the_next_look_up_on(hot, ann, tier):
    token = token_of(ann)
    assert book_at(application, tier, token).status_code == 201
    AuthToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert book_at(application, tier, token).status_code == 401
    AuthToken.objects.update(expiry=None)
    ann.is_active = False
    ann.save()
    assert book_at(application, tier, token).json()["detail"] == "User inactive or deleted."
    ann.is_active = True
    ann.save()
    AuthToken.objects.all().delete()
    assert book_at(application, tier, token).status_code == 401
    assert Booking.objects.count() == 1


def test_rubbish_takes_no_lock(hot, tier, batches):
    """Nor a thread, whatever its body."""
    for body in (b"{", json.dumps({"ticketTierId": str(tier.pk), "quantity": 1}).encode()):
        headers = [("Authorization", f"Token {uuid.uuid4().hex * 2}")]
        answer = ask(application, "POST", URL, body, headers=headers)
        assert (answer.status_code, answer["Www-Authenticate"]) == (401, "Token")
    assert hot == {True: 2}
    assert batches == []


def test_hosts_that_anybody_makes_up_take_no_room(hot):
    for number in range(300):
        ask(application, "POST", URL, b"{}", headers=[("Host", f"{number}.example")])
    assert hot_api.is_our_host.cache_info().currsize <= 100
    assert not hot_api.is_our_host("testserver" + "x" * 1000, ("*",))


def test_a_silent_gateway_keeps_few_who_are_refused_waiting(settings, hot, monkeypatch):
    """Every tier has an expired hold in the way; the gateway is asked about four of them at a time."""
    settings.PAYMENT_LATENCY_MS, settings.PAYMENT_OUTAGE = 1000, True
    tiers, bob = [TicketTierFactory(total_quantity=1) for _ in range(12)], UserFactory()
    long_ago = timezone.now() - timedelta(minutes=2)
    for tier in tiers:
        hold(wish(UserFactory(), tier, now=long_ago))
    token = token_of(bob)
    start = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda tier: book_at(application, tier, token), tiers))
    assert {answer.json()["code"] for answer in answers} == {"insufficient_tickets"}
    assert time.monotonic() - start < 2.5  # one after the other, four at a time, would take three


# --- Early refusals ---------------------------------------------------------------------------


@pytest.fixture
def sold_out(ann, bob, monkeypatch):
    """A tier whose last ticket Ann has bought, and Bob's token."""
    monkeypatch.setattr(stock, "SNAPSHOT_SECONDS", 60)
    tier, token = TicketTierFactory(total_quantity=1), token_of(bob)
    assert book_at(application, tier, token_of(ann)).status_code == 201
    assert book_at(application, tier, token).status_code == 409  # this one sees it under the lock
    return tier, token


def test_those_who_follow_a_refusal_take_no_lock(sold_out, batches):
    tier, token = sold_out
    answers = [book_at(application, tier, token) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {409}
    assert answers[0].json()["availableQuantity"] == 0
    assert batches == []


def test_a_replay_and_a_dead_token_are_known_all_the_same(sold_out, ann, batches):
    tier, _ = sold_out
    booking = Booking.objects.get()
    again = book_at(application, tier, token_of(ann), key=booking.idempotency_key)
    assert (again.status_code, again["Idempotent-Replayed"]) == (201, "true")
    assert book_at(application, tier, "0" * 64).status_code == 401
    assert batches == []


def test_a_sight_ends_by_itself(sold_out, batches, monkeypatch):
    tier, token = sold_out
    now = stock.monotonic()
    monkeypatch.setattr(stock, "monotonic", lambda: now + 61)
    assert book_at(application, tier, token).status_code == 409
    assert batches == [(1, 0)]


def test_it_lasts_a_tenth_of_a_second():
    assert stock.SNAPSHOT_SECONDS == 0.1


@pytest.mark.parametrize("how", ["cancelled", "declined", "more capacity"])
def test_a_give_back_of_this_process_ends_it_at_once(sold_out, how, settings):
    tier, token = sold_out
    booking = Booking.objects.get()
    if how == "cancelled":
        cancel(booking, now=timezone.now())
    elif how == "declined":
        Booking.objects.update(status="PENDING", payment_status="PENDING")
        settle(booking, Outcome.DECLINED, now=timezone.now())
    else:
        stock.change_capacity(
            tier_id=tier.pk, total=2, by=UserFactory(is_staff=True), reason="", now=timezone.now()
        )
    assert book_at(application, tier, token).status_code == 201


def test_a_sale_that_opens_by_the_clock_is_open_at_once(ann, monkeypatch):
    """What is remembered is the concert, not the refusal."""
    monkeypatch.setattr(stock, "SNAPSHOT_SECONDS", 60)
    opens = timezone.now() + timedelta(seconds=1.5)
    tier, token = TicketTierFactory(concert__sales_open_at=opens), token_of(ann)
    assert book_at(application, tier, token).json()["code"] == "sales_closed"
    while timezone.now() < opens:
        pass
    assert book_at(application, tier, token).status_code == 201


def test_control_without_forgetting_the_returned_ticket_stays_hidden(sold_out, monkeypatch):
    tier, token = sold_out
    monkeypatch.setattr(stock, "forget_snapshot", lambda tier_id: None)
    cancel(Booking.objects.get(), now=timezone.now())
    assert book_at(application, tier, token).status_code == 409


# --- A client that goes away --------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before the batch", "during it", "after it"])
def test_a_booking_whose_client_is_gone_ends_settled(ann, tier, monkeypatch, moment):
    """The task of its connection is cancelled, as gunicorn does it."""
    token = token_of(ann)
    jam = Jam(tier) if moment == "during it" else None
    body = {"ticketTierId": str(tier.pk), "quantity": 1, "idempotencyKey": str(uuid.uuid4())}
    headers = [("Host", "testserver"), ("Authorization", f"Token {token}")]
    exchange = Exchange(scope_of("POST", URL, headers), json.dumps(body).encode())

    async def start():
        task = asyncio.create_task(exchange.run(application))
        if moment == "before the batch":
            await asyncio.sleep(0)
        return task

    def step(reached):
        real = steps.InLanes.charge

        async def charge(self, booking):
            reached.append(booking)
            await asyncio.sleep(0.2)
            return await real(self, booking)

        monkeypatch.setattr(steps.InLanes, "charge", charge)

    reached = []
    step(reached)
    task = event_loop.run(start())
    if moment == "during it":
        until(lambda: len(jam.queue) == 1)
    elif moment == "after it":
        until(lambda: reached)
    event_loop.event_loop().call_soon_threadsafe(task.cancel)
    until(task.done)
    if jam:
        jam.clear()
    until(lambda: not application.tasks)
    statuses = set(Booking.objects.filter(user=ann).values_list("status", flat=True))
    assert statuses == {"CONFIRMED"}
    assert exchange.messages == []
    assert audit() == []
