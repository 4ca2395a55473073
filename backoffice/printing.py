"""The tickets of a booking as PDF, for staff who print them for somebody at the door."""

from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_safe

from bookings.models import Booking
from tickets.errors import NotConfirmed
from tickets.files import pdf_file


def paths_of(site: admin.AdminSite) -> list[URLPattern]:
    page = site.admin_view(print_tickets)
    return [path("bookings/booking/<uuid:key>/tickets.pdf", page, name="print_tickets")]


@require_safe
def print_tickets(request: HttpRequest, key: UUID) -> HttpResponse:
    if not request.user.has_perm("bookings.view_booking"):
        raise PermissionDenied
    booking = get_object_or_404(Booking.objects.with_details(), pk=key)
    try:
        return pdf_file(booking)
    except NotConfirmed as refusal:
        messages.error(request, str(refusal))
        return HttpResponseRedirect(reverse("admin:bookings_booking_change", args=[key]))
