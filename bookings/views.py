from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render, resolve_url
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.http import require_safe

from accounts.auth import customer
from bookings.errors import (
    BookingError,
    Changed,
    IdempotencyKeyReused,
    RequestInProgress,
    SalesClosed,
)
from bookings.forms import (
    KEY_REUSED,
    OUT_OF_DATE,
    BookingForm,
    new_form,
    read_seen,
    tier_chosen,
)
from bookings.gateways import named
from bookings.gateways.base import GatewayUnavailable
from bookings.models import Booking
from bookings.my_bookings import my_bookings
from bookings.outcomes import ask_and_settle
from bookings.placing import Placed, aplace, place
from bookings.seen import Change, Seen
from bookings.sent_again import STILL_AT_WORK, say_what_became
from bookings.steps import InLanes
from bookings.wishes import Wish
from concerts.models import Concert
from concerts.sales import Sale
from ticketbook import event_loop
from ticketbook.copies import cache_server
from ticketbook.copies.responses import is_stranger, render_for_strangers
from ticketbook.errors import BadParameter, Busy, NotFound
from ticketbook.front.later import finished, later, may_wait
from ticketbook.postgres import clock

CONCERT_PAGE = "bookings/concert.html"


class SeeOther(HttpResponseRedirect):
    """A redirect after a POST, so that reloading the next page does not send the form again."""

    status_code = 303


@require_safe
def concert_page(request: HttpRequest, concert_id: UUID) -> HttpResponse:
    """A concert with the form that books it.

    The browser may cache this page: going back has to show the same idempotency key.
    """
    concert = Concert.objects.announced().with_tiers().filter(pk=concert_id).first()
    if concert is None:
        if "tier" in request.GET:  # somebody who chose a ticket here, and then logged in
            return _gone(request, status=404)
        raise Http404
    sale = Sale(concert, clock.now())
    context = {"sale": sale, "form": new_form(sale, chosen=request.GET)}
    if request.GET:
        context["changes"] = _changes_since_chosen(concert, request.GET)
    if is_stranger(request) and not request.GET:
        return render_for_strangers(request, CONCERT_PAGE, context)
    return render(request, CONCERT_PAGE, context)


class Bookings(View):
    @method_decorator(login_required)
    def get(self, request: HttpRequest) -> HttpResponse:
        try:
            context = my_bookings(request, customer(request), now=clock.now())
        except BadParameter:
            raise Http404 from None
        return render(request, "bookings/list.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        form = BookingForm(request.POST)
        valid = form.is_valid()
        if not request.user.is_authenticated:
            return _log_in_first(request, form)
        if not valid:
            return _ask_again(request, form, status=400)
        return book(request, form)

    def out_of_date(self, request: HttpRequest) -> HttpResponse:
        form = BookingForm(request.POST)
        form.is_valid()
        if not request.user.is_authenticated:
            return _log_in_first(request, form)
        messages.error(request, f"{OUT_OF_DATE} Nothing was charged.")
        return _ask_again(request, form, status=403)


def book(request: HttpRequest, form: BookingForm) -> HttpResponse:
    wish = Wish(
        user=customer(request),
        ticket_tier_id=form.cleaned_data["tier"],
        quantity=form.cleaned_data["quantity"],
        idempotency_key=form.cleaned_data["idempotency_key"],
        arrived_at=clock.now(),
        seen=form.seen,
    )
    placing = finished(request)
    if placing is None and may_wait(request) and settings.BOOKING_LANES:
        # _page_of_new makes the address of this redirect once the booking is placed.
        return later(SeeOther("/"), aplace(wish, InLanes()), _page_of_new)
    try:
        placed = placing.result() if placing else place(wish)
    except NotFound:  # the kind of ticket has gone, or the whole concert
        return _ask_again(request, form, refusal=Changed(), status=Changed.status)
    except RequestInProgress as exc:
        messages.info(request, STILL_AT_WORK)
        return SeeOther(resolve_url("bookings:detail", exc.facts["bookingId"]))
    except IdempotencyKeyReused as exc:
        form.add_error("idempotency_key", KEY_REUSED)
        return _ask_again(request, form, status=exc.status)
    except BookingError as exc:
        return _ask_again(request, form, refusal=exc, status=exc.status)
    if placed.replayed and not placed.booking.awaits_customer:
        say_what_became(request, placed.booking)
    return SeeOther(_next_page(placed.booking))


def _page_of_new(placed: Placed) -> str | None:
    # The page after a new booking; None for a replay, which may need a message and so a view.
    return None if placed.replayed else _next_page(placed.booking)


def _next_page(booking: Booking) -> str:
    # The gateway's page, if the customer has to pay there and a form may lead there. Otherwise the page of
    # the booking, which has a link to it.
    if booking.awaits_customer and named.form_may_lead_to(booking.action_url):
        return booking.action_url
    return resolve_url("bookings:detail", booking.pk)


def _log_in_first(request: HttpRequest, form: BookingForm) -> HttpResponse:
    # Log-in leads back to the concert, with the choice still made.
    concert = _concert_of(form)
    if concert is None or _changes(concert, form):
        return _ask_again(request, form, refusal=Changed(), status=Changed.status)
    if not concert.sells_at(clock.now()):
        return _ask_again(request, form, refusal=SalesClosed(), status=SalesClosed.status)
    choice = {
        "tier": form.cleaned_data.get("tier"),
        "quantity": form.cleaned_data.get("quantity"),
        "kind": form.seen.kind,
        "price": form.seen.price,
        "date": form.seen.date and form.seen.date.isoformat(),
    }
    query = urlencode({name: value for name, value in choice.items() if value is not None})
    messages.info(request, "Log in or sign up to book. Your choice is kept.")
    return SeeOther(redirect_to_login(f"{resolve_url('concert', concert.pk)}?{query}").url)


def _ask_again(
    request: HttpRequest, form: BookingForm, *, status: int, refusal: BookingError | None = None
) -> HttpResponse:
    # The concert's page as it is now, with the choice, and the reason why it could not be booked.
    concert = _concert_of(form)
    if concert is None:
        # What nobody has seen was never here.
        return _gone(request, name=form.seen.name, status=404 if form.seen == Seen() else 410)
    sale, changes = Sale(concert, clock.now()), _changes(concert, form)
    if isinstance(refusal, Changed):
        tier = tier_chosen(concert, form.cleaned_data.get("tier"), form.seen)
        chosen = {"quantity": form.cleaned_data.get("quantity", 1)}
        form = new_form(sale, chosen=chosen | ({"tier": str(tier.pk)} if tier else {}))
    context = {"sale": sale, "form": form, "refusal": refusal, "changes": changes}
    return render(request, CONCERT_PAGE, context, status=status)


def _gone(request: HttpRequest, *, name: str | None = None, status: int) -> HttpResponse:
    # Instead of a concert that was deleted, or that staff have hidden.
    return render(request, "bookings/gone.html", {"name": name}, status=status)


def _concert_of(form: BookingForm) -> Concert | None:
    concerts = Concert.objects.announced().with_tiers()
    tier, pk = form.cleaned_data.get("tier"), form.cleaned_data.get("concert")
    of_tier = concerts.filter(ticket_tiers=tier).first() if tier else None
    return of_tier or (concerts.filter(pk=pk).first() if pk else None)


def _changes(concert: Concert, form: BookingForm) -> list[Change]:
    # What is not so any more of what the form showed.
    tier_id = form.cleaned_data.get("tier")
    if tier_id is None:
        return form.seen.changes_of_concert(concert)
    return form.seen.changes(concert, tier_chosen(concert, tier_id, form.seen))


def _changes_since_chosen(concert: Concert, query: Mapping[str, str]) -> list[Change]:
    # The address to which log-in leads says what the form had shown, but for its texts: nobody shall make an
    # address that puts words into this page.
    try:
        seen = read_seen({name: query.get(name) for name in ("kind", "price", "date")})
    except ValidationError:
        return []
    if seen == Seen():
        return []
    return seen.changes(concert, tier_chosen(concert, query.get("tier"), seen))


@require_safe
@login_required
def back_from_payment(request: HttpRequest, booking_id: UUID) -> HttpResponse:
    """Where a payment page sends its customer. It asks the gateway, in case its webhook is late or lost."""
    booking = mine_or_404(request, booking_id)
    page = resolve_url("bookings:detail", booking.pk)
    if not booking.awaits_customer or finished(request) or not _may_ask_again(booking):
        return SeeOther(page)
    asking = ask_and_settle(booking, InLanes(), now=clock.now())
    if may_wait(request):
        return later(SeeOther(page), asking, lambda outcome: page)
    with suppress(GatewayUnavailable, Busy):
        event_loop.run(asking)
    return SeeOther(page)


ASK_AGAIN = 2  # seconds


def _may_ask_again(booking: Booking) -> bool:
    # Somebody who reloads this address makes no flood of questions to the gateway.
    key = f"back-from-payment:{booking.pk}"
    if settings.CACHE_URL:  # all processes share it, and it may be dead
        return cache_server.claim(key, seconds=ASK_AGAIN)
    return cache.add(key, 1, ASK_AGAIN)


def mine_or_404(request: HttpRequest, booking_id: UUID) -> Booking:
    return get_object_or_404(Booking.objects.of(customer(request)).with_details(), pk=booking_id)
