"""How Stripe counts money: https://docs.stripe.com/currencies."""

from decimal import Decimal

# fmt: off
COUNTED_WHOLE = {
    "BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF",
}
# fmt: on
COUNTED_IN_THOUSANDTHS = {"BHD", "JOD", "KWD", "OMR", "TND"}
# ISK and UGX are counted in hundredths as most others are, and still only whole amounts can be paid.
WITHOUT_FRACTIONS = COUNTED_WHOLE | {"ISK", "UGX"}


def to_units(amount: Decimal, currency: str) -> int:
    """The amount in the units in which Stripe counts. Raises ValueError if it cannot be paid exactly."""
    if amount % (1 if currency in WITHOUT_FRACTIONS else Decimal("0.01")):
        raise ValueError(f"Stripe moves no such fraction as in {amount} {currency}.")
    return int(amount * _scale(currency))


def in_words(units: int, currency: str) -> str:
    """Such as 25.00 USD. Stripe writes currencies in lower case."""
    currency = currency.upper()
    digits = 0 if currency in WITHOUT_FRACTIONS else 2
    return f"{Decimal(units) / _scale(currency):.{digits}f} {currency}"


def _scale(currency: str) -> int:
    if currency in COUNTED_WHOLE:
        return 1
    return 1000 if currency in COUNTED_IN_THOUSANDTHS else 100
