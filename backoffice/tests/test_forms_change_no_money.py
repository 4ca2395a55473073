"""No form of the back office writes a counter, or a booking's money or status."""

import re
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django import forms
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from backoffice.tests.random_sales import sell_at_random
from backoffice.verbs.every import EVERY
from backoffice.verbs.verb import AsItIsNow
from bookings.models import Booking, PaymentEvent, Refund, Return
from concerts.models import Concert, TicketTier
from mail.models import Mail
from ticketbook.tests.forms import form_of
from tickets.codes import new_code
from tickets.models import Ticket

pytestmark = pytest.mark.django_db


def all_columns(model):
    return [field.attname for field in model._meta.concrete_fields]


COUNTERS = ["price", "total_quantity", "kept_back", "available_quantity"]
GUARDED = {
    TicketTier: ["concert_id", "tier_type", *COUNTERS],
    **{
        model: all_columns(model) for model in (Booking, Refund, Return, PaymentEvent, Mail, Ticket)
    },
}
VALUES = ["7", "CANCELLED", "REFUNDED", str(uuid.uuid4())]


@pytest.fixture(autouse=True)
def season():
    sell_at_random(1, now=timezone.now(), days=1, bookings=30)
    booking = Booking.objects.filter(status="CONFIRMED").first()
    Ticket.objects.create(booking=booking, number=1, code=new_code())
    PaymentEvent.objects.create(gateway="hosted", event_id="1", type="paid", alert="odd")
    Mail.objects.create(
        kind="news",
        about=booking.pk,
        key="1",
        address="ann@example.com",
        message_id="<1>",
        status="FAILED",
        last_error="no such mailbox",
    )
    Concert.objects.update(date=timezone.now() + timedelta(days=30))


def guarded():
    return {
        model: list(model.objects.order_by("pk").values_list(*columns))
        for model, columns in GUARDED.items()
    }


def inlines(model):
    """What the form shows with a row: the model of its lines, and what their names begin with."""
    shown = {inline.model for inline in admin.site._registry[model].inlines}
    for relation in model._meta.related_objects:
        if relation.related_model in shown:
            yield relation.related_model, relation.get_accessor_name()


def names_of(model):
    """Every name by which a form, or a line of a form, could write something that is guarded."""
    own = [field.name for field in model._meta.concrete_fields if field.attname in guards(model)]
    for line, prefix in inlines(model):
        names = [
            field.name for field in line._meta.concrete_fields if field.attname in guards(line)
        ]
        own += [f"{prefix}-{n}-{name}" for n in range(2) for name in names if name != "id"]
    return own


def guards(model):
    return GUARDED.get(model, [])


def lines_of(model, row):
    """Existing rows as lines that the form did not offer."""
    sent = {}
    for _, prefix in inlines(model):
        rows = list(getattr(row, prefix).all()[:2])
        sent |= {f"{prefix}-{n}-id": str(each.pk) for n, each in enumerate(rows)}
        sent |= {f"{prefix}-{name}_FORMS": str(len(rows)) for name in ("TOTAL", "INITIAL")}
    return sent


def pages():
    """The address of a row of each list, with its model."""
    for model in admin.site._registry:
        if row := model._default_manager.order_by("pk").first():
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
            yield model, row, reverse(name, args=[row.pk])


def test_no_form_has_a_field_for_what_is_guarded(admin_client):
    for model, _, url in pages():
        page = admin_client.get(url)
        if page.status_code == 200 and (form := page.context["adminform"].form).fields:
            assert not set(form.fields) & set(names_of(model)), model


def test_a_form_that_is_saved_with_every_other_column_writes_none_of_them(admin_client):
    before, saved = guarded(), set()
    for model, row, url in pages():
        page = admin_client.get(url)
        writes = page.status_code == 200 and page.context["has_change_permission"]
        usual = form_of(page, f"{model._meta.model_name}_form") if writes else {}
        for value in VALUES:
            for lines in ({}, lines_of(model, row)):
                forged = dict.fromkeys(names_of(model), value)
                answer = admin_client.post(url, forged | usual | lines | {"_save": "Save"})
                if answer.status_code == 302 and writes:
                    saved.add(model)
                assert answer.status_code < 500, url
    assert guarded() == before
    # The control: these are saved, so what was sent along was not only refused with them.
    assert saved >= {Concert, TicketTier, User}


def test_no_other_page_of_a_row_writes_what_is_guarded(admin_client):
    before = guarded()
    for model, _, url in pages():
        if model not in GUARDED:
            continue
        forged = dict.fromkeys(names_of(model), "7") | {"post": "yes"}
        for page in ("delete/", "history/"):
            admin_client.post(url.replace("change/", page), forged)
    assert guarded() == before


def test_an_action_for_rows_of_another_list_does_nothing_even_twice(admin_client, rf, admin_user):
    before, actions = guarded(), set()
    request = rf.get("/admin/")
    request.user = admin_user
    for model, listed in lists():
        others = [other for other in GUARDED if other is not model]
        chosen = [str(pk) for other in others for pk in other.objects.values_list("pk", flat=True)]
        known = set(admin.site._registry[model].get_actions(request))
        actions |= known
        for action in known | {"send_again", "delete_selected"}:
            sent = {"action": action, "_selected_action": chosen, "post": "yes"}
            for _ in range(2):
                assert admin_client.post(listed, sent).status_code < 500, listed
    assert guarded() == before
    assert actions >= {"send_again"}, "the lists have actions"


def lists():
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        yield model, reverse(name)


# --- Every address of the back office, also those of apps that are not ours ------------------------


def routes(patterns, prefix="/admin/"):
    for each in patterns:
        route = prefix + str(each.pattern)
        if hasattr(each, "url_patterns"):
            yield from routes(each.url_patterns, route)
        else:
            yield route


LEFT_OUT = {
    "/admin/logout/",  # ends the session
    "/admin/(?P<url>.*)$",  # what is no address
    "/admin/mail/mail/<id:mail_id>/send-again/",  # a button without a form: it does what it says
}


def addresses():
    """Each address of the back office, with a row of its list where it names one."""
    for route in routes(admin.site.urls[0]):
        if route in LEFT_OUT:
            continue
        if "(?P<app_label>" in route:
            yield from (
                f"/admin/{app}/" for app in {m._meta.app_label for m in admin.site._registry}
            )
        elif route.startswith("/admin/r/"):
            yield f"/admin/r/{ContentType.objects.get_for_model(Ticket).pk}/{Ticket.objects.get().pk}/"
        elif "<" not in route:
            yield route
        elif (row := row_of(route)) is not None:
            yield PARAMETER.sub(str(row.pk), route)


PARAMETER = re.compile("<[^>]+>")


def row_of(route):
    for model in admin.site._registry:
        if f"/{model._meta.app_label}/{model._meta.model_name}/" in route:
            return model._default_manager.order_by("pk").first()
    raise AssertionError(f"the test knows no row for {route}")


def every_name():
    return sorted({name for model in admin.site._registry for name in names_of(model)})


def test_no_address_of_the_back_office_writes_what_is_guarded(admin_client):
    """Every column is sent to every address. A verb does nothing for it, because its own key is missing."""
    before, answered = guarded(), Counter()
    forged = dict.fromkeys(every_name(), "7")
    for url in addresses():
        for answer in (admin_client.get(url), admin_client.post(url, forged)):
            assert answer.status_code < 500, url
            answered[answer.status_code] += 1
    assert guarded() == before
    # The control: pages were shown, and forms came back with their faults.
    assert answered[200] > 50
    assert answered[409] > len(EVERY)
    assert "/admin/auth/group/add/" in set(addresses())
    assert any("/admin/procrastinate" in url for url in addresses())


# --- The pages of verbs ---------------------------------------------------------------------------


def filled(form):
    """Something for each field of a verb's form, as far as its kind says what it takes."""
    return {name: something_for(field) for name, field in form.fields.items()}


def something_for(field):
    if isinstance(field.widget, AsItIsNow):
        return field.widget.now
    if isinstance(field, forms.UUIDField):
        return str(uuid.uuid4())
    if isinstance(field, forms.ChoiceField):
        return next((str(value) for value, _ in field.choices if value), "")
    if isinstance(field, forms.EmailField):
        return "ann@example.com"
    if isinstance(field, forms.BooleanField):
        return "on"
    return "1"


def test_the_page_of_a_verb_hands_on_its_own_fields_and_writes_nothing_itself(
    admin_client, monkeypatch
):
    before, handed_on = guarded(), {}
    for verb in EVERY:
        row = verb.rows().order_by("pk").first()
        if row is None:
            continue

        def do(row, *, by, verb=verb, **typed):
            handed_on[verb.name] = set(typed)
            return "Done."

        monkeypatch.setattr(verb, "do", do)
        monkeypatch.setattr(verb, "why_not", lambda row: "")
        form = verb.form_class(row=row, initial=verb.initial(row))
        form.show(verb.plan(row).seen)
        assert not isinstance(form, forms.BaseModelForm), verb.name
        forged = dict.fromkeys(every_name(), "7")
        for _ in range(2):
            answer = admin_client.post(verb.address(row), forged | filled(form))
            assert answer.status_code < 500, verb.name
        own = {"key" if name == "once" else name for name in form.fields}
        assert handed_on.get(verb.name, own) <= own
    assert guarded() == before
    assert set(handed_on) >= {"add-tickets", "keep-back", "give-free", "cancel", "change-address"}
