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
from backoffice.verbs.sentences import may_be_done, sentence_of
from backoffice.verbs.verb import CHANGED, Done, Plan, Shown, Verb, VerbForm
from ticketbook.errors import Refusal
from ticketbook.page_security import may_have_styles

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
        and verb.is_offered(row)
    ]


def _page(site: admin.AdminSite, verb: Verb[Any]) -> Callable[..., HttpResponse]:
    @require_http_methods(["GET", "HEAD", "POST"])
    def page(request: HttpRequest, key: UUID) -> HttpResponse:
        if not request.user.has_perm(verb.permission):
            raise PermissionDenied
        row = verb.rows().filter(pk=key).first()
        if row is None:
            raise Http404
        form, why_not = _form(verb, row, request), verb.why_not(row)
        plan = Plan() if why_not else verb.plan(row)
        form.show(plan.seen)
        answer = None
        if form.is_bound and form.is_valid():
            answer = _answer(verb, row, plan, why_not, form, request)
        if isinstance(answer, HttpResponse):
            return answer
        if answer is not None:  # as it stands after that
            row = verb.rows().get(pk=key)
            plan = Plan() if why_not else verb.plan(row)
        facts = {"original": row, "form": form, "why_not": why_not, "plan": plan}
        return _drawn(site, verb, request, facts, answer)

    return page


def _answer(
    verb: Verb[Any], row: Any, plan: Plan, why_not: str, form: VerbForm, request: HttpRequest
) -> HttpResponse | Shown | None:
    """What comes of a form that was sent well. None if nothing was done, and the page says why."""
    by: Any = request.user
    if not why_not and (shown := verb.show(row, request.POST, by=by, **form.typed)):
        return shown
    if not verb.goes_on_when_sent_again and once.was_sent(form.cleaned_data["once"]):
        messages.warning(request, SENT_BEFORE)
        return HttpResponseRedirect(page_of(row))
    return None if why_not else _done(verb, row, plan, form, request)


def _drawn(
    site: admin.AdminSite,
    verb: Verb[Any],
    request: HttpRequest,
    facts: dict[str, Any],
    shown: Shown | None,
) -> HttpResponse:
    row, form = facts["original"], facts["form"]
    context = {
        **site.each_context(request),
        "title": verb.button,
        "subtitle": str(row),
        "opts": verb.model._meta,
        "verb": verb,
        "page_of_row": page_of(row),
        **facts,
        **(shown.facts if shown else {}),
    }
    if shown and shown.said:
        messages.success(request, shown.said)
    refused = facts["why_not"] or (form.is_bound and not shown)
    page = render(request, verb.template, context, status=409 if refused else 200)
    return may_have_styles(page, shown.styles) if shown else page


def page_of(row: Any) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_change"
    return reverse(name, args=[row.pk])


def _form(verb: Verb[Any], row: Any, request: HttpRequest) -> VerbForm:
    if request.method == "POST":
        return verb.form_class(request.POST, row=row, initial=verb.initial(row))
    by_link = {name: value for name, value in request.GET.items() if name in verb.prefilled}
    return verb.form_class(row=row, initial=verb.initial(row) | by_link)


def _done(
    verb: Verb[Any], row: Any, plan: Plan, form: VerbForm, request: HttpRequest
) -> HttpResponse | Shown | None:
    """Do it once. None if it was refused; then the form says why."""
    key, seen = form.cleaned_data["once"], form.cleaned_data["seen"]
    if seen != plan.seen:
        form.add_error(None, CHANGED)
        return None
    typed = form.typed | ({"seen": seen} if plan.seen else {})
    if not verb.goes_on_when_sent_again and not once.claim(key):
        messages.warning(request, SENT_BEFORE)
        return HttpResponseRedirect(page_of(row))
    try:
        said = verb.do(row, by=request.user, **typed)  # type: ignore[arg-type]
    except (Refusal, OperationalError) as exc:
        form.add_error(None, sentence_of(exc))
        if not may_be_done(exc):
            once.release(key)
        return None
    if isinstance(said, Shown):
        return said
    done = said if isinstance(said, Done) else Done(said)
    messages.success(request, done.said)
    return HttpResponseRedirect(done.page or page_of(row))
