"""The page that cancels a booking, or gives some of its tickets back."""

from uuid import UUID, uuid4

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views import View

from bookings.cancelling import cancel, return_tickets, sums_that_come_back
from bookings.errors import BookingError, Changed, TooManyReturned
from bookings.forms import OUT_OF_DATE
from bookings.models import Booking
from bookings.views import SeeOther, mine_or_404
from ticketbook.postgres import clock
from tickets.forms import CancellationForm
from tickets.views import tickets_or_none


class Cancellation(LoginRequiredMixin, View):
    def get(self, request: HttpRequest, booking_id: UUID) -> HttpResponse:
        booking = mine_or_404(request, booking_id)
        if not booking.cancellable_at(clock.now()):
            return HttpResponseRedirect(resolve_url("bookings:detail", booking_id))
        chosen = booking.kept_numbers if "all" in request.GET else ()
        return self.ask(request, booking, CancellationForm(booking, chosen=chosen))

    def post(self, request: HttpRequest, booking_id: UUID) -> HttpResponse:
        booking = mine_or_404(request, booking_id)
        form = CancellationForm(booking, request.POST)
        if not form.is_valid():
            return self.ask(request, booking, form, status=400)
        shown = form.cleaned_data["seen_refund"]
        try:
            _give_back(booking, form)
        except Changed as exc:
            form = CancellationForm(booking, chosen=form.chosen & set(form.kept))
            return self.ask(request, booking, form, status=exc.status, refusal=exc, shown=shown)
        except BookingError as exc:
            messages.error(request, _sentence(exc))
        return SeeOther(resolve_url("bookings:detail", booking_id))

    def out_of_date(self, request: HttpRequest, booking_id: UUID) -> HttpResponse:
        if not request.user.is_authenticated:
            return self.handle_no_permission()
        booking = mine_or_404(request, booking_id)
        if not booking.cancellable_at(clock.now()):
            return SeeOther(resolve_url("bookings:detail", booking_id))
        messages.error(request, f"{OUT_OF_DATE} Nothing was cancelled.")
        return self.ask(request, booking, CancellationForm(booking, request.POST), status=403)

    def ask(
        self,
        request: HttpRequest,
        booking: Booking,
        form: CancellationForm,
        status: int = 200,
        **more: object,
    ) -> HttpResponse:
        kept = [ticket for ticket in tickets_or_none(booking) if ticket.is_valid]
        sums = list(enumerate(sums_that_come_back(booking), start=1))
        context = {
            "booking": booking,
            "form": form,
            "tickets": kept,
            "sums": sums,
            "goodwill": booking.refundable < booking.unit_price * booking.kept_quantity,
            **more,
        }
        return render(request, "tickets/cancel.html", context, status=status)


def _give_back(booking: Booking, form: CancellationForm) -> None:
    numbers = set(form.cleaned_data["number"]) or None
    tickets = len(numbers) if numbers else form.cleaned_data["quantity"]
    key, shown = form.cleaned_data["idempotency_key"], form.cleaned_data["seen_refund"]
    if tickets is None:
        cancel(booking, key=key, shown=shown, now=clock.ask())
    else:
        key = key or uuid4()
        return_tickets(booking, tickets, numbers=numbers, key=key, shown=shown, now=clock.ask())


def _sentence(refusal: BookingError) -> str:
    if isinstance(refusal, TooManyReturned):
        return f"{refusal} It has {refusal.facts['returnable']}."
    return str(refusal)
