"""How Stripe counts money: https://docs.stripe.com/currencies."""

from decimal import Decimal

from ticketbook.currencies import DECIMALS

# Where Stripe differs from ISO 4217. It counts these in hundredths, and still only whole amounts can be paid.
COUNTED_IN_HUNDREDTHS = {"ISK", "UGX"}
# Stripe takes no fraction of these.
COUNTED_WHOLE = {"MGA"}


def to_units(amount: Decimal, currency: str) -> int:
    """The amount in the units in which Stripe counts. Raises ValueError if it cannot be paid exactly."""
    # TicketBook stores two decimals, even if the currency has three.
    if amount % Decimal(1).scaleb(-min(_decimals(currency), 2)):
        raise ValueError(f"Stripe moves no such fraction as in {amount} {currency}.")
    return int(amount * _scale(currency))


def in_words(units: int, currency: str) -> str:
    """Such as 25.00 USD. Stripe writes currencies in lower case."""
    currency = currency.upper()
    return f"{Decimal(units) / _scale(currency):.{_decimals(currency)}f} {currency}"


def _scale(currency: str) -> int:
    decimals = 2 if currency in COUNTED_IN_HUNDREDTHS else _decimals(currency)
    return int(10**decimals)


def _decimals(currency: str) -> int:
    return 0 if currency in COUNTED_WHOLE else DECIMALS.get(currency, 2)
