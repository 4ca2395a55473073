from django.db import models
from django.db.models import Q

from accounts.email_field import EmailAddressField
from ticketbook.postgres.keys import primary_key


class GuestSlip(models.Model):
    """What is kept of a form that a guest has sent, beside the booking that it made (bookings/guests.py).

    Address and key find that booking among those of the guest. After it has moved to an account or another
    address, `booking` does, so that the form never books anew.
    """

    id = primary_key()
    address = EmailAddressField(max_length=254)
    idempotency_key = models.UUIDField()
    name = models.CharField(max_length=150)
    # How often its mailed link was stopped. Links and browsers know the number (bookings/access.py).
    stops = models.SmallIntegerField(default=0, db_default=0)
    # Null as long as the booking is this guest's, or if there is none.
    booking = models.ForeignKey(
        "Booking", models.CASCADE, null=True, blank=True, related_name="slips", db_index=False
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["address", "idempotency_key"], name="guest_slip_address_key_unique"
            ),
            models.CheckConstraint(condition=Q(stops__gte=0), name="guest_slip_stops_not_negative"),
        ]
        indexes = [
            # The slips of bookings that have moved to an account or another address.
            models.Index(
                fields=["booking"], condition=Q(booking__isnull=False), name="guest_slip_booking"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.address})"
