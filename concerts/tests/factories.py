from datetime import timedelta
from decimal import Decimal

import factory
from django.utils import timezone

from concerts import stock
from concerts.models import Concert, TicketTier


class ConcertFactory(factory.django.DjangoModelFactory):
    """A published concert in a month, on sale now."""

    class Meta:
        model = Concert

    name = factory.Sequence(lambda n: f"Concert {n}")
    artist = "The Testers"
    venue = "Town Hall"
    date = factory.LazyFunction(lambda: timezone.now() + timedelta(days=30))
    status = Concert.Status.PUBLISHED


class TicketTierFactory(factory.django.DjangoModelFactory):
    """A hundred tickets at 10.00, none of them sold."""

    class Meta:
        model = TicketTier

    concert = factory.SubFactory(ConcertFactory)
    tier_type = TicketTier.Type.GA
    price = Decimal("10.00")
    total_quantity = 100

    @classmethod
    def _create(cls, model_class, *args, **kwargs):
        tier = model_class(*args, **kwargs)
        stock.stock_up(tier)
        tier.save()
        return tier


def sell(tier, quantity):
    """Take tickets out of the tier's stock, so that so many of its capacity are gone."""
    left = tier.total_quantity - quantity
    TicketTier.objects.filter(pk=tier.pk).update(available_quantity=left)
