"""Amounts of money, which are in the site's currency and have as many decimals as that has."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models

from ticketbook.currencies import DECIMALS


def decimals() -> int:
    """How many decimals an amount in CURRENCY has: 2, or 0."""
    return DECIMALS[settings.CURRENCY]


def is_exact(amount: Decimal) -> bool:
    """Whether somebody can pay this amount: there is no half yen."""
    return not amount % Decimal(1).scaleb(-decimals())


def plain(amount: Decimal) -> str:
    """An amount as the API writes it: 1250.00, or 1250 in yen. An amount is never rounded."""
    if (
        decimals() == 2 and (text := str(amount))[-3:-2] == "."
    ):  # as its column gives it; the quick way
        return text
    digits = decimals() if is_exact(amount) else 2  # from before CURRENCY was changed
    return f"{amount:.{digits}f}"


if TYPE_CHECKING:
    DecimalField = models.DecimalField[Decimal | int | str, Decimal]
else:
    DecimalField = models.DecimalField


class MoneyField(DecimalField):
    """A column numeric(10,2). Forms take, and the admin shows, only the decimals of CURRENCY."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options | {"max_digits": 10, "decimal_places": 2})

    @property
    def decimal_places(self) -> int:
        return decimals()

    @decimal_places.setter
    def decimal_places(self, of_the_column: int) -> None:
        pass

    @property
    def validators(self) -> list[Any]:
        return super().validators  # made anew, since CURRENCY is another one in some tests

    def db_type(self, connection: Any) -> str:
        return "numeric(10, 2)"

    def deconstruct(self) -> Any:
        # For migrations it is the column that it has always been.
        name, _, args, options = super().deconstruct()
        options |= {"max_digits": 10, "decimal_places": 2}
        return name, "django.db.models.DecimalField", args, options
