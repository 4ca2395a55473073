"""The page of a concert with the form that books it, and the part of it that asks what is left."""

from collections.abc import Mapping
from uuid import UUID

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from bookings.forms import form_class, new_form, read_seen, tier_chosen
from bookings.on_offer import sale_of
from bookings.seen import Change, Seen
from concerts.models import Concert
from ticketbook.copies.responses import for_all, is_stranger, render_for_strangers
from ticketbook.replica.reading import read

CONCERT_PAGE = "bookings/concert.html"


@require_safe
def concert_page(request: HttpRequest, concert_id: UUID) -> HttpResponse:
    """A concert with the form that books it.

    The browser may cache this page: going back has to show the same idempotency key.
    """
    if is_stranger(request) and not request.GET:
        return read(request, lambda: _concert_page(request, concert_id))
    return _concert_page(request, concert_id)


def _concert_page(request: HttpRequest, concert_id: UUID) -> HttpResponse:
    concert = Concert.objects.announced().with_tiers().filter(pk=concert_id).first()
    if concert is None and may_see_drafts(request):
        return _draft(request, concert_id)
    if concert is None:
        if "tier" in request.GET:  # somebody who chose a ticket here, and then logged in
            return gone(request, status=404)
        raise Http404
    sale = sale_of(concert, request.user)
    form = new_form(sale, chosen=request.GET, cls=form_class(request))
    context = {"sale": sale, "form": form}
    if request.GET:
        context["changes"] = _changes_since_chosen(concert, request.GET)
    if is_stranger(request) and not request.GET:
        return render_for_strangers(request, CONCERT_PAGE, context)
    return render(request, CONCERT_PAGE, context)


def may_see_drafts(request: HttpRequest) -> bool:
    return request.user.is_staff and request.user.has_perm("concerts.view_concert")


def _draft(request: HttpRequest, concert_id: UUID) -> HttpResponse:
    # What staff see of a concert before they publish it. It has no form, and nobody keeps it.
    concert = get_object_or_404(Concert.objects.with_tiers(), pk=concert_id)
    response = render(request, CONCERT_PAGE, {"sale": sale_of(concert)})
    response["Cache-Control"] = "no-store"
    return response


@require_safe
def whats_left(request: HttpRequest, concert_id: UUID) -> HttpResponse:
    """What is left of each tier, as a part of the concert's page, which asks for it again and again.

    It is the same for everybody, and has an ETag, so it is answered from copies, mostly by a 304.
    """

    def left() -> HttpResponse:
        concert = get_object_or_404(Concert.objects.announced().with_tiers(), pk=concert_id)
        return for_all(render(request, "bookings/left.html", {"sale": sale_of(concert)}))

    return read(request, left)


def gone(request: HttpRequest, *, name: str | None = None, status: int) -> HttpResponse:
    # Instead of a concert that was deleted, or that staff have hidden.
    return render(request, "bookings/gone.html", {"name": name}, status=status)


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
