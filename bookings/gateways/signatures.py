"""The signature of a webhook: it says who sent the body, and when.

A header value is `t=<unix seconds>,v1=<hex HMAC-SHA256 of b"<t>." + body>`.
"""

import hashlib
import hmac
import re

from bookings.gateways.base import BadEvent

HEADER = "X-Payment-Signature"
TOLERANCE = 300  # seconds; how old a signature may be, and how far our clock may be behind


def sign(secret: bytes | str, body: bytes, at: int) -> str:
    return f"t={at},v1={_digest(secret, body, str(at))}"


def verify(
    secret: bytes | str, header: str | None, body: bytes, now: float, tolerance: float = TOLERANCE
) -> None:
    """Raises BadEvent unless somebody with the secret signed this body at most `tolerance` seconds ago."""
    parts = re.fullmatch(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", header or "")
    if parts is None:
        raise BadEvent("The signature is missing or garbled.")
    at, signature = parts.groups()
    if not hmac.compare_digest(signature, _digest(secret, body, at)):
        raise BadEvent("The signature does not fit the body.")
    # Without this, whoever has recorded an event could send it again for ever.
    if abs(now - int(at)) > tolerance:
        raise BadEvent("The signature is too old, or from the future.")


def _digest(secret: bytes | str, body: bytes, at: str) -> str:
    key = secret.encode() if isinstance(secret, str) else secret
    return hmac.new(key, at.encode() + b"." + body, hashlib.sha256).hexdigest()
