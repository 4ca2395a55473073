"""The signed token in a ticket's QR code. docs/tickets.md specifies it for writers of scanners.

A token proves that we made the ticket. Whether the ticket is still valid, and was not used before, only the
ticket's row can say.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

VERSION = 1
# Signed before the claims, so that no signature of ours over anything else makes a ticket.
DOMAIN = b"TicketBook ticket\x00"
TIERS = {"VIP": 1, "FRONT_ROW": 2, "GA": 3}
TIER_OF_BYTE = {byte: tier for tier, byte in TIERS.items()}
MOST = 255  # the highest number of a ticket

# Version, key id, ticket, concert, tier, number; then the signature of 64 bytes. The 102 bytes are 136 signs
# of base64url with no bit left over, so each token has one spelling.
CLAIMS = Struct(">B3s16s16sBB")
SPELLING = re.compile(r"[A-Za-z0-9_-]{136}")


class Reason(StrEnum):
    MALFORMED = "malformed"  # no text of the right length and alphabet, or its claims mean nothing
    VERSION = "unknown_version"
    KEY = "unknown_key"  # a foreign key, or one that is no longer listed
    SIGNATURE = "bad_signature"  # forged or altered


SENTENCES = {
    Reason.MALFORMED: "This is not the code of a ticket.",
    Reason.VERSION: "This code is of a version that is not known here.",
    Reason.KEY: "This code was signed by a key that is not, or no longer, known here.",
    Reason.SIGNATURE: "This code is forged or damaged: its signature is wrong.",
}


class BadToken(Exception):
    """The token is not one of ours. `reason` says why, for machines."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(SENTENCES[reason])
        self.reason = reason


@dataclass(frozen=True)
class Claims:
    ticket: UUID
    concert: UUID
    tier_type: str
    number: int  # of the ticket within its booking, from 1
    key_id: str  # six hexadecimal digits


class Key:
    """A key that signs, made of its secret of 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = self._private.public_key()
        self.public_bytes = self.public.public_bytes_raw()
        self.id = sha256(self.public_bytes).digest()[:3]

    def sign(self, claims: bytes) -> bytes:
        return self._private.sign(DOMAIN + claims)


@lru_cache(maxsize=8)
def _keys(secrets: tuple[bytes, ...]) -> tuple[Key, ...]:
    return tuple(map(Key, secrets))


def our_keys() -> tuple[Key, ...]:
    """The keys of TICKET_KEYS. The first signs; all of them verify."""
    return _keys(tuple(settings.TICKET_KEYS))


def sign(*, ticket: UUID, concert: UUID, tier_type: str, number: int) -> str:
    """The token of a ticket, 136 characters. Equal claims have equal tokens as long as the key stays."""
    if not 1 <= number <= MOST:
        raise ValueError(f"A ticket has a number from 1 to {MOST}, not {number}.")
    key = our_keys()[0]
    claims = CLAIMS.pack(VERSION, key.id, ticket.bytes, concert.bytes, TIERS[tier_type], number)
    return urlsafe_b64encode(claims + key.sign(claims)).decode()


def verify(token: str) -> Claims:
    """What the token says about its ticket, if one of our keys has signed it; otherwise BadToken."""
    # Python's decoder skips what is not of its alphabet, so the spelling is checked first.
    if not isinstance(token, str) or not SPELLING.fullmatch(token):
        raise BadToken(Reason.MALFORMED)
    data = urlsafe_b64decode(token)
    claims, signature = data[: CLAIMS.size], data[CLAIMS.size :]
    version, key_id, ticket, concert, tier, number = CLAIMS.unpack(claims)
    if version != VERSION:
        raise BadToken(Reason.VERSION)
    _check(key_id, signature, claims)
    if tier not in TIER_OF_BYTE or not number:
        raise BadToken(Reason.MALFORMED)
    return Claims(UUID(bytes=ticket), UUID(bytes=concert), TIER_OF_BYTE[tier], number, key_id.hex())


def _check(key_id: bytes, signature: bytes, claims: bytes) -> None:
    try:
        public: Ed25519PublicKey = next(key.public for key in our_keys() if key.id == key_id)
        public.verify(signature, DOMAIN + claims)
    except StopIteration:
        raise BadToken(Reason.KEY) from None
    except InvalidSignature:
        raise BadToken(Reason.SIGNATURE) from None
