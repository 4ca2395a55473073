"""Who knocks: nobody, a customer, and staff who may do everything. Their log-ins are renewed all the time."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.utils import timezone
from knox.models import AuthToken

from accounts.models import User
from accounts.sessions import SessionStore
from bookings.placing import place
from bookings.wishes import Wish
from concerts import stock
from concerts.models import Concert, TicketTier

CSRF = "f" * 32


@dataclass
class Caller:
    name: str
    session: str = ""
    token: str = ""

    def cookies(self) -> bytes:
        return f"sessionid={self.session}; csrftoken={CSRF}".encode()


def nobody() -> Caller:
    return Caller("nobody")


def log_in(name: str, *, staff: bool) -> Caller:
    """A caller with a new session and a new token, whatever the requests before have done to the user."""
    user, _ = User.objects.accounts().get_or_create(
        email=f"{name}@fuzz.example", defaults={"name": name, "password": "!"}
    )
    User.objects.filter(pk=user.pk).update(is_active=True, is_staff=staff, is_superuser=staff)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return Caller(name, str(session.session_key), AuthToken.objects.create(user)[1])


def stock_up() -> None:
    """A concert that sells, and a booking of the customer; made anew if the last one was deleted."""
    user = User.objects.get(email="customer@fuzz.example")
    concert = Concert.objects.filter(name="Fuzz", status="PUBLISHED").first()
    if concert is None:
        concert = Concert.objects.create(
            name="Fuzz",
            artist=secrets.token_hex(4),
            venue="Hall",
            date=timezone.now() + timedelta(days=90),
            status="PUBLISHED",
        )
    tier = TicketTier.objects.filter(concert=concert).first()
    if tier is None:
        tier = TicketTier(
            concert=concert, tier_type="GA", price=Decimal(10), total_quantity=100_000
        )
        stock.stock_up(tier)
        tier.save()
    if user.bookings.filter(status="CONFIRMED").count() < 3:
        now = timezone.now()
        place(
            Wish(
                user=user,
                ticket_tier_id=tier.pk,
                quantity=2,
                idempotency_key=uuid4(),
                arrived_at=now,
            )
        )
