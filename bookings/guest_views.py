"""The pages for guests: the mailed link of a booking, stopping it, and keeping the bookings in an account."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.http import require_safe

from accounts import devices, throttle
from accounts.forms import KeepForm
from accounts.models import User
from accounts.new_password import LinkUsed
from accounts.signup import EmailTaken, sign_up
from accounts.views import OUT_OF_DATE
from bookings import claiming, links
from bookings.access import forget_all, guests_too, mine_or_404, remember
from bookings.claiming import AnotherAccount
from bookings.models import Booking
from bookings.views import FormOfBooking, SeeOther
from ticketbook.error_handlers import answer_429
from ticketbook.errors import Refusal, Throttled

# Of redirects from an address that opens a booking. Not of pages: with no-referrer a browser sends their
# forms with the origin "null", and they would be refused.
SECRET = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


@require_safe
def open_booking(request: HttpRequest, link: str) -> HttpResponse:
    """A mailed link. The browser sends what it remembers of bookings to addresses below /bookings/ only."""
    return _open(request, link, next_page=resolve_url("bookings:opened", link))


@require_safe
def opened(request: HttpRequest, link: str) -> HttpResponse:
    """The second step: the browser remembers the booking, and is shown its page at the plain address.

    Nothing is written here, because programs that check mails open links too.
    """
    return _open(request, link)


def _open(request: HttpRequest, link: str, next_page: str = "") -> HttpResponse:
    try:
        slip = links.slip_of_link(link)
    except links.LinkStopped as stopped:
        return _dead(request, stopped)
    booking = slip and links.booking_of(slip)
    if not slip or not booking:
        raise Http404
    page = next_page or resolve_url("bookings:detail", booking.pk)
    response = HttpResponseRedirect(page, headers=SECRET)
    if not next_page and booking.pk != slip.booking_id:  # that is, it is still a guest's
        remember(request, response, slip.pk, slip.stops)
    return response


def _dead(request: HttpRequest, refusal: Refusal, status: int = 410) -> HttpResponse:
    response = render(request, "bookings/link_dead.html", {"refusal": refusal}, status=status)
    response["X-Robots-Tag"] = "noindex"
    return response


def _not_kept(request: HttpRequest, refusal: LinkUsed | AnotherAccount) -> HttpResponse:
    return _dead(request, refusal, 403 if isinstance(refusal, AnotherAccount) else 410)


class OfGuest(FormOfBooking):
    """A button in the page of a guest's booking."""

    @method_decorator(guests_too)
    def post(self, request: HttpRequest, booking_id: UUID) -> HttpResponse:
        booking = mine_or_404(request, booking_id)
        response = SeeOther(resolve_url("bookings:detail", booking.pk))
        if booking.user.is_guest:  # it may have moved to an account since the page was drawn
            self.act(request, booking, response)
        return response

    def act(self, request: HttpRequest, booking: Booking, response: HttpResponse) -> None:
        raise NotImplementedError


class NewLink(OfGuest):
    """Stops the mailed link and mails a new one. Only this browser still knows the booking."""

    def act(self, request: HttpRequest, booking: Booking, response: HttpResponse) -> None:
        try:
            slip = links.stop(booking)
        except Throttled as refusal:
            messages.error(request, str(refusal))
            return
        remember(request, response, slip.pk, slip.stops)
        messages.success(
            request,
            f"The old link opens nothing any more, and a new one is on its way to {slip.address}.",
        )


class AskToKeep(OfGuest):
    """Mails the link by which the guest's bookings move to an account."""

    def act(self, request: HttpRequest, booking: Booking, response: HttpResponse) -> None:
        claiming.ask_for_link(booking.user.email)
        messages.success(
            request,
            f"A mail is on its way to {booking.user.email}. Its link keeps your bookings in an account, and "
            "works for one day.",
        )


class ForgetHere(View):
    """Makes this browser forget its bookings, because other people may use it too."""

    def post(self, request: HttpRequest) -> HttpResponse:
        messages.success(
            request, "This browser has forgotten its bookings. Our mails still lead to them."
        )
        response = SeeOther(resolve_url("concerts:list"))
        forget_all(response)
        return response


class Keep(View):
    """The page behind the link that moves a guest's bookings to the account with their address.

    Somebody with an account confirms the move there. Somebody without one signs up with this address.
    """

    guest: User
    account: User | None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        try:
            self._look(request, kwargs["link"])
        except (LinkUsed, AnotherAccount) as refusal:
            return _not_kept(request, refusal)
        if self.account is not None and not request.user.is_authenticated:
            messages.info(request, "Log in to keep your bookings in your account.")
            return redirect_to_login(request.get_full_path())
        return super().dispatch(request, *args, **kwargs)

    def _look(self, request: HttpRequest, link: str) -> None:
        self.guest = claiming.guest_of(link)
        self.account = claiming.account_of(self.guest)
        if request.user.is_authenticated and request.user != self.account:
            raise AnotherAccount

    def get(self, request: HttpRequest, link: str) -> HttpResponse:
        return self._ask(request, KeepForm(self.guest.email))

    def post(self, request: HttpRequest, link: str) -> HttpResponse:
        if self.account is not None:
            return self._keep(request, self.account)
        form = KeepForm(self.guest.email, request.POST)
        if not form.is_valid():
            return self._ask(request, form)
        try:
            throttle.count(*throttle.by_address("sign-up", settings.SIGNUPS_PER_ADDRESS, request))
            account = sign_up(email=self.guest.email, **form.cleaned_data)
        except Throttled as throttled:
            answer_429(request, throttled)
            form.add_error(None, str(throttled))
            return self._ask(request, form)
        except EmailTaken:  # a moment ago
            return SeeOther(request.path)
        login(request, account)
        devices.remember(request, account.email)
        return self._keep(request, account)

    def out_of_date(self, request: HttpRequest, link: str) -> HttpResponse:
        messages.error(request, OUT_OF_DATE)
        return SeeOther(request.path)

    def _ask(self, request: HttpRequest, form: KeepForm) -> HttpResponse:
        bookings = Booking.objects.of(self.guest).count()
        context = {"form": form, "account": self.account, "email": self.guest.email}
        return render(request, "bookings/keep.html", {**context, "bookings": bookings})

    def _keep(self, request: HttpRequest, account: User) -> HttpResponse:
        try:
            moved = claiming.claim(self.guest, account)
        except (LinkUsed, AnotherAccount) as refusal:  # since we looked
            return _not_kept(request, refusal)
        words = "1 booking is" if moved == 1 else f"{moved} bookings are"
        messages.success(request, f"{words} in your account now.")
        return SeeOther(resolve_url("bookings:list"))
