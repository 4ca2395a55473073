"""All verbs of the back office, in the order of their buttons."""

from typing import Any

from backoffice.verbs import (
    concerts,
    customers,
    desk_sales,
    guest_list,
    messages,
    money_back,
    payments,
    stock,
)
from backoffice.verbs.verb import Verb

EVERY: list[Verb[Any]] = [
    concerts.Publish(),
    concerts.Unpublish(),
    concerts.Move(),
    concerts.Duplicate(),
    messages.MessageToConcert(),
    concerts.CallOff(),
    desk_sales.BookFor(),
    guest_list.GuestList(),
    stock.AddTickets(),
    stock.KeepBack(),
    stock.GiveFree(),
    messages.MessageToTier(),
    money_back.Cancel(),
    money_back.ReturnTickets(),
    money_back.GiveMoneyBack(),
    money_back.HandOverCash(),
    payments.AskGateway(),
    customers.SendTicketsAgain(),
    customers.ChangeAddress(),
    customers.NameTickets(),
    payments.SendRefundAgain(),
    payments.DismissAlert(),
]
