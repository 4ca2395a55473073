"""All clients of a run together: customers with an account, guests, and staff."""

import asyncio
from collections.abc import Iterator

from chaos.clients import Buyer, Crowd, Staff, buyers
from chaos.desk import Desk
from chaos.guests import Guest, guest_of, identity
from chaos.stage import Customer, Stage

GUESTS = 4  # one client of so many is a guest


def clients_of(stage: Stage, clients: int) -> Iterator[tuple[str, Customer]]:
    """The names of so many clients, and who each of them is. Guests have no token."""
    guests = clients // GUESTS
    yield from buyers(stage, clients - guests)
    for name, customer in buyers(stage, guests):
        yield name.replace("buyer", "guest"), guest_of(customer)


def customers(stage: Stage, clients: int) -> dict[str, str]:
    """By client: who it is, for the header of a history."""
    everybody = [*buyers(stage, clients), *clients_of(stage, clients)]
    return {name: identity(customer) for name, customer in everybody}


async def run(crowd: Crowd, clients: int, staff: Staff) -> None:
    """Let so many customers and two members of staff do what they like until the time is over."""
    everybody = [
        (Buyer if customer.token else Guest)(crowd, name, customer)
        for name, customer in clients_of(crowd.stage, clients)
    ]
    desk = Desk(crowd)
    await asyncio.gather(staff.run(crowd), desk.run(), *(each.run() for each in everybody))
