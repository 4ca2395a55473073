"""Runs the audit and keeps what it found, for the first page."""

from itertools import islice

from django.db import transaction

from backoffice.models import Audit, Difference
from bookings.audit import Tally, differences

KEPT_AUDITS = 90
KEPT_DIFFERENCES = 1000  # if everything is wrong, nobody reads all of it


def run_audit() -> Audit:
    tally = Tally()
    found = differences(tally)
    kept = list(islice(found, KEPT_DIFFERENCES))
    for _ in found:
        pass  # only counted
    with transaction.atomic():
        audit = Audit.objects.create(
            tiers=tally.tiers, bookings=tally.bookings, differences=tally.differences
        )
        Difference.objects.all().delete()
        Difference.objects.bulk_create(Difference(audit=audit, sentence=each) for each in kept)
        recent = Audit.objects.order_by("-id")[:KEPT_AUDITS]
        Audit.objects.exclude(pk__in=recent.values("pk")).delete()
    return audit
