"""Amounts of money in the API."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from ticketbook.amounts import plain


class AmountField(serializers.DecimalField):
    """An amount in an answer: a string with as many decimals as its currency has."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_digits": 10, "decimal_places": 2} | options)

    def to_representation(self, amount: Decimal) -> str:
        return plain(amount)
