from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from math import ceil
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.views import View
from django.views.decorators.http import require_safe

from accounts import pace
from accounts.auth import customer
from bookings import guests
from bookings.access import LogInFirst, guests_too, mine_or_404, of_this_browser, remember
from bookings.concert_views import CONCERT_PAGE, gone
from bookings.errors import (
    BookingError,
    Changed,
    CustomerLimitReached,
    IdempotencyKeyReused,
    InsufficientTickets,
    RequestInProgress,
    SalesClosed,
)
from bookings.forms import (
    KEY_REUSED,
    OUT_OF_DATE,
    TYPED,
    BookingForm,
    form_class,
    new_form,
    tier_chosen,
)
from bookings.gateways import named
from bookings.gateways.base import GatewayUnavailable
from bookings.models import Booking, BookingQuerySet
from bookings.my_bookings import my_bookings
from bookings.on_offer import sale_of
from bookings.outcomes import ask_and_settle
from bookings.payments import hold_length
from bookings.placing import Placed, aplace, place
from bookings.seen import Change, Seen
from bookings.sent_again import STILL_AT_WORK, say_what_became
from bookings.steps import InLanes
from bookings.trying_again import key_of_next
from bookings.wishes import Customer, Wish
from concerts.models import Concert
from ticketbook import event_loop
from ticketbook.copies import cache_server
from ticketbook.error_handlers import answer_429
from ticketbook.errors import BadParameter, Busy, NotFound, Refusal, Throttled
from ticketbook.front.later import finished, later, may_wait
from ticketbook.postgres import clock

COUNTED = "bookings.guest_form"
HOLDS_NOTHING = InsufficientTickets, SalesClosed, Changed
FORGOTTEN = "This browser does not know that booking any more. Log in if it is in your account now."


class SeeOther(HttpResponseRedirect):
    """A redirect after a POST, so that reloading the next page does not send the form again."""

    status_code = 303


class FormOfBooking(View):
    """A form in the page of a booking. A GET of its address, as after a log-in, leads to that page."""

    def get(self, request: HttpRequest, booking_id: UUID, **kwargs: object) -> HttpResponse:
        return SeeOther(resolve_url("bookings:detail", booking_id))

    def out_of_date(self, request: HttpRequest, booking_id: UUID, **kwargs: object) -> HttpResponse:
        # The log-in, perhaps in another tab, has made the token of this form invalid.
        if request.user.is_authenticated or of_this_browser(request) is not None:
            messages.error(
                request, "This page was out of date and has been renewed. Try once more."
            )
        return SeeOther(resolve_url("bookings:detail", booking_id))


class Bookings(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        mine = of_customer_or_browser(request)
        if mine is None:
            return redirect_to_login(request.get_full_path())
        try:
            context = my_bookings(request, mine.with_details(), now=clock.now())
        except BadParameter:
            raise Http404 from None
        return render(request, "bookings/list.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        form = form_class(request)(request.POST)
        valid = form.is_valid()
        if _wants_to_log_in(request):
            return _log_in_first(request, form)
        if not valid:
            return _ask_again(request, form, status=400)
        if form.cleaned_data["again"]:
            return try_again(request, form)
        return book_by_form(request, form)

    def out_of_date(self, request: HttpRequest) -> HttpResponse:
        form = form_class(request)(request.POST)
        form.is_valid()
        if _wants_to_log_in(request):
            return _log_in_first(request, form)
        messages.error(request, f"{OUT_OF_DATE} Nothing was charged.")
        return _ask_again(request, form, status=403)


def of_customer_or_browser(request: HttpRequest) -> BookingQuerySet | None:
    """The bookings of the user; for a stranger those that this browser remembers, or None."""
    if request.user.is_authenticated:
        return Booking.objects.of(customer(request))
    remembered = of_this_browser(request)
    return remembered if remembered is not None and remembered.exists() else None


def _wants_to_log_in(request: HttpRequest) -> bool:
    # The page of a customer whose session has ended since has no fields for guests.
    if request.user.is_authenticated:
        return False
    return "log_in" in request.POST or request.POST.keys().isdisjoint(TYPED)


def book_by_form(request: HttpRequest, form: BookingForm) -> HttpResponse:
    if form.is_guest:
        return book_as_guest(request, form, {name: form.cleaned_data[name] for name in TYPED})
    return book_as_customer(request, form)


def try_again(request: HttpRequest, form: BookingForm) -> HttpResponse:
    """For the customer of the booking that failed, whoever has logged in since (bookings/trying_again.py)."""
    try:
        failed = mine_or_404(request, form.cleaned_data["again"])
    except Http404:  # another customer sends the page of the first one: it is their own wish
        return book_by_form(request, form)
    except LogInFirst:
        messages.error(request, FORGOTTEN)
        return SeeOther(resolve_url("bookings:detail", form.cleaned_data["again"]))
    of_guest = failed.user.is_guest and form.cleaned_data["idempotency_key"] == key_of_next(failed)
    typed = {"name": guests.name_for(failed), "email": failed.user.email}
    if form.is_guest:
        typed = {name: form.cleaned_data[name] for name in TYPED}
    if not of_guest or typed["email"] != failed.user.email:
        return book_by_form(request, form)
    return book_as_guest(request, form, typed, of=failed)


def book_as_customer(request: HttpRequest, form: BookingForm) -> HttpResponse:
    if placing := finished(request):
        return answer(request, form, placing.result)
    remembered = of_this_browser(request)
    if remembered is not None:  # the form may have booked for a guest, who has logged in since
        key = form.cleaned_data["idempotency_key"]
        if made := remembered.filter(idempotency_key=key).first():
            return answer(request, form, lambda: _made_before(made, form))
    return book(request, form, customer(request))


def book_as_guest(
    request: HttpRequest, form: BookingForm, typed: dict[str, str], *, of: Booking | None = None
) -> HttpResponse:
    """`of` is the booking that failed, if the form tries it once more."""
    key = form.cleaned_data["idempotency_key"]
    placing = finished(request)
    # Anybody can type any address, and what is booked for it counts there until it is paid or ends.
    request.META[COUNTED] = pace.by_address("guest form", settings.GUEST_FORMS_PER_ADDRESS, request)
    if placing is None:
        try:
            pace.count(*request.META[COUNTED])
        except Throttled as throttled:
            answer_429(request, throttled)
            return _ask_again(request, form, refusal=throttled, status=throttled.status)
    if placing and not guests.is_gone(placing.error):
        response = answer(request, form, placing.result)
        if response.status_code == SeeOther.status_code:
            slip = guests.slip_of_form(email=typed["email"], key=key)
            _remember_form(request, response, slip.pk, slip.stops)
        return response
    return guests.as_long_as_there(lambda: _book_as_guest(request, form, typed, key, of))


def _book_as_guest(
    request: HttpRequest, form: BookingForm, typed: dict[str, str], key: UUID, of: Booking | None
) -> HttpResponse:
    guest = guests.enter(**typed, key=key)
    if guest.claimed is not None:
        made = Booking.objects.get(pk=guest.claimed)
        return answer(request, form, lambda: _made_before(made, form))
    if of is not None and of.user_id != guest.id:
        # It has just moved to an account, which tries it again from its own page.
        return SeeOther(resolve_url("bookings:detail", of.pk))
    response = book(request, form, guest)
    if response.status_code == SeeOther.status_code:
        _remember_form(request, response, guest.slip, guest.stops)
    return response


def _note_if_paid(request: HttpRequest, placed: Placed) -> None:
    # Free tickets are mailed to whatever address was typed, so they count.
    if placed.booking.status == Booking.Status.CONFIRMED and placed.booking.total_price:
        _does_no_harm(request)


def _does_no_harm(request: HttpRequest) -> None:
    # Whoever pays, or gets nothing, does not flood, however many of them share an address.
    pace.take_back(*request.META.pop(COUNTED, ()))


def _remember_form(request: HttpRequest, response: HttpResponse, slip: UUID, stops: int) -> None:
    # A form that is sent again opens its booking, as the mailed link does, until the link is stopped.
    if not stops:
        remember(request, response, slip, stops)


def _made_before(booking: Booking, form: BookingForm) -> Placed:
    # As `place` answers for the key of a booking, for one that is not of this customer.
    choice = form.cleaned_data["tier"], form.cleaned_data["quantity"]
    if (booking.ticket_tier_id, booking.quantity) != choice:
        raise IdempotencyKeyReused(bookingId=booking.pk)
    return Placed(booking, replayed=True)


def book(request: HttpRequest, form: BookingForm, user: Customer) -> HttpResponse:
    wish = Wish(
        user=user,
        ticket_tier_id=form.cleaned_data["tier"],
        quantity=form.cleaned_data["quantity"],
        idempotency_key=form.cleaned_data["idempotency_key"],
        arrived_at=clock.now(),
        seen=form.seen,
    )
    if may_wait(request) and settings.BOOKING_LANES:
        # _page_of_new makes the address of this redirect once the booking is placed.
        return later(SeeOther("/"), aplace(wish, InLanes()), partial(_page_of_new, request))
    return answer(request, form, lambda: place(wish))


def answer(request: HttpRequest, form: BookingForm, placing: Callable[[], Placed]) -> HttpResponse:
    """The answer to a form: `placing` returns its booking, or raises why there is none."""
    try:
        placed = placing()
    except NotFound:  # the kind of ticket has gone, or the whole concert
        _does_no_harm(request)
        return _ask_again(request, form, refusal=Changed(), status=Changed.status)
    except RequestInProgress as exc:
        messages.info(request, STILL_AT_WORK)
        return SeeOther(resolve_url("bookings:detail", exc.facts["bookingId"]))
    except IdempotencyKeyReused as exc:
        form.add_error("idempotency_key", KEY_REUSED)
        return _ask_again(request, form, status=exc.status)
    except BookingError as exc:
        if isinstance(exc, HOLDS_NOTHING):
            _does_no_harm(request)
        return _ask_again(request, form, refusal=exc, status=exc.status)
    if not placed.replayed:
        _note_if_paid(request, placed)
    if placed.replayed and not placed.booking.awaits_customer:
        say_what_became(request, placed.booking)
    return SeeOther(_next_page(placed.booking))


def _page_of_new(request: HttpRequest, placed: Placed) -> str | None:
    # The page after a new booking; None for a replay, which may need a message and so a view.
    if placed.replayed:
        return None
    _note_if_paid(request, placed)
    return _next_page(placed.booking)


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
    request: HttpRequest, form: BookingForm, *, status: int, refusal: Refusal | None = None
) -> HttpResponse:
    # The concert's page as it is now, with the choice, and the reason why it could not be booked.
    concert = _concert_of(form)
    if concert is None:
        # What nobody has seen was never here.
        return gone(request, name=form.seen.name, status=404 if form.seen == Seen() else 410)
    sale, changes = sale_of(concert, request.user), _changes(concert, form)
    if isinstance(refusal, Changed):
        tier = tier_chosen(concert, form.cleaned_data.get("tier"), form.seen)
        chosen = {"quantity": form.cleaned_data.get("quantity", 1)}
        chosen |= {"tier": str(tier.pk)} if tier else {}
        form = new_form(sale, chosen=chosen, cls=type(form), typed=form.data, tries=form.tries)
    context = {"sale": sale, "form": form, "refusal": refusal, "changes": changes}
    if isinstance(refusal, CustomerLimitReached):
        context["until_unpaid_end"] = _until_unpaid_end()
    return render(request, CONCERT_PAGE, context, status=status)


def _until_unpaid_end() -> str:
    # It says the same whether there is such a booking or not.
    minutes = ceil(hold_length(named.default()) / timedelta(minutes=1))
    return (
        f"What nobody pays for stops counting, as a rule within {minutes} minute{'s' * (minutes > 1)}. "
        "If somebody else has typed your address, try again then."
    )


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


@require_safe
@guests_too
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
