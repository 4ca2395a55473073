from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError
from django.utils import timezone

from accounts.models import User
from concerts import stock
from ticketbook.errors import NotFound
from ticketbook.postgres.failures import is_busy

LARGEST = 2**31 - 1  # that the column takes


class Command(BaseCommand):
    help = "Set how many tickets a tier has in all. The change is written to the tier's history in the admin."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tier_id", metavar="TIER_ID")
        parser.add_argument("total", metavar="TOTAL", help="tickets, sold ones included")
        parser.add_argument("--by", required=True, help="e-mail address of a member of staff")
        parser.add_argument("--reason", required=True, help="for those who read the history")

    def handle(self, *, tier_id: str, total: str, by: str, reason: str, **options: Any) -> None:
        try:
            old, tier = stock.change_capacity(
                tier_id=_tier_key(tier_id),
                total=whole(total),
                by=_staff(by),
                reason=_given(reason),
                now=timezone.now(),
            )
        except NotFound:
            raise CommandError(f"There is no tier {tier_id}.") from None
        except stock.CapacityBelowSold as refusal:
            sold = refusal.facts["sold"]
            raise CommandError(
                f"{sold:,} tickets are sold, held or kept back: choose at least that."
            ) from None
        except OperationalError as exc:
            if not is_busy(exc):
                raise
            raise CommandError("The tier is busy; nothing was changed. Try again.") from None
        self.stdout.write(
            f"{tier.get_tier_type_display()} of “{tier.concert.name}”: capacity {old:,} → "
            f"{tier.total_quantity:,}, {tier.available_quantity:,} available."
        )


def _tier_key(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound from None


def whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= LARGEST):
        raise CommandError(f"TOTAL must be a whole number from 0 to {LARGEST:,}, not “{text}”.")
    return int(text)


def _staff(email: str) -> User:
    user = User.objects.filter(email=email, is_active=True).first()
    if user is None:
        raise CommandError(f"--by: nobody has the e-mail address {email}.")
    if not user.is_staff:
        raise CommandError(f"--by: {email} is not a member of staff.")
    return user


def _given(reason: str) -> str:
    if not reason.strip():
        raise CommandError("--reason is empty: say why.")
    return reason.strip()
