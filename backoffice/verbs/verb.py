"""What staff may do to a row beyond changing its texts: a page says what will happen, and a button does it.

A verb of the back office calls a verb of the core, which locks what it changes, writes down who did it and
why, and refuses with a sentence. The page is drawn anew with that sentence, and what was typed stays.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Generic, TypeVar
from uuid import uuid4

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.db.models import Model, QuerySet
from django.urls import reverse

from accounts.models import User
from ticketbook.plain_text import plain_text

Row = TypeVar("Row", bound=Model)


CHANGED = "This has changed since the page was drawn. Look at it as it is now."


class AsItIsNow(forms.HiddenInput):
    """It always draws what is there now, also in a form that was sent with something older."""

    now = ""

    def format_value(self, value: Any) -> str:
        return self.now


class VerbForm(forms.Form):
    """The form of a verb for one row. `once` lets a form that is sent twice do its work once.

    `seen` is what the page showed of the row (`Plan.seen`), so that a stale page changes nothing.
    """

    once = forms.UUIDField(initial=uuid4, widget=forms.HiddenInput)
    seen = forms.CharField(required=False, strip=False, widget=AsItIsNow)

    def __init__(self, *args: Any, row: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.row = row

    @property
    def typed(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.cleaned_data.items() if name not in {"once", "seen"}
        }

    def show(self, seen: str) -> None:
        widget: Any = self.fields["seen"].widget
        widget.now = seen


class WithReason(VerbForm):
    reason = forms.CharField(
        max_length=500,
        validators=[plain_text],
        widget=AdminTextInputWidget,
        help_text="For those who read the history.",
    )


@dataclass(frozen=True)
class Shown:
    """What the page of a verb shows after a button was pressed, instead of another page."""

    said: str = ""  # a sentence about what was done
    facts: dict[str, Any] = field(default_factory=dict)  # for the verb's template
    styles: list[str] = field(default_factory=list)  # inline styles that the page may have


@dataclass(frozen=True)
class Plan:
    """What a verb will do to a row, in sentences that the page shows above its button.

    If many rows are chosen, the first sentence is shown for each, with sums of tickets and money. A `seen`
    tells by what staff decide: a form that has seen something else is refused, and `do` gets it too.
    """

    sentences: list[str] = field(default_factory=list)
    tickets: int = 0
    money: Decimal = Decimal(0)  # that goes back
    seen: str = ""


@dataclass(frozen=True)
class Done:
    """What a verb has done, in a sentence, and the page that shows it; empty for that of the row."""

    said: str
    page: str = ""


class Verb(Generic[Row]):
    """One thing that staff do to one row of a list, with a page and a button of its own.

    A subclass says what is possible (`why_not`), what will happen (`plan`), and does it (`do`). All three get
    a row that was read by `rows`.
    """

    name: ClassVar[str]  # in its address
    button: ClassVar[str]  # what it does, as an order: "Add or remove tickets"
    model: ClassVar[Any]  # type[Model]; it has `objects`
    permission: ClassVar[str]  # as in bookings.change_booking
    form_class: ClassVar[type[VerbForm]] = WithReason
    cannot_be_undone: ClassVar[bool] = False
    in_bulk: ClassVar[bool] = False  # also an action of its list (backoffice/verbs/bulk.py)
    template: ClassVar[str] = "backoffice/verb.html"
    prefilled: ClassVar[Collection[str]] = ()  # fields that a link to the page may fill in
    # Its work has keys of its own and is done once for each. So a form that is sent again, perhaps because a
    # process has died, goes on with it, and is not held up (backoffice/verbs/once.py).
    goes_on_when_sent_again: ClassVar[bool] = False

    def rows(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = self.model.objects.all()
        return rows

    def why_not(self, row: Row) -> str:
        """A sentence that says why it cannot be done to this row now; empty if it can."""
        return ""

    def is_offered(self, row: Row) -> bool:
        """Whether the page of the row has its button. If it cannot be done, the verb's own page says why."""
        return not self.why_not(row)

    def plan(self, row: Row) -> Plan:
        return Plan()

    def initial(self, row: Row) -> dict[str, Any]:
        return {}

    def show(self, row: Row, pressed: Collection[str], *, by: User, **typed: Any) -> Shown | None:
        """What another button of the form shows; None if the verb's own was pressed.

        It does nothing to the row. `pressed` has the names of all that was sent.
        """
        return None

    def do(self, row: Row, *, by: User, **typed: Any) -> str | Done | Shown:
        """Do it, and return a sentence that says what was done, perhaps with the page that shows it.

        `typed` is what the form has cleaned. A Refusal that is raised changed nothing. What is Shown is drawn
        on the verb's own page.
        """
        raise NotImplementedError

    def do_among_many(self, row: Row, *, by: User, **typed: Any) -> str:
        """As `do`, for a row that was chosen with others."""
        said = self.do(row, by=by, **typed)
        return said if isinstance(said, str) else said.said

    @property
    def bulk_form_class(self) -> type[VerbForm]:
        """It gets no row."""
        return self.form_class

    def address(self, row: Model) -> str:
        return reverse(f"admin:{self.url_name}", args=[row.pk])

    @property
    def url_name(self) -> str:
        return f"{self.model._meta.app_label}_{self.model._meta.model_name}_{self.name}"
