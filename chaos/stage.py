"""What a chaos run sells, and to whom: few tickets, so that every refusal happens all the time."""

import secrets
import uuid
from dataclasses import dataclass, field
from datetime import timedelta

ACCOUNTS = "Buyer"  # how the names of customers with an account begin
PASSWORD = "a-password-of-the-chaos-run"


@dataclass(frozen=True)
class StagedTier:
    id: str
    concert: str
    capacity: int
    price: str
    wished: float = 1.0  # how often customers want it, against others


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
    drafts: list[str] = field(default_factory=list)  # concerts that staff publish and hide again

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


# Customers know their tiers, and ask seldom, so that one can sometimes be hidden again.
DRAFTS: Plan = [[("GA", 5, 0.5, None)], [("GA", 5, 0.5, 3)], [("GA", 5, 0.5, None)]]
WISHED = 0.12


def set_up(clients: int, plan: Plan | None = None) -> Stage:
    """Make new concerts, CONCERTS and DRAFTS or those of a plan, and customers with tokens.

    Django has been set up.
    """
    from django.contrib.auth.hashers import make_password
    from knox.models import AuthToken

    from accounts.models import User

    stage, name = Stage(), uuid.uuid4().hex[:8]
    password = make_password(PASSWORD)
    stage.staff = f"staff-{name}@example.com"
    rights = {"is_staff": True, "is_superuser": True}
    User.objects.create(email=stage.staff, name="Staff", password=password, **rights)
    # Some customers are two clients: somebody with a phone and a laptop.
    for number in range(max(1, round(clients * 0.75))):
        email = f"buyer-{number}-{name}@example.com"
        user = User.objects.create(email=email, name=f"{ACCOUNTS} {number}", password=password)
        stage.customers.append(Customer(email, AuthToken.objects.create(user)[1]))
    for number, tiers in enumerate(plan or CONCERTS):
        stage.called_off = _concert(stage, f"Chaos {number} {name}", tiers, clients)
    for number, tiers in enumerate([] if plan else DRAFTS):
        draft = _concert(stage, f"Draft {number} {name}", tiers, clients, is_draft=True)
        stage.drafts.append(draft)
    return stage


def _concert(
    stage: Stage,
    name: str,
    tiers: list[tuple[str, int, float, int | None]],
    clients: int,
    *,
    is_draft: bool = False,
) -> str:
    from django.utils import timezone

    from concerts import stock
    from concerts.models import Concert, TicketTier

    concert = Concert.objects.create(
        name=name,
        artist=secrets.token_hex(4),
        venue="127.0.0.1",
        date=timezone.now() + timedelta(days=90),
        status=Concert.Status.DRAFT if is_draft else Concert.Status.PUBLISHED,
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
        wished = WISHED if is_draft else 1.0
        stage.tiers.append(
            StagedTier(str(tier.pk), str(concert.pk), tier.total_quantity, f"{price}.00", wished)
        )
    return str(concert.pk)
