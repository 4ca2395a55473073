"""A verb for many rows of a list: an action leads to a page that says what will happen to each, or why not.

That page is computed by the verb's own `plan` and `why_not`, row by row. What it showed comes back with the
form, so a row that has changed meanwhile is left as it is. Each row is a transaction of its own, and the last
page says what became of each.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import URLPattern, path, reverse

from backoffice.verbs import once
from backoffice.verbs.page import SENT_BEFORE, page_of
from backoffice.verbs.sentences import LOST, sentence_of
from backoffice.verbs.verb import CHANGED, Plan, Verb, VerbForm
from ticketbook.errors import Refusal

MOST = 200  # rows at once
TOO_MANY = f"Choose {MOST} rows at most, and do the others after them."
NOT_HERE = "This is no row of this list."
NOT_TRIED = "Nothing was done, because the database was lost before its turn."


@dataclass(frozen=True)
class Line:
    """A row with what will happen to it, or has happened. `row` is None for a key that is no row's."""

    key: UUID
    row: Any
    says: str
    is_good: bool
    plan: Plan | None = None

    @property
    def page(self) -> str:
        return page_of(self.row)


def verbs_of(model: Any) -> list[Verb[Any]]:
    from backoffice.verbs.every import EVERY  # it imports the models

    return [verb for verb in EVERY if verb.in_bulk and verb.model is model]


def options_of(model: Any, admin_class: Any) -> dict[str, Any]:
    """What a ModelAdmin needs for the actions of its list."""
    verbs = verbs_of(model)
    if not verbs:
        return {}
    may: dict[str, Any] = {f"has_{_name(verb)}_permission": _may(verb) for verb in verbs}
    return may | {"actions": [*(admin_class.actions or ()), *map(_action, verbs)]}


def _name(verb: Verb[Any]) -> str:
    return verb.name.replace("-", "_")


def _may(verb: Verb[Any]) -> Callable[..., bool]:
    return lambda model_admin, request: bool(request.user.has_perm(verb.permission))


def _action(verb: Verb[Any]) -> Callable[..., Any]:
    def action(model_admin: Any, request: HttpRequest, queryset: Any) -> HttpResponse | None:
        keys = list(queryset.order_by().values_list("pk", flat=True)[: MOST + 1])
        if len(keys) > MOST:
            messages.error(request, TOO_MANY)
            return None
        form = verb.bulk_form_class(row=None)
        return _ask(model_admin.admin_site, verb, request, _plans(verb, keys), form)

    action.__name__ = _name(verb)
    return admin.action(action, permissions=[_name(verb)], description=f"{verb.button}…")


def paths_of(site: admin.AdminSite) -> list[URLPattern]:
    from backoffice.verbs.every import EVERY

    return [
        path(
            f"{verb.model._meta.app_label}/{verb.model._meta.model_name}/many/{verb.name}/",
            site.admin_view(_page(site, verb)),
            name=f"{verb.url_name}_many",
        )
        for verb in EVERY
        if verb.in_bulk
    ]


def _page(site: admin.AdminSite, verb: Verb[Any]) -> Callable[..., HttpResponse]:
    def page(request: HttpRequest) -> HttpResponse:
        if not request.user.has_perm(verb.permission):
            raise PermissionDenied
        keys = _keys(request.POST.getlist("row"))
        if not keys or len(keys) > MOST:
            messages.error(request, TOO_MANY if keys else "Choose some rows of the list first.")
            return HttpResponseRedirect(_list_of(verb))
        form = verb.bulk_form_class(request.POST, row=None)
        if not form.is_valid():
            return _ask(site, verb, request, _plans(verb, keys), form, status=409)
        if not once.claim(form.cleaned_data["once"]):
            messages.warning(request, SENT_BEFORE)
            return HttpResponseRedirect(_list_of(verb))
        lines = _do(verb, keys, request.POST, by=request.user, **form.typed)
        return _show(site, verb, request, "backoffice/bulk_done.html", lines)

    return page


def _keys(typed: Iterable[str]) -> list[UUID]:
    keys = []
    for text in dict.fromkeys(typed):
        try:
            keys.append(UUID(text))
        except ValueError:
            continue
    return keys


def _list_of(verb: Verb[Any]) -> str:
    return reverse(f"admin:{verb.model._meta.app_label}_{verb.model._meta.model_name}_changelist")


def _plans(verb: Verb[Any], keys: Iterable[UUID]) -> list[Line]:
    return [_plan(verb, key, row) for key, row in _rows(verb, keys).items()]


def _rows(verb: Verb[Any], keys: Iterable[UUID]) -> dict[UUID, Any]:
    found = verb.rows().in_bulk(list(keys))
    return {key: found.get(key) for key in sorted(keys, reverse=True)}


def _plan(verb: Verb[Any], key: UUID, row: Any) -> Line:
    if row is None:
        return Line(key, None, NOT_HERE, is_good=False)
    if why_not := verb.why_not(row):
        return Line(key, row, why_not, is_good=False)
    plan = verb.plan(row)
    return Line(key, row, plan.sentences[0], is_good=True, plan=plan)


def _do(verb: Verb[Any], keys: Iterable[UUID], sent: Mapping[str, str], **typed: Any) -> list[Line]:
    lines: list[Line] = []
    lost = False
    for key, row in _rows(verb, keys).items():
        if lost:
            lines.append(Line(key, row, NOT_TRIED, is_good=False))
            continue
        try:
            lines.append(_do_one(verb, key, row, sent.get(f"seen-{key}", ""), **typed))
        except OperationalError:
            lost = True
            lines.append(Line(key, row, LOST, is_good=False))
    return lines


def _do_one(verb: Verb[Any], key: UUID, row: Any, seen: str, **typed: Any) -> Line:
    line = _plan(verb, key, row)
    if line.plan is None:
        return line
    if line.plan.seen:
        typed["seen"] = seen
    if line.plan.seen != seen:
        return Line(key, row, f"Nothing was done. {CHANGED}", is_good=False)
    try:
        return Line(key, row, verb.do_among_many(row, **typed), is_good=True)
    except (Refusal, OperationalError) as exc:
        return Line(key, row, sentence_of(exc), is_good=False)


def _ask(
    site: admin.AdminSite,
    verb: Verb[Any],
    request: HttpRequest,
    lines: list[Line],
    form: VerbForm,
    status: int = 200,
) -> HttpResponse:
    plans = [line.plan for line in lines if line.plan]
    facts = {
        "form": form,
        "money": sum((plan.money for plan in plans), Decimal(0)),
        "tickets": sum(plan.tickets for plan in plans),
        "address": reverse(f"admin:{verb.url_name}_many"),
    }
    return _show(site, verb, request, "backoffice/bulk.html", lines, status=status, **facts)


def _show(
    site: admin.AdminSite,
    verb: Verb[Any],
    request: HttpRequest,
    template: str,
    lines: list[Line],
    *,
    status: int = 200,
    **facts: Any,
) -> HttpResponse:
    context = {
        **site.each_context(request),
        "title": verb.button,
        "opts": verb.model._meta,
        "verb": verb,
        "lines": lines,
        "good": sum(line.is_good for line in lines),
        "list": _list_of(verb),
        **facts,
    }
    return render(request, template, context, status=status)
