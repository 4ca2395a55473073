from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render, resolve_url
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.http import require_safe

from accounts.auth import customer
from bookings.cancelling import cancel
from bookings.errors import BookingError, IdempotencyKeyReused, RequestInProgress
from bookings.forms import KEY_REUSED, BookingForm, new_form
from bookings.models import Booking
from bookings.placing import Placed, aplace, place
from bookings.steps import InLanes
from bookings.wishes import Wish
from concerts.models import Concert
from concerts.sales import Sale
from ticketbook.copies.responses import is_stranger, render_for_strangers
from ticketbook.errors import BadParameter, NotFound
from ticketbook.front.later import finished, later, may_wait
from ticketbook.pagination import Page

CONCERT_PAGE = "bookings/concert.html"
BOOKINGS_PER_PAGE = 20


class SeeOther(HttpResponseRedirect):
    """A redirect after a POST, so that reloading the next page does not send the form again."""

    status_code = 303


@require_safe
def concert_page(request: HttpRequest, concert_id: UUID) -> HttpResponse:
    """A concert with the form that books it.

    The browser may cache this page: going back has to show the same idempotency key.
    """
    concert = get_object_or_404(Concert.objects.announced().with_tiers(), pk=concert_id)
    sale = Sale(concert, timezone.now())
    context = {"sale": sale, "form": new_form(sale, chosen=request.GET)}
    if is_stranger(request) and not request.GET:
        return render_for_strangers(request, CONCERT_PAGE, context)
    return render(request, CONCERT_PAGE, context)


class Bookings(View):
    @method_decorator(login_required)
    def get(self, request: HttpRequest) -> HttpResponse:
        mine = Booking.objects.of(customer(request)).with_details().newest_first()
        try:
            page = Page(mine, request, keys=["-id"], limit=BOOKINGS_PER_PAGE)
        except BadParameter:
            raise Http404 from None  # a cursor that no page of ours links to
        context = {"bookings": page.rows, "next_query": page.next_query}
        return render(request, "bookings/list.html", context)

    def post(self, request: HttpRequest) -> HttpResponse:
        form = BookingForm(request.POST)
        valid = form.is_valid()
        if not request.user.is_authenticated:
            return _log_in_first(request, form)
        if not valid:
            return _ask_again(request, form, status=400)
        return book(request, form)


def book(request: HttpRequest, form: BookingForm) -> HttpResponse:
    wish = Wish(
        user=customer(request),
        ticket_tier_id=form.cleaned_data["tier"],
        quantity=form.cleaned_data["quantity"],
        idempotency_key=form.cleaned_data["idempotency_key"],
        arrived_at=timezone.now(),
    )
    placing = finished(request)
    if placing is None and may_wait(request) and settings.BOOKING_LANES:
        # _page_of_new makes the address of this redirect once the booking is placed.
        return later(SeeOther("/"), aplace(wish, InLanes()), _page_of_new)
    try:
        placed = placing.result() if placing else place(wish)
    except NotFound:
        raise Http404 from None
    except RequestInProgress as exc:
        return SeeOther(resolve_url("bookings:detail", exc.facts["bookingId"]))
    except IdempotencyKeyReused as exc:
        form.add_error("idempotency_key", KEY_REUSED)
        return _ask_again(request, form, status=exc.status)
    except BookingError as exc:
        return _ask_again(request, form, refusal=exc, status=exc.status)
    if placed.replayed:
        messages.info(request, "You sent this twice. It was booked once; this is how it stands.")
    return SeeOther(resolve_url("bookings:detail", placed.booking.pk))


def _page_of_new(placed: Placed) -> str | None:
    # The page of a new booking; None for a replay, which needs a message and so a view.
    return None if placed.replayed else resolve_url("bookings:detail", placed.booking.pk)


def _log_in_first(request: HttpRequest, form: BookingForm) -> HttpResponse:
    # Log-in leads back to the concert, with the choice still made.
    names = ("tier", "quantity")
    choice = urlencode(
        {name: form.cleaned_data[name] for name in names if name in form.cleaned_data}
    )
    messages.info(request, "Log in or sign up to book. Your choice is kept.")
    back = f"{resolve_url('concert', _concert_of(form).pk)}?{choice}"
    return SeeOther(redirect_to_login(back).url)


def _ask_again(
    request: HttpRequest, form: BookingForm, *, status: int, refusal: BookingError | None = None
) -> HttpResponse:
    # The concert's page again, with the choice and the reason why it could not be booked.
    context = {"sale": Sale(_concert_of(form), timezone.now()), "form": form, "refusal": refusal}
    return render(request, CONCERT_PAGE, context, status=status)


def _concert_of(form: BookingForm) -> Concert:
    concerts = Concert.objects.announced().with_tiers()
    if tier := form.cleaned_data.get("tier"):
        return get_object_or_404(concerts, ticket_tiers=tier)
    return get_object_or_404(concerts, pk=form.cleaned_data.get("concert"))


@require_safe
@login_required
def detail(request: HttpRequest, booking_id: UUID) -> HttpResponse:
    booking = _mine_or_404(request, booking_id)
    context = {"booking": booking, "can_cancel": booking.cancellable_at(timezone.now())}
    return render(request, "bookings/detail.html", context)


class Cancellation(LoginRequiredMixin, View):
    def get(self, request: HttpRequest, booking_id: UUID) -> HttpResponse:
        booking = _mine_or_404(request, booking_id)
        if not booking.cancellable_at(timezone.now()):
            return HttpResponseRedirect(resolve_url("bookings:detail", booking_id))
        return render(request, "bookings/cancel.html", {"booking": booking})

    def post(self, request: HttpRequest, booking_id: UUID) -> HttpResponse:
        try:
            cancel(_mine_or_404(request, booking_id), now=timezone.now())
        except BookingError as exc:
            messages.error(request, str(exc))
        return SeeOther(resolve_url("bookings:detail", booking_id))


def _mine_or_404(request: HttpRequest, booking_id: UUID) -> Booking:
    return get_object_or_404(Booking.objects.of(customer(request)).with_details(), pk=booking_id)
