"""Tokens: ours verify, in one spelling only, and nothing else does."""

import random
import re
import string
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from statistics import median
from uuid import uuid4

import pytest

from concerts.models import TicketTier
from tickets import tokens
from tickets.tokens import BadToken, Claims, Reason

OURS, OLD, FOREIGN = (bytes([byte]) * 32 for byte in (1, 2, 3))
FORGER = tokens.Key(FOREIGN)
CLAIMS, SIGNATURE = slice(38), slice(38, None)  # of a token's bytes
ORDER = 2**252 + 27742317777372353535851937790883648493  # of the curve's group
ALPHABET = string.ascii_letters + string.digits + "-_"


@pytest.fixture(autouse=True)
def our_keys(settings):
    settings.TICKET_KEYS = [OURS, OLD]


def token(**changes):
    claims = {"ticket": uuid4(), "concert": uuid4(), "tier_type": "GA", "number": 1}
    return tokens.sign(**claims | changes)


def spelt(data):
    return urlsafe_b64encode(data).decode()


def refused(text):
    """Why a token is refused; None if it verifies."""
    try:
        tokens.verify(text)
    except BadToken as bad:
        return bad.reason
    return None


def signed_by(secret, claims):
    return spelt(claims + tokens.Key(secret).sign(claims))


@pytest.mark.parametrize("tier", TicketTier.Type.values)
@pytest.mark.parametrize("number", [1, 10, 255])
def test_a_token_says_what_was_signed(tier, number):
    ticket, concert = uuid4(), uuid4()
    text = tokens.sign(ticket=ticket, concert=concert, tier_type=tier, number=number)
    assert len(text) == 136
    assert tokens.verify(text) == Claims(ticket, concert, tier, number, tokens.Key(OURS).id.hex())


def test_a_ticket_has_the_same_token_each_time():
    one = {"ticket": uuid4(), "concert": uuid4(), "tier_type": "VIP", "number": 2}
    assert tokens.sign(**one) == tokens.sign(**one)


@pytest.mark.parametrize("number", [0, -1, 256])
def test_a_number_beyond_a_byte_is_not_signed(number):
    with pytest.raises(ValueError, match="from 1 to 255"):
        token(number=number)


def test_every_single_bit_counts():
    data = urlsafe_b64decode(token())
    for bit in range(len(data) * 8):
        altered = bytearray(data)
        altered[bit // 8] ^= 1 << bit % 8
        assert refused(spelt(altered)), bit


def test_every_single_character_counts():
    text = token()
    other = dict(zip(ALPHABET, ALPHABET[1:] + ALPHABET[:1], strict=True))
    for place, sign in enumerate(text):
        assert refused(text[:place] + other[sign] + text[place + 1 :]), place
        assert refused(text[:place] + text[place + 1 :]) == Reason.MALFORMED
        assert refused(text[:place] + sign + text[place:]) == Reason.MALFORMED


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text[:100],
        lambda text: text + "A",
        lambda text: text + "=",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text * 1000,
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "\u0661",  # a digit of another script
        lambda text: text[:-1] + "\0",
        lambda text: text[:-1] + "\ud800",
        lambda text: text[:-1] + "+",
        lambda text: text[:-1] + "/",
        lambda text: text[:4] + "\n" + text[5:],
        lambda text: text.encode(),
        lambda text: None,
        lambda text: 7,
    ],
)
def test_what_is_no_token_is_malformed(spoil):
    assert refused(spoil(token())) == Reason.MALFORMED


def test_another_case_is_another_token():
    assert refused(token().swapcase())


def test_a_signature_has_one_form():
    """S + L signs the same by arithmetic. It must not be a second token of the ticket."""
    data = urlsafe_b64decode(token())
    s = int.from_bytes(data[-32:], "little") + ORDER
    assert refused(spelt(data[:-32] + s.to_bytes(32, "little"))) == Reason.SIGNATURE


def test_a_signature_over_the_bare_claims_is_no_ticket():
    claims = urlsafe_b64decode(token())[:-64]
    key = tokens.Key(OURS)
    assert refused(spelt(claims + key._private.sign(claims))) == Reason.SIGNATURE


def test_a_key_verifies_as_long_as_it_is_listed(settings):
    settings.TICKET_KEYS = [OLD]
    text = token()
    settings.TICKET_KEYS = [OURS, OLD]
    assert tokens.verify(text).key_id == tokens.Key(OLD).id.hex()
    assert tokens.verify(token()).key_id == tokens.Key(OURS).id.hex()
    settings.TICKET_KEYS = [OURS]
    assert refused(text) == Reason.KEY


def test_a_foreign_key_is_refused_also_under_our_key_id():
    claims = urlsafe_b64decode(token())[:-64]
    foreign = claims[:1] + tokens.Key(FOREIGN).id + claims[4:]
    assert refused(signed_by(FOREIGN, foreign)) == Reason.KEY
    assert refused(signed_by(FOREIGN, claims)) == Reason.SIGNATURE
    assert refused(signed_by(OLD, claims)) == Reason.SIGNATURE


def test_what_we_would_never_sign_is_refused_even_if_signed():
    claims = urlsafe_b64decode(token())[:-64]
    assert refused(signed_by(OURS, claims)) is None
    assert refused(signed_by(OURS, b"\2" + claims[1:])) == Reason.VERSION
    assert refused(signed_by(OURS, claims[:-2] + b"\4\1")) == Reason.MALFORMED
    assert refused(signed_by(OURS, claims[:-2] + b"\3\0")) == Reason.MALFORMED


def test_every_reason_is_a_sentence():
    for reason in Reason:
        assert re.fullmatch(r"This .+\.", str(BadToken(reason)))


def forged(dice, texts):
    """A token under one of our key ids, by all means that a forger has without our keys."""
    claims, signature = (
        bytearray(urlsafe_b64decode(dice.choice(texts))[part]) for part in (CLAIMS, SIGNATURE)
    )
    other = urlsafe_b64decode(dice.choice(texts))[SIGNATURE]
    match dice.randrange(6):
        case 0:  # another ticket, concert, tier or number
            claims[dice.randrange(4, 38)] = dice.randrange(256)
        case 1:  # some bits of the signature
            for _ in range(dice.randint(1, 3)):
                signature[dice.randrange(64)] ^= 1 << dice.randrange(8)
        case 2:  # the signature of another ticket, or half of it
            half = dice.choice((0, 32))
            signature[half:] = other[half:]
        case 3:
            signature = dice.randbytes(64)
        case 4:
            signature = FORGER.sign(bytes(claims))
        case 5:  # our other key id
            claims[1:4] = tokens.Key(OLD).id
    return spelt(claims + signature)


# A token that is cut, too long, of another alphabet, version or key, or nothing of ours at all.
MANGLED = [
    lambda dice, text, place: text[:place],
    lambda dice, text, place: text[place + 1 :],
    lambda dice, text, place: text[:place] + dice.choice(ALPHABET) + text[place:],
    lambda dice, text, place: text[:place] + dice.choice("+/= é\n\0\u0661") + text[place + 1 :],
    lambda dice, text, place: dice.choice("BCDEFGH") + text[1:],
    lambda dice, text, place: text[:3] + dice.choice(ALPHABET) + text[4:],
    lambda dice, text, place: spelt(b"\1" + dice.randbytes(101)),
    lambda dice, text, place: spelt(dice.randbytes(102)),
]


def mangled(dice, texts):
    return dice.choice(MANGLED)(dice, dice.choice(texts), dice.randrange(136))


def test_no_forged_or_altered_token_verifies():
    dice = random.Random(12)
    texts = [token(number=number) for number in range(1, 201)]
    ours = set(texts)
    reasons = Counter()
    while reasons.total() < 100_000:
        attempt = (forged if dice.random() < 0.24 else mangled)(dice, texts)
        if attempt not in ours:  # a change by chance may be none
            reasons[refused(attempt)] += 1
    assert reasons[None] == 0
    assert reasons[Reason.SIGNATURE] > 20_000
    assert all(reasons[reason] > 1000 for reason in Reason)
    assert all(map(tokens.verify, texts))


def test_verifying_takes_less_than_five_milliseconds():
    texts = [token() for _ in range(200)]
    taken = []
    for text in texts:
        began = time.perf_counter()
        tokens.verify(text)
        taken.append(time.perf_counter() - began)
    assert median(taken) < 0.005
