"""Django's admin, grouped by what people do, with a first page of its own."""

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.text import slugify

from backoffice.lists import FOR_SUPERUSERS, GROUPS, List
from backoffice.paging import CappedPaginator, QuickList
from ticketbook.replica.reading import read, show_fresh_to


def _named(entry: dict[str, Any], words: List) -> dict[str, Any]:
    return entry | {"name": words.name or entry["name"]}


class ForSuperusers:
    """Nobody else sees the list or a row. What may be deleted is left to the class that it is mixed into."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_active and request.user.is_superuser)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_module_permission(request)


PATIENCE = 5.0  # seconds for a statement to the replica: a list of a million rows takes one


def _may_be_read_from_the_replica(admin_class: Any) -> Callable[..., HttpResponse]:
    # Of the lists only. The forms of rows, and whatever is sent, are the primary's.
    def changelist_view(self: Any, request: HttpRequest, extra: Any = None) -> HttpResponse:
        def drawn() -> HttpResponse:
            response: HttpResponse = admin_class.changelist_view(self, request, extra)
            # Its rows are read when it is drawn.
            return response.render() if isinstance(response, TemplateResponse) else response

        return read(request, drawn, patience=PATIENCE)

    return changelist_view


NEEDS_YOU = "Needs you"


class BackOffice(admin.AdminSite):
    site_header = site_title = "TicketBook back office"
    index_title = "Concerts, bookings and people"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """As Django does. Every list is paged and filtered so that it is quick on a million rows."""
        models: Any = model_or_iterable
        if isinstance(models, type):
            models = [models]
        for model in models:
            given = admin_class or admin.ModelAdmin
            if model._meta.label in FOR_SUPERUSERS:
                given = type(given.__name__, (ForSuperusers, given), {})
            super().register(model, given, **self._quick(model, given) | options)

    def _quick(self, model: Any, admin_class: Any) -> dict[str, Any]:
        from backoffice.needs import NeedsFilter, needs_of  # it imports the models
        from backoffice.verbs import bulk

        first = [NeedsFilter] if needs_of(model) else []
        return {
            "get_changelist": lambda self, request, **options: QuickList,
            "changelist_view": _may_be_read_from_the_replica(admin_class),
            "paginator": CappedPaginator,
            "list_per_page": 50,
            "show_full_result_count": False,
            "show_facets": admin.ShowFacets.NEVER,
            "list_filter": [*first, *admin_class.list_filter],
            **bulk.options_of(model, admin_class),
        }

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        inner = super().admin_view(view, cacheable)

        def seeing_what_they_did(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            response: HttpResponse = inner(request, *args, **kwargs)
            if request.method == "POST":
                show_fresh_to(response)
            return response

        return update_wrapper(seeing_what_they_did, view)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        from backoffice import calling_off_page, printing
        from backoffice.verbs import bulk
        from backoffice.verbs.page import paths_of
        from backoffice.views import sells_now

        return [
            *paths_of(self),
            *bulk.paths_of(self),
            *printing.paths_of(self),
            *calling_off_page.paths_of(self),
            path("sells-now/", self.admin_view(sells_now), name="sells_now"),
            *super().get_urls(),
        ]

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        from backoffice.views import first_page

        # The needs are on the page itself, so they are not among its lists.
        lists = [group for group in self.get_app_list(request) if group["name"] != NEEDS_YOU]
        figures = read(request, lambda: first_page(self, request), patience=PATIENCE)
        context = {"app_list": lists} | figures | (extra_context or {})
        return super().index(request, context)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """The groups of backoffice/lists.py, in Django's form of a list of apps."""
        if app_label:
            return super().get_app_list(request, app_label)
        found = {
            entry["model"]._meta.label: entry
            for app in self._build_app_dict(request).values()
            for entry in app["models"]
        }
        groups = [self._group(NEEDS_YOU, self._needs(request))]
        for name, lists in GROUPS.items():
            entries = [_named(found.pop(each.model), each) for each in lists if each.model in found]
            groups.append(self._group(name, entries))
        groups.append(self._group("Others", list(found.values())))
        return [group for group in groups if group["models"]]

    def _group(self, name: str, entries: list[Any]) -> dict[str, Any]:
        return {
            "name": name,
            "app_label": slugify(name),
            "app_url": reverse("admin:index", current_app=self.name),
            "has_module_perms": True,
            "models": entries,
        }

    def _needs(self, request: HttpRequest) -> list[Any]:
        from backoffice.needs import needs_for

        return [
            {
                "name": need.title,
                "object_name": need.name,
                "admin_url": need.url,
                "add_url": None,
                "view_only": True,
            }
            for need in needs_for(self, request)
        ]
