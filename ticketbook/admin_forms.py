"""A form of the back office writes what its user changed, and nothing else.

Two members of staff may have the same form open, and each of them looks at what the row was then. So the page
says, signed, what its form showed: a digest of each field. When the form comes back, its row is locked and
read again. Then each field has three values: what was *shown*, what was *typed*, and what is there *now*.

- Typed is as shown: the user did not touch the field. It stays as it is now, whoever changed it.
- Typed differs, now is as shown: typed is written.
- All three differ: nothing is written. The form comes back with both values.

All rules are checked for the row as it will be, with the changes of both.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import cached_property, partial
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.forms.models import InlineForeignKeyField
from django.forms.utils import ErrorDict
from django.http import HttpRequest, HttpResponse
from django.utils import formats, timezone

from ticketbook.shown import Rows, Shown, digest, key_of, signed

REFUSED = "ticketbook.refused_by_the_database"

UNKNOWN = (
    "It is not known what this form showed when you opened it, and it may be out of date. Nothing was saved. "
    "Compare what you typed with what is there now, then save again."
)
GONE = "Somebody has deleted this meanwhile, so it cannot be changed. Open the page again."
TOGETHER = (
    "Somebody else has just saved something that does not go together with this. Nothing was saved. Open the "
    "page again to see what is there now."
)


# --- Forms --------------------------------------------------------------------------------------


class MergedField(forms.BoundField):
    def value(self) -> Any:
        form: Any = self.form
        if form.is_bound and form.keeps(self.name):
            return self.field.prepare_value(self.initial)
        return super().value()


class MergingForm(forms.ModelForm):
    """Merges what its user changed into the row as it is now. `shown` is set by MergingAdmin."""

    shown: Shown
    bound_field_class = MergedField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_of_a_row = not self.instance._state.adding
        self._row = self._columns()

    def _columns(self) -> dict[str, Any]:
        row, fields = self.instance, self.instance._meta.concrete_fields
        return {field.name: getattr(row, field.attname) for field in fields if not field.generated}

    @cached_property
    def _row_fields(self) -> list[str]:
        """The fields of the form that a row shows and the user can change."""
        model = self.instance._meta
        names = {field.name for field in [*model.concrete_fields, *model.many_to_many]}
        return [
            name
            for name, field in self.fields.items()
            if name in names - {model.pk.name}
            and not field.disabled
            and not isinstance(field, InlineForeignKeyField)
        ]

    @cached_property
    def now(self) -> dict[str, str]:
        """A digest of each field of the row."""
        fields = ((name, self.fields[name]) for name in self._row_fields)
        return {
            name: digest(field, self.get_initial_for_field(field, name)) for name, field in fields
        }

    @cached_property
    def _typed(self) -> dict[str, str]:
        """A digest of each field that was sent."""
        return {
            name: digest(self.fields[name], self[name].data)
            for name in self._row_fields
            if not self.fields[name].widget.value_omitted_from_data(
                self.data, self.files, self.add_prefix(name)
            )
        }

    @cached_property
    def _shown(self) -> dict[str, str] | None:
        """A digest of each field that was shown; None if that is unknown."""
        if self.shown.claims_nothing:
            return self.now
        return self.shown.of(type(self.instance), self.instance.pk)

    @cached_property
    def _values_now(self) -> dict[str, Any]:
        # Read before Django puts what was typed into the instance.
        many = {field.name for field in self.instance._meta.many_to_many}
        return {
            name: self.initial[name] if name in many else getattr(self.instance, name)
            for name in self._row_fields
        }

    def is_mine(self, name: str) -> bool:
        """Whether the user changed this field of the row. A field that was not shown was not changed."""
        shown = self.now if self._shown is None else self._shown
        return name in shown and name in self._typed and self._typed[name] != shown[name]

    def keeps(self, name: str) -> bool:
        """Whether the field stays as it is now."""
        if not self._is_of_a_row or name not in self._row_fields:
            return False
        return not self.is_mine(name) or self._typed.get(name) == self.now[name]

    def _is_changed_by_both(self, name: str) -> bool:
        return not self.keeps(name) and (
            self._shown is None or self._shown.get(name) != self.now[name]
        )

    @cached_property
    def changed_data(self) -> list[str]:
        changed = []
        for name, field in self.fields.items():
            if self._is_of_a_row and name in self._row_fields:
                is_changed = not self.keeps(name)
            else:
                is_changed = field.has_changed(self[name].initial, self[name].data)
            changed += [name] * is_changed
        return changed

    def full_clean(self) -> None:
        if self.is_bound and (gone := self._key_of_what_is_gone()):
            self._errors, self.cleaned_data = ErrorDict(renderer=self.renderer), {}
            if self._typed != self.shown.of(type(self.instance), gone):
                self.add_error(None, ValidationError(GONE, code="gone"))
            return
        super().full_clean()
        if self.is_bound and self._is_of_a_row:
            for name in filter(self._is_changed_by_both, self._row_fields):
                self.add_error(name, self._both_values(name))
        if self.is_bound and not self.prefix:  # for the whole page
            if self.shown.is_unknown:
                self.add_error(None, ValidationError(UNKNOWN, code="unknown"))
            elif not self.errors and (refused := self.shown.request.META.get(REFUSED)):
                self.add_error(None, ValidationError(refused, code="refused"))

    def _key_of_what_is_gone(self) -> str:
        """The key that a line of a formset has sent for a row, if there is no such row."""
        key = self.instance._meta.pk.name
        is_line_of_a_row = key in self.fields and self.fields[key].required
        if self._is_of_a_row or not is_line_of_a_row:
            return ""
        return self.data.get(self.add_prefix(key)) or "?"

    def _clean_fields(self) -> None:
        values_now = self._values_now if self._is_of_a_row else {}
        for name, field in self.fields.items():
            try:
                if self.keeps(name):
                    value = values_now[name]
                else:
                    value = field.clean(self[name].initial if field.disabled else self[name].data)
                self.cleaned_data[name] = value
                if clean := getattr(self, f"clean_{name}", None):
                    self.cleaned_data[name] = clean()
            except ValidationError as exc:
                self.add_error(name, exc)

    def _both_values(self, name: str) -> ValidationError:
        label = str(self.fields[name].label or name)
        return ValidationError(
            "This was changed%(by)s while your form was open. Now it is: %(now)s. You typed: %(mine)s. "
            "Nothing was saved. To write what you typed over it, save again.",
            code="changed_meanwhile",
            params={
                "by": self.shown.changed_by(label, in_a_line=bool(self.prefix)),
                "now": self._in_words(name, self._values_now[name]),
                "mine": self._in_words(name, self.cleaned_data.get(name, self[name].data)),
            },
        )

    def _in_words(self, name: str, value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, datetime):
            local = timezone.localtime(value)
            return f"{formats.date_format(local, 'j M Y, H:i:s')} ({local:%Z})"
        if isinstance(value, Iterable) and not isinstance(value, str):
            value = ", ".join(map(str, value))
        choices = dict(self.instance._meta.get_field(name).flatchoices)
        text = str(choices.get(value, "" if value is None else value))
        return f"“{text}”" if text else "nothing"

    @property
    def changed_columns(self) -> list[str]:
        """What differs from the row as it was read under the lock, and the time of the change."""
        now = self._columns()
        changed = [name for name, value in now.items() if value != self._row[name]]
        if changed:
            fields = self.instance._meta.concrete_fields
            changed += [field.name for field in fields if getattr(field, "auto_now", False)]
        return changed

    def save(self, commit: bool = True) -> Any:
        row = super().save(commit and not self._is_of_a_row)
        if commit and self._is_of_a_row:
            row.save(update_fields=self.changed_columns)
            self.save_m2m()
        return row


def merging(form: type[forms.ModelForm], shown: Shown) -> type[MergingForm]:
    bases = (form,) if issubclass(form, MergingForm) else (MergingForm, form)
    return type(form.__name__, bases, {"shown": shown})


# --- The back office ----------------------------------------------------------------------------


class MergingAdmin(admin.ModelAdmin):
    """Every ModelAdmin with a form that writes is one of these; its inlines merge too.

    A list that is edited in place (`list_editable`) says nothing about what it showed, so there is none.
    """

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> models.Model | None:
        row = super().get_object(request, object_id, from_field)
        # Forms are saved in a transaction. A view that only shows something has none, whatever the method.
        if (
            row is None
            or request.method != "POST"
            or not transaction.get_connection().in_atomic_block
        ):
            return row
        # NO KEY, so that bookings may still refer to the row. After the wait it is read as it is then.
        rows = self.get_queryset(request).select_for_update(of=("self",), no_key=True)
        return rows.filter(pk=row.pk).first()

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[MergingForm]:
        form = super().get_form(request, obj, change=change, **kwargs)
        return merging(form, Shown(request, obj))

    def get_formsets_with_inlines(self, request: HttpRequest, obj: Any = None) -> Iterator[Any]:
        is_new = obj is None or obj._state.adding
        shown = Shown(request, None if is_new else obj)
        for formset, inline in super().get_formsets_with_inlines(request, obj):
            formset.form = merging(formset.form, shown)
            yield formset, inline

    def get_formset_kwargs(
        self, request: HttpRequest, obj: Any, inline: Any, prefix: str
    ) -> dict[str, Any]:
        kwargs = super().get_formset_kwargs(request, obj, inline, prefix)
        writes = inline.has_change_permission(request, obj) or inline.has_delete_permission(
            request, obj
        )
        if request.method == "POST" and writes:
            # In primary-key order, so that two transactions cannot deadlock.
            rows = kwargs["queryset"].order_by("pk")
            kwargs["queryset"] = rows.select_for_update(of=("self",), no_key=True)
        return kwargs

    def get_inline_formsets(
        self, request: HttpRequest, formsets: list[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        for formset in formsets:
            # Django pairs lines with rows by their order, which is not right any more if a row is gone.
            if formset.is_bound:
                formset.get_queryset = partial(
                    list, [form.instance for form in formset.initial_forms]
                )
        return super().get_inline_formsets(request, formsets, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            obj.save(update_fields=form.changed_columns)
        else:
            super().save_model(request, obj, form, change)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if context["original"] is not None:
            lines = (
                form
                for inline in context["inline_admin_formsets"]
                if inline.has_change_permission
                for form in inline.formset.initial_forms
            )
            rows: Rows = {}
            for form in [context["adminform"].form, *lines]:
                if not form.instance._state.adding:
                    key = key_of(type(form.instance), form.instance.pk)
                    rows.setdefault(key, {}).update(form.now)
            context["seen"] = signed(rows)
        return super().render_change_form(request, context, *args, **kwargs)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except IntegrityError as exc:
            # Nothing was saved. Now the form sees what somebody else has committed meanwhile.
            request.META[REFUSED] = self._sentence(exc)
            return super().changeform_view(request, *args, **kwargs)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, Any, Any]:
        deleted, counts, perms_needed, protected = super().get_deleted_objects(objs, request)
        # Where rows protect these, Django would say that a permission is missing to delete those rows too.
        return deleted, counts, set() if protected else perms_needed, protected

    def delete_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return at_second_sight(super().delete_view, *args, **kwargs)

    def changelist_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return at_second_sight(super().changelist_view, *args, **kwargs)

    def _sentence(self, exc: IntegrityError) -> str:
        broken = getattr(getattr(exc.__cause__, "diag", None), "constraint_name", None)
        for model in [self.model, *(inline.model for inline in self.inlines)]:
            for constraint in model._meta.constraints:
                if constraint.name == broken:
                    return str(constraint.get_violation_error_message())
        return TOGETHER


def at_second_sight(view: Callable[..., HttpResponse], *args: Any, **kwargs: Any) -> HttpResponse:
    """A view that deletes rows. If something refers to them since a moment ago, its second answer says so."""
    try:
        with transaction.atomic():
            return view(*args, **kwargs)
    except IntegrityError:
        with transaction.atomic():
            return view(*args, **kwargs)
