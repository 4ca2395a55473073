"""The page of a booking with its tickets, and all that is done there."""

from uuid import UUID, uuid4

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render, resolve_url
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe
from django.views.generic import FormView

from accounts.views import OUT_OF_DATE
from bookings.access import guests_too, mine_or_404
from bookings.models import Booking
from bookings.trying_again import next_try
from bookings.views import FormOfBooking, SeeOther
from ticketbook.error_handlers import answer_429
from ticketbook.errors import Throttled
from ticketbook.postgres import clock
from tickets import files, lost_mail, tokens
from tickets.again import send_again
from tickets.errors import NotConfirmed, TicketError
from tickets.forms import AgainForm, HolderForm, LostMailForm
from tickets.fulfilment import fulfil
from tickets.models import Ticket
from tickets.naming import name_holder
from tickets.story import money_there_by, story_of


@require_safe
@guests_too
def booking_page(request: HttpRequest, booking_id: UUID) -> HttpResponse:
    """One booking, and its tickets if it is confirmed."""
    return _show(request, mine_or_404(request, booking_id))


def _show(
    request: HttpRequest, booking: Booking, *, wrong: HolderForm | None = None, number: int = 0
) -> HttpResponse:
    # `wrong` is a form with errors of the ticket with this number.
    now = clock.now()
    tickets = tickets_or_none(booking)
    forms = [
        wrong if wrong and ticket.number == number else HolderForm(ticket) for ticket in tickets
    ]
    context = {
        "booking": booking,
        "can_cancel": booking.cancellable_at(now),
        "tickets": list(zip(tickets, forms, strict=True)),
        "can_name": any(ticket.nameable_at(now) for ticket in tickets),
        "again_key": uuid4(),
        "is_over": booking.is_over_at(now),
        "next_try": next_try(booking, now=now),
        "story": story_of(booking),
        "there_by": money_there_by(booking),
    }
    return render(request, "tickets/booking.html", context, status=400 if wrong else 200)


def tickets_or_none(booking: Booking) -> list[Ticket]:
    """The tickets of a booking; none if it is not confirmed."""
    try:
        return fulfil(booking, now=clock.now())
    except NotConfirmed:
        return []


class Holder(FormOfBooking):
    """Says who comes with a ticket."""

    @method_decorator(guests_too)
    def post(self, request: HttpRequest, booking_id: UUID, number: int) -> HttpResponse:
        booking = mine_or_404(request, booking_id)
        ticket = get_object_or_404(Ticket, booking=booking, number=number)
        ticket.booking = booking
        form = HolderForm(ticket, request.POST)
        if not form.is_valid():
            return _show(request, booking, wrong=form, number=number)
        try:
            name_holder(ticket, form.cleaned_data["name"], now=clock.ask())
        except TicketError as refusal:
            messages.error(request, str(refusal))
        return SeeOther(f"{_page(booking)}#ticket-{number}")


class Again(FormOfBooking):
    """Mails the tickets again."""

    @method_decorator(guests_too)
    def post(self, request: HttpRequest, booking_id: UUID) -> HttpResponse:
        booking, form = mine_or_404(request, booking_id), AgainForm(request.POST)
        key = form.cleaned_data["key"] if form.is_valid() else uuid4()
        try:
            send_again(booking, key=key)
        except (NotConfirmed, Throttled) as refusal:
            messages.error(request, str(refusal))
        else:
            messages.success(request, f"The tickets are on their way to {booking.user.email}.")
        return SeeOther(_page(booking))


def _page(booking: Booking) -> str:
    return resolve_url("bookings:detail", booking.pk)


@require_safe
@guests_too
def tickets_pdf(request: HttpRequest, booking_id: UUID) -> HttpResponse:
    return _file(request, booking_id, files.pdf_file)


@require_safe
@guests_too
def calendar(request: HttpRequest, booking_id: UUID) -> HttpResponse:
    return _file(request, booking_id, files.calendar_file)


def _file(request: HttpRequest, booking_id: UUID, make: files.Make) -> HttpResponse:
    booking = mine_or_404(request, booking_id)
    try:
        return make(booking)
    except NotConfirmed as refusal:
        messages.error(request, str(refusal))
        return SeeOther(_page(booking))


@require_safe
def ticket_page(request: HttpRequest, token: str) -> HttpResponse:
    """One ticket at an address of its own, for whoever has the address. It shows nothing of the buyer."""
    try:
        claims = tokens.verify(token)
    except tokens.BadToken:
        raise Http404 from None
    ticket = get_object_or_404(Ticket.objects.with_details(), pk=claims.ticket)
    context = {"ticket": ticket, "concert": ticket.booking.ticket_tier.concert}
    response = render(request, "tickets/ticket.html", context)
    response["X-Robots-Tag"] = "noindex"
    return response


class LostMail(FormView):  # type: ignore[type-arg]
    """Mails the links to upcoming bookings to their customer. The answer tells nobody who has an account."""

    template_name = "tickets/lost_mail.html"
    form_class = LostMailForm

    def get_initial(self) -> dict[str, object]:
        user = self.request.user
        return {"email": user.email} if user.is_authenticated else {}

    def form_valid(self, form: LostMailForm) -> HttpResponse:
        email = form.cleaned_data["email"]
        try:
            lost_mail.ask(email, self.request)
        except Throttled as throttled:
            answer_429(self.request, throttled)
            form.add_error(None, str(throttled))
            return self.form_invalid(form)
        said = f"If {email} has upcoming bookings here, a mail with links to them is on its way."
        messages.success(self.request, said)
        return SeeOther(resolve_url("lost_mail"))

    def out_of_date(self, request: HttpRequest) -> HttpResponse:
        messages.error(request, OUT_OF_DATE)
        form = LostMailForm(initial={"email": request.POST.get("email", "")})
        return self.render_to_response(self.get_context_data(form=form))
