"""The hot API and Django give the same answer to a booking request, to the letter."""

import json
import random
import re
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.tests.factories import UserFactory
from bookings import steps
from bookings.audit import audit
from bookings.tests.api_client import URL, by_django, token_of
from concerts.models import TicketTier
from concerts.tests.factories import TicketTierFactory
from ticketbook.asgi import application
from ticketbook.tests.asgi import ask

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("our_host", "every_payment_succeeds"),
]


class World:
    """A customer and her concerts. Each way of answering has a world of its own, and both begin alike."""

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
        """Put this world's ids in the place of `<tier open>`, `<token ann>` and `<user>`."""
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
        """The text without ids and times. They differ between the worlds, but have the same length."""
        text = text.replace(self.ann.public_id, "<user>")
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", text)
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)


def requests(count, seed):
    """Booking requests: half of them valid, the others with one or two things changed."""
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


def a_limit_on_the_total(dice, fields, headers):
    fields["maxTotal"] = dice.choice(
        [
            "0",
            "9.99",
            "10",
            "10.00",
            "20.0",
            "99999999.99",
            None,
            10,
            "1e3",
            " 10.00",
            "10.001",
            "٣",
            "ü:",
        ]
    )


def the_key_as_header(dice, fields, headers):
    key = fields.pop("idempotencyKey", "x")
    headers.append(("Idempotency-Key", dice.choice([str(key), str(key).upper(), "soon", ""])))


def the_key_twice(dice, fields, headers):
    key = str(fields.get("idempotencyKey"))
    headers.append(("Idempotency-Key", dice.choice([key, key.upper(), str(uuid.UUID(int=7))])))


def a_null_key_beside_the_header(dice, fields, headers):
    headers.append(("Idempotency-Key", str(fields.get("idempotencyKey"))))
    fields["idempotencyKey"] = None


def a_repeated_key(dice, fields, headers):
    text, name = json.dumps(fields), dice.choice([*sorted(fields), "qauntity"])
    again = f"{json.dumps(name)}: {json.dumps(dice.choice(STRANGE))}"
    return dice.choice([f"{{{again}, {text[1:]}", f"{text[:-1]}, {again}}}"])


def a_byte_order_mark(dice, fields, headers):
    return "\ufeff" + json.dumps(fields)


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
    a_strange_value, a_field_is_missing, a_field_too_many, her_own_id, anothers_id, a_limit_on_the_total,
    the_key_as_header, the_key_twice, a_null_key_beside_the_header, a_repeated_key, a_byte_order_mark,
    capitals, another_token, no_token, two_tokens, another_host, another_type, no_json, a_long_body,
]  # fmt: skip


@pytest.mark.timeout(300)
@pytest.mark.parametrize("lanes", [True, False], ids=["in batches", "in batches of one"])
def test_five_hundred_requests_get_the_same_answer_both_ways(lanes, settings, hot, monkeypatch):
    settings.BOOKING_LANES = lanes
    # One refusal a second looks for expired holds. That could be in one world and not in the other.
    monkeypatch.setattr(steps, "resolve_expired", lambda **only: [])
    worlds = [World(application), World(by_django)]
    statuses = Counter()
    for number, wanted in enumerate(requests(500, seed=7 + lanes)):
        ours, djangos = (world.send(wanted) for world in worlds)
        assert ours == djangos, (number, wanted)
        statuses[ours[0]] += 1
    assert set(statuses) >= {201, 400, 401, 404, 409, 413, 422}
    assert hot[True] > 200  # the hot API really answered many of them itself
    assert hot[False] > 50
    left = [
        {
            name: TicketTier.objects.get(pk=tier.pk).available_quantity
            for name, tier in world.tiers.items()
        }
        for world in worlds
    ]
    assert left[0] == left[1]
    assert audit() == []
