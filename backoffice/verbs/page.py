"""The page of a verb (backoffice/verbs/verb.py)."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_http_methods

from backoffice.verbs import once
from backoffice.verbs.verb import CHANGED, Plan, Verb, VerbForm
from ticketbook.errors import Refusal
from ticketbook.postgres.failures import is_broken, is_busy, is_lock_timeout

BUSY = "Somebody else is changing this at the moment, so nothing was done. Try again."
LOST = (
    "The database was lost meanwhile, and what you asked for may have been done. Look at it before you try "
    "again."
)
SENT_BEFORE = (
    "This form was sent before, and what it asks for is done once. This is how it stands now."
)


def paths_of(site: admin.AdminSite) -> list[URLPattern]:
    from backoffice.verbs.every import EVERY  # it imports the models

    return [
        path(
            f"{verb.model._meta.app_label}/{verb.model._meta.model_name}/<uuid:key>/{verb.name}/",
            site.admin_view(_page(site, verb)),
            name=verb.url_name,
        )
        for verb in EVERY
    ]


def verbs_for(request: HttpRequest, row: Any) -> list[Verb[Any]]:
    """The verbs that this member of staff may use on the row now, for the buttons of its page."""
    from backoffice.verbs.every import EVERY

    return [
        verb
        for verb in EVERY
        if type(row) is verb.model
        and request.user.has_perm(verb.permission)
        and not verb.why_not(row)
    ]


def _page(site: admin.AdminSite, verb: Verb[Any]) -> Callable[..., HttpResponse]:
    @require_http_methods(["GET", "HEAD", "POST"])
    def page(request: HttpRequest, key: UUID) -> HttpResponse:
        if not request.user.has_perm(verb.permission):
            raise PermissionDenied
        row = verb.rows().filter(pk=key).first()
        if row is None:
            raise Http404
        form = _form(verb, row, request)
        why_not = verb.why_not(row)
        plan = Plan() if why_not else verb.plan(row)
        form.show(plan.seen)
        if form.is_bound and form.is_valid():
            if once.was_sent(form.cleaned_data["once"]):
                messages.warning(request, SENT_BEFORE)
                return HttpResponseRedirect(page_of(row))
            if not why_not and (answer := _done(verb, row, plan, form, request)):
                return answer
        context = {
            **site.each_context(request),
            "title": verb.button,
            "subtitle": str(row),
            "opts": verb.model._meta,
            "original": row,
            "verb": verb,
            "form": form,
            "why_not": why_not,
            "plan": plan,
            "page_of_row": page_of(row),
        }
        refused = form.is_bound or why_not
        return render(request, "backoffice/verb.html", context, status=409 if refused else 200)

    return page


def page_of(row: Any) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return reverse(name, args=[row.pk])


def _form(verb: Verb[Any], row: Any, request: HttpRequest) -> VerbForm:
    if request.method == "POST":
        return verb.form_class(request.POST, row=row, initial=verb.initial(row))
    return verb.form_class(row=row, initial=verb.initial(row))


def _done(
    verb: Verb[Any], row: Any, plan: Plan, form: VerbForm, request: HttpRequest
) -> HttpResponse | None:
    """Do it once. None if it was refused; then the form says why."""
    key, seen = form.cleaned_data["once"], form.cleaned_data["seen"]
    if seen != plan.seen:
        form.add_error(None, CHANGED)
        return None
    typed = form.typed | ({"seen": seen} if plan.seen else {})
    if not once.claim(key):
        messages.warning(request, SENT_BEFORE)
        return HttpResponseRedirect(page_of(row))
    try:
        said = verb.do(row, by=request.user, **typed)  # type: ignore[arg-type]
    except (Refusal, OperationalError) as exc:
        form.add_error(None, sentence_of(exc))
        if not _may_be_done(exc):
            once.release(key)
        return None
    messages.success(request, said)
    return HttpResponseRedirect(page_of(row))


def sentence_of(exc: Refusal | OperationalError) -> str:
    """What staff are told of a verb that failed. Raises what is a fault of ours."""
    if isinstance(exc, Refusal):
        return str(exc)
    if is_broken(exc) or not is_busy(exc):
        raise exc
    return LOST if _may_be_done(exc) else BUSY


def _may_be_done(exc: Exception) -> bool:
    return isinstance(exc, OperationalError) and not is_lock_timeout(exc)
