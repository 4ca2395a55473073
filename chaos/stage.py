"""What a chaos run sells, and to whom: few tickets, so that every refusal happens all the time."""

import secrets
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

PASSWORD = "a-password-of-the-chaos-run"


@dataclass(frozen=True)
class StagedTier:
    id: str
    concert: str
    capacity: int
    price: str


@dataclass(frozen=True)
class Customer:
    email: str
    token: str  # empty for a guest


@dataclass
class Stage:
    """The concerts, customers and staff of one run."""

    tiers: list[StagedTier] = field(default_factory=list)
    customers: list[Customer] = field(default_factory=list)
    staff: str = ""  # e-mail address
    called_off: str = ""  # the concert that staff call off late in the run

    @property
    def concerts(self) -> list[str]:
        return list(dict.fromkeys(tier.concert for tier in self.tiers))


# Of each concert: type, price, tickets for each client (at least 4), limit for one customer.
Plan = list[list[tuple[str, int, float, int | None]]]
CONCERTS: Plan = [
    [("GA", 10, 2.0, None), ("VIP", 50, 0.5, 4), ("FRONT_ROW", 0, 0.7, None)],
    [("GA", 15, 1.2, 6), ("VIP", 80, 0.3, None)],
    [("GA", 20, 1.5, None), ("FRONT_ROW", 0, 0.4, 2)],
]


def set_up(clients: int, plan: Plan | None = None) -> Stage:
    """Make new concerts, CONCERTS or those of a plan, and customers with tokens. Django has been set up."""
    from django.contrib.auth.hashers import make_password
    from django.utils import timezone
    from knox.models import AuthToken

    from accounts.models import User
    from concerts import stock
    from concerts.models import Concert, TicketTier

    stage, name = Stage(), uuid.uuid4().hex[:8]
    password = make_password(PASSWORD)
    stage.staff = f"staff-{name}@example.com"
    User.objects.create(email=stage.staff, name="Staff", is_staff=True, password="!")
    # Some customers are two clients: somebody with a phone and a laptop.
    for number in range(max(1, round(clients * 0.75))):
        email = f"buyer-{number}-{name}@example.com"
        user = User.objects.create(email=email, name=f"Buyer {number}", password=password)
        stage.customers.append(Customer(email, AuthToken.objects.create(user)[1]))
    for number, tiers in enumerate(plan or CONCERTS):
        concert = Concert.objects.create(
            name=f"Chaos {number} {name}",
            artist=secrets.token_hex(4),
            venue="127.0.0.1",
            date=timezone.now() + timedelta(days=90),
            status=Concert.Status.PUBLISHED,
        )
        for kind, price, share, limit in tiers:
            tier = TicketTier(
                concert=concert,
                tier_type=kind,
                price=price,
                total_quantity=max(4, round(share * clients)),
                max_per_customer=limit,
            )
            stock.stock_up(tier)
            tier.save()
            stage.tiers.append(
                StagedTier(str(tier.pk), str(concert.pk), tier.total_quantity, f"{price}.00")
            )
        stage.called_off = str(concert.pk)
    return stage
