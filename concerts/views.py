from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from concerts.sales import sales_of
from concerts.search import search
from ticketbook.copies.responses import for_all
from ticketbook.errors import BadParameter
from ticketbook.pagination import Page
from ticketbook.postgres import clock
from ticketbook.replica.reading import read

CONCERTS_PER_PAGE = 24


@require_safe
def concert_list(request: HttpRequest) -> HttpResponse:
    return read(request, lambda: _concert_list(request))


def _concert_list(request: HttpRequest) -> HttpResponse:
    now = clock.now()
    try:
        concerts = search(request.GET, now=now)
    except BadParameter as bad:
        return render(request, "concerts/list.html", {"bad": bad}, status=400)
    if not request.GET.get("dateFrom"):
        # The API lists what it is asked for; a visitor who names no date looks for something to book.
        concerts = concerts.filter(date__gt=now)
    try:
        page = Page(concerts.with_tiers(), request, keys=["date", "id"], limit=CONCERTS_PER_PAGE)
    except BadParameter:
        raise Http404 from None  # a cursor that no page of ours links to
    context = {"sales": sales_of(page.rows, now), "next_query": page.next_query}
    return for_all(render(request, "concerts/list.html", context))
