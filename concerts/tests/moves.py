from django.db import transaction
from django.utils import timezone

from concerts.models import Concert
from concerts.moving import tell_if_moved


def move(concert, *, now=None, **changes):
    """Move a concert, as staff do in the back office."""
    with transaction.atomic():
        before = Concert.objects.get(pk=concert.pk)
        Concert.objects.filter(pk=concert.pk).update(**changes)
        concert.refresh_from_db()
        tell_if_moved(before, concert, now=now or timezone.now())
