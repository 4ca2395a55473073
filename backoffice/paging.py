"""Lists that stay quick on a million rows: they count no further than people look, and read what is shown."""

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.text import capfirst

from backoffice.lists import LISTS

MOST = 10_000  # rows of a list that can be reached page by page; further ones by search and filters


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts up to MOST rows. To count a million of them takes longer than to show a page."""

    @cached_property
    def _counted(self) -> int:
        rows: Any = self.object_list
        if not hasattr(rows, "query"):
            return len(rows)
        # The order does not change the number, and without it no row has to be sorted.
        counted: int = rows.order_by()[: MOST + 1].count()
        return counted

    @property
    def count(self) -> int:
        return min(self._counted, MOST)

    @property
    def is_capped(self) -> bool:
        return self._counted > MOST


class QuickList(ChangeList):
    """A list of the admin. `list_unread` of its ModelAdmin names columns that its rows do not need.

    If it has a method `with_figures`, that gets the rows of the page, and adds what columns of it show.
    """

    def __init__(self, request: HttpRequest, *args: Any, **options: Any) -> None:
        super().__init__(request, *args, **options)
        if not self.is_popup:
            words = LISTS.get(self.model._meta.label)
            name = words.name if words else ""
            self.title = name or str(capfirst(self.opts.verbose_name_plural))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: Any = self.result_list
        if not self.result_count:
            self.result_list = rows.none()  # the count has looked at everything already
            return
        if self.page_num > 1:
            # Otherwise the database would join the other tables to all rows of the pages before.
            keys = list(rows.values_list("pk", flat=True))
            rows = self.queryset.filter(pk__in=keys)
        self.result_list = rows.defer(*getattr(self.model_admin, "list_unread", ()))
        if add_figures := getattr(self.model_admin, "with_figures", None):
            self.result_list = add_figures(list(self.result_list), request)

    @property
    def is_narrowed(self) -> bool:
        """Whether it shows some of the rows only, by a search or a filter."""
        return bool(self.query or self.filter_params)
