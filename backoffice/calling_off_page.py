"""The page of a concert that was called off: how much money and how many mails are sent, and what is left."""

from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from backoffice.calling_off import progress
from backoffice.parts import part
from backoffice.verbs.page import page_of
from concerts.models import Concert

MAY_SEE = ["concerts.view_concert", "bookings.view_booking"]


def paths_of(site: admin.AdminSite) -> list[URLPattern]:
    begin = "concerts/concert/<uuid:key>/calling-off/"
    return [
        path(begin, site.admin_view(partial(_page, site)), name="calling_off"),
        path(f"{begin}progress/", site.admin_view(_part), name="calling_off_progress"),
    ]


@require_safe
def _part(request: HttpRequest, key: UUID) -> HttpResponse:
    return part(request, "backoffice/_calling_off.html", _context(request, key))


def _page(site: admin.AdminSite, request: HttpRequest, key: UUID) -> HttpResponse:
    context = _context(request, key)
    concert = context["original"]
    more = {
        **site.each_context(request),
        "title": "Called off",
        "subtitle": str(concert),
        "opts": Concert._meta,
        "page_of_row": page_of(concert),
    }
    return render(request, "backoffice/calling_off.html", context | more)


def _context(request: HttpRequest, key: UUID) -> dict[str, Any]:
    if not request.user.has_perms(MAY_SEE):
        raise PermissionDenied
    concert = Concert.objects.filter(pk=key, status=Concert.Status.CANCELLED).first()
    if concert is None:
        raise Http404
    return {"original": concert, "progress": progress(concert)}
