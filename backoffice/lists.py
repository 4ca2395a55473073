"""The lists of the back office by what people do, with what each of them is and what to do if it is empty."""

from dataclasses import dataclass


@dataclass(frozen=True)
class List:
    model: str  # as in app.Model
    about: str
    when_empty: str
    name: str = ""  # where the model's own says little


# For superusers only.
INTERNALS = "Internals"

GROUPS: dict[str, list[List]] = {
    "Concerts": [
        List(
            "concerts.Concert",
            "Every concert, drafts and those that are over or called off included.",
            "There are no concerts yet. Add one with its tiers, and publish it when it is ready.",
        ),
        List(
            "concerts.TicketTier",
            "The kinds of tickets of each concert, with price and stock.",
            "There are no tiers yet. Add a concert first; its form has room for the tiers.",
        ),
    ],
    "Bookings": [
        List(
            "bookings.Booking",
            "Each line is one booking of one customer, newest first. Payments and refunds are in it.",
            "Nobody has booked yet. Bookings appear here as soon as a published concert sells.",
        ),
        List(
            "bookings.Refund",
            "Money that we owe or have sent back, newest first.",
            "No money was sent back so far, and none is owed.",
        ),
        List(
            "tickets.Ticket",
            "Each line is one admission, newest first. Find one by the code that is printed on it.",
            "There are no tickets yet. The worker makes them seconds after a booking is paid.",
        ),
        List(
            "mail.Mail",
            "What was written to customers, newest first, and whether it was sent.",
            "No mail was written yet. Each booking writes one.",
        ),
        List(
            "tickets.HolderMessage",
            "What staff have written to all who hold tickets of a concert, and how far the mails are.",
            "Nobody has written to holders yet. The pages of concerts and tiers have a button for it.",
        ),
        List(
            "bookings.PaymentEvent",
            "What payment gateways told us about payments, newest first.",
            "No gateway has told us anything. Only gateways with a payment page of their own do.",
            name="Messages of payment gateways",
        ),
        List(
            "backoffice.Audit",
            "Every night all stock, money and tickets are compared with the bookings.",
            "No audit has run yet. The worker runs one every night.",
        ),
        List(
            "backoffice.Difference",
            "What the last audit found: stock, money or tickets that are not what the bookings say.",
            "The last audit found no difference, or none has run yet.",
            name="Differences of the last audit",
        ),
    ],
    "People": [
        List(
            "accounts.User",
            "Customers and staff, by e-mail address.",
            "There is nobody yet.",
            name="Customers and staff",
        ),
        List(
            "auth.Group",
            "What several members of staff may do together.",
            "There are no groups. Add one, choose what its members may do, and put staff into it.",
        ),
    ],
    INTERNALS: [
        List(
            "procrastinate.ProcrastinateJob",
            "What the worker has to do, does, or could not do. Jobs that are done are deleted.",
            "There is nothing to do.",
            name="Jobs",
        ),
        List(
            "procrastinate.ProcrastinatePeriodicDefer",
            "When each periodic job was last put on the queue.",
            "No periodic job was put on the queue yet, so no worker has run.",
            name="Periodic jobs",
        ),
        List(
            "knox.AuthToken",
            "API tokens of customers' devices. Deleting one logs the device out.",
            "Nobody has an API token.",
            name="API tokens",
        ),
        List(
            "accounts.Session",
            "Browsers that are logged in, or have been.",
            "No browser is logged in.",
        ),
        List(
            "accounts.Attempts",
            "Wrong log-ins and other attempts that are slowed down. Who made them is not kept in clear.",
            "Nobody is slowed down.",
            name="Attempts",
        ),
        List(
            "admin.LogEntry",
            "What staff have done in the back office, newest first.",
            "Nobody has changed anything in the back office yet.",
            name="What staff have done",
        ),
    ],
}

LISTS = {each.model: each for group in GROUPS.values() for each in group}
FOR_SUPERUSERS = {each.model for each in GROUPS[INTERNALS]}
