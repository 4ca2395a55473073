"""docs/tickets.md is true: its vectors verify, or are refused for the reason that it gives."""

from uuid import UUID

import pytest

from tickets import qr, tokens
from tickets.tests.vectors import DOCUMENT, SECRETS, VECTORS
from tickets.tokens import BadToken, Claims, Reason


@pytest.fixture(autouse=True)
def keys_of_the_document(settings):
    settings.TICKET_KEYS = SECRETS


def test_the_keys_are_those_of_the_document():
    assert {key.id.hex(): key.public_bytes.hex() for key in tokens.our_keys()} == VECTORS["keys"]


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["tier"])
def test_a_valid_vector_says_what_the_document_says(vector, settings):
    ticket, concert = UUID(vector["ticket"]), UUID(vector["concert"])
    tier, number = vector["tier"], vector["number"]
    claims = Claims(ticket, concert, tier, number, vector["key"])
    assert tokens.verify(vector["token"]) == claims
    settings.TICKET_KEYS = [s for s in SECRETS if tokens.Key(s).id.hex() == vector["key"]]
    signed = tokens.sign(ticket=ticket, concert=concert, tier_type=tier, number=number)
    assert signed == vector["token"]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["why"])
def test_an_invalid_vector_is_refused_for_its_reason(vector):
    with pytest.raises(BadToken) as bad:
        tokens.verify(vector["token"])
    assert bad.value.reason == vector["reason"]


def test_the_vectors_have_every_tier_and_every_reason():
    assert {vector["tier"] for vector in VECTORS["valid"]} == set(tokens.TIERS)
    assert {vector["key"] for vector in VECTORS["valid"]} == set(VECTORS["keys"])
    assert {vector["reason"] for vector in VECTORS["invalid"]} == set(Reason)


def test_the_document_has_the_domain_and_the_size_of_the_code():
    assert tokens.DOMAIN.hex(" ") in DOCUMENT
    code = qr.code(VECTORS["valid"][0]["token"])
    assert f"version {code.version}: {len(code.matrix)} × {len(code.matrix)} modules" in DOCUMENT
