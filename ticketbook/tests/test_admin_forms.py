"""A form of the back office writes what its user changed, and nothing else."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import InlineModelAdmin
from django.contrib.auth.models import Group, Permission
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import UserFactory
from bookings.tests.racing import Stepped
from concerts.admin import TicketTierInline
from concerts.models import Concert, TicketTier
from concerts.tests.factories import ConcertFactory, TicketTierFactory
from ticketbook.admin_forms import GONE, UNKNOWN, MergingAdmin
from ticketbook.tests.forms import form_of

pytestmark = pytest.mark.django_db

BY_BOTH = "This was changed"


class Desk:
    """A member of staff with a browser of their own."""

    def __init__(self, email):
        self.user = UserFactory(email=email, is_staff=True, is_superuser=True)
        self.client = Client()
        self.client.force_login(self.user)

    def open(self, row):
        return Tab(self, row)


class Tab:
    """An open form of a row."""

    def __init__(self, desk, row):
        self.desk, model = desk, row._meta
        self.url = f"/admin/{model.app_label}/{model.model_name}/{row.pk}/change/"
        self.form_id = f"{model.model_name}_form"
        self.fields = form_of(desk.client.get(self.url), self.form_id)

    def change(self, **fields):
        """Type something else into these fields. None takes a field away, as an empty box does."""
        for name, value in fields.items():
            name = name.replace("__", "-")
            assert value is None or name in self.fields or value == "on" or isinstance(value, list)
            self.fields[name] = value if isinstance(value, list) else [value]
            if value is None:
                del self.fields[name]
        return self

    def save(self):
        response = self.desk.client.post(self.url, self.fields)
        if response.status_code == 200:  # the form has come back
            self.fields = form_of(response, self.form_id)
            self.text = response.content.decode()
        return response.status_code


@pytest.fixture
def kate():
    return Desk("kate@example.com")


@pytest.fixture
def leo():
    return Desk("leo@example.com")


@pytest.fixture
def concert():
    concert = ConcertFactory(name="Old name", description="Two\nlines")
    TicketTierFactory(concert=concert)
    return concert


@pytest.fixture(autouse=True)
def no_verb_is_left_behind():
    yield
    Stepped.release_all()


def now(row):
    row.refresh_from_db()
    return row


def last_change():
    return LogEntry.objects.filter(action_flag=CHANGE).latest("action_time").change_message


# --- Concerts -----------------------------------------------------------------------------------


def test_a_concert_that_was_called_off_is_not_published_by_an_older_form(kate, leo, concert):
    """Two forms are open; one calls the concert off, the other describes it anew."""
    begins = concert.date + timedelta(days=7)
    hers, his = kate.open(concert), leo.open(concert)
    hers.change(status="CANCELLED", date_0=str(begins.date()))
    assert hers.save() == 302
    assert his.change(description="Doors at seven.").save() == 302
    assert now(concert).status == "CANCELLED"
    assert concert.date.date() == begins.date()
    assert concert.description == "Doors at seven."
    assert last_change() == '[{"changed": {"fields": ["Description"]}}]'


def test_one_user_with_two_tabs_loses_nothing_either(kate, concert):
    first, second = kate.open(concert), kate.open(concert)
    assert first.change(status="CANCELLED").save() == 302
    assert second.change(name="New name").save() == 302
    assert (now(concert).status, concert.name) == ("CANCELLED", "New name")


def test_a_field_that_both_changed_comes_back_with_both_values(kate, leo, concert):
    hers, his = kate.open(concert), leo.open(concert)
    hers.change(name="Her name").save()
    assert his.change(name="His name", venue="His hall").save() == 200
    assert "by kate@example.com at" in his.text
    assert "Now it is: “Her name”. You typed: “His name”. Nothing was saved." in his.text
    assert (now(concert).name, concert.venue) == ("Her name", "Town Hall")
    assert his.fields["name"] == ["His name"]
    assert his.save() == 302, "who has seen both values decides"
    assert (now(concert).name, concert.venue) == ("His name", "His hall")


def test_the_form_that_comes_back_guards_against_the_next_change_too(kate, leo, concert):
    hers, his = kate.open(concert), leo.open(concert)
    hers.change(name="Her name").save()
    assert his.change(name="His name").save() == 200
    assert kate.open(concert).change(name="Her second name").save() == 302
    assert his.save() == 200
    assert "“Her second name”" in his.text
    assert now(concert).name == "Her second name"


def test_a_form_that_comes_back_shows_what_others_changed(kate, leo, concert):
    hers, his = kate.open(concert), leo.open(concert)
    hers.change(venue="Her hall").save()
    assert his.change(name="").save() == 200
    assert BY_BOTH not in his.text
    assert his.fields["venue"] == ["Her hall"]
    assert his.change(name="His name").save() == 302
    assert (now(concert).name, concert.venue) == ("His name", "Her hall")


def test_a_value_that_both_typed_is_no_conflict(kate, leo, concert):
    hers, his = kate.open(concert), leo.open(concert)
    hers.change(status="CANCELLED", sales_close_at_0="2026-01-01", sales_close_at_1="10:00").save()
    his.change(status="CANCELLED", sales_close_at_0="2026-01-01", sales_close_at_1="10:00:00")
    assert his.save() == 302
    assert last_change() == "[]"


def test_a_change_beside_the_back_office_is_seen_too(leo, concert):
    his = leo.open(concert)
    Concert.objects.update(name="New name")
    assert his.change(name="His name").save() == 200
    assert "This was changed while your form was open. Now it is: “New name”." in his.text


def test_a_form_that_changes_nothing_writes_nothing(kate, concert):
    before = Concert.objects.values().get()
    assert kate.open(concert).save() == 302
    assert Concert.objects.values().get() == before
    assert last_change() == "[]"


def test_rules_hold_for_the_changes_of_both(kate, leo, concert):
    """She moves the concert, he opens its sale on a day that was before it."""
    begins = timezone.now().replace(hour=20, minute=0, second=0, microsecond=0) + timedelta(days=9)
    hers, his = kate.open(concert), leo.open(concert)
    hers.change(date_0=str(begins.date()), date_1="20:00:00").save()
    later = str((begins + timedelta(days=3)).date())
    assert his.change(sales_open_at_0=later, sales_open_at_1="10:00:00").save() == 200
    assert "Sales must open before the concert begins." in his.text
    assert his.fields["date_0"] == [str(begins.date())], "it shows the rule's other half"
    assert now(concert).sales_open_at is None


def test_a_choice_and_a_time_are_told_in_words(kate, leo, concert):
    hers, his = kate.open(concert), leo.open(concert)
    hers.change(status="CANCELLED", date_0="2031-06-01", date_1="20:00:00").save()
    his.change(status="DRAFT", date_0="2031-06-02", date_1="20:30:00")
    assert his.save() == 200
    assert "Now it is: “Cancelled”. You typed: “Draft”." in his.text
    assert "“Sun 1 Jun 2031, 20:00 UTC”. You typed: “Mon 2 Jun 2031, 20:30 UTC”." in his.text


# --- Forms that do not say what they showed -----------------------------------------------------


def test_a_client_that_never_read_the_form_changes_what_it_sends(kate, concert):
    tab = kate.open(concert).change(_seen=None, description=None, venue="New hall")
    assert tab.save() == 302
    assert (now(concert).venue, concert.description) == ("New hall", "Two\nlines")


@pytest.mark.parametrize("seen", [None, "", "forged", "of another concert"])
def test_a_form_that_may_be_out_of_date_overwrites_nobody(kate, leo, concert, seen):
    his = leo.open(concert)
    if seen == "of another concert":
        seen = leo.open(ConcertFactory()).fields["_seen"]
    kate.open(concert).change(status="CANCELLED").save()
    assert his.change(_seen=seen, name="His name").save() == 200
    assert UNKNOWN in his.text
    assert "Now it is: “Cancelled”. You typed: “Published”." in his.text
    assert (now(concert).status, concert.name) == ("CANCELLED", "Old name")


def test_a_field_that_the_form_did_not_show_is_not_changed_by_it(kate, leo):
    """Leo becomes a superuser while his form is open. It has no groups, which does not mean: none."""
    ann = UserFactory(name="Ann")
    ann.groups.add(Group.objects.create(name="doors"))
    User.objects.filter(pk=leo.user.pk).update(is_superuser=False)
    leo.user.user_permissions.set(Permission.objects.all())
    his = leo.open(ann)
    User.objects.filter(pk=leo.user.pk).update(is_superuser=True)
    assert his.change(name="Anna").save() == 302
    assert (now(ann).name, ann.groups.count()) == ("Anna", 1)


# --- People and groups --------------------------------------------------------------------------


def test_a_deactivated_user_stays_so(kate, leo):
    ann = UserFactory(name="Ann", password="secret")
    hers, his = kate.open(ann), leo.open(ann)
    assert hers.change(is_active=None).save() == 302
    User.objects.filter(pk=ann.pk).update(password="new", last_login=timezone.now())
    assert his.change(name="Anna").save() == 302
    assert (now(ann).name, ann.is_active, ann.password) == ("Anna", False, "new")
    assert ann.last_login is not None


def test_permissions_that_both_changed_come_back_with_both_values(kate, leo):
    doors, tills = (Group.objects.create(name=name) for name in ("doors", "tills"))
    ann = UserFactory(is_staff=True)
    hers, his, mine = kate.open(ann), leo.open(ann), leo.open(ann)
    assert hers.change(groups=[str(doors.pk)]).save() == 302
    assert mine.change(name="Anna").save() == 302
    assert ann.groups.get() == doors
    assert his.change(groups=[str(tills.pk)]).save() == 200
    assert "Now it is: “doors”. You typed: “tills”." in his.text
    assert ann.groups.get() == doors


def test_a_group_keeps_the_permissions_that_it_has_now(kate, leo):
    group = Group.objects.create(name="doors")
    may = Permission.objects.first()
    hers, his = kate.open(group), leo.open(group)
    assert hers.change(permissions=[str(may.pk)]).save() == 302
    assert his.change(name="tills").save() == 302
    assert (now(group).name, group.permissions.get()) == ("tills", may)


# --- Lines of a form ----------------------------------------------------------------------------


@pytest.fixture
def editable_lines(monkeypatch):
    """Tiers that are changed and deleted in the concert's form. The site's own are only shown and added."""
    may_change = InlineModelAdmin.has_change_permission
    monkeypatch.setattr(TicketTierInline, "has_change_permission", may_change)
    monkeypatch.setattr(TicketTierInline, "can_delete", True)


def test_a_line_writes_what_was_changed_in_it(kate, leo, concert, editable_lines):
    tier = concert.ticket_tiers.get()
    hers, his = kate.open(concert), leo.open(concert)
    assert hers.change(ticket_tiers__0__price="12.50").save() == 302
    TicketTier.objects.update(available_quantity=60)
    assert his.change(ticket_tiers__0__max_per_customer="4").save() == 302
    assert (now(tier).price, tier.max_per_customer) == (Decimal("12.50"), 4)
    assert tier.available_quantity == 60


def test_a_field_of_a_line_that_both_changed_comes_back(kate, leo, concert, editable_lines):
    tier = concert.ticket_tiers.get()
    hers, his = kate.open(concert), leo.open(concert)
    hers.change(ticket_tiers__0__price="12.50").save()
    assert his.change(ticket_tiers__0__price="13", name="His name").save() == 200
    assert "by kate@example.com" in his.text
    assert "Now it is: “12.50”. You typed: “13”." in his.text
    assert (now(tier).price, now(concert).name) == (Decimal("12.50"), "Old name")
    assert his.save() == 302
    assert (now(tier).price, now(concert).name) == (Decimal("13"), "His name")


def test_a_changed_line_whose_row_is_gone_says_so(kate, leo, concert, editable_lines):
    other = TicketTierFactory(concert=concert, tier_type="VIP")
    his = leo.open(concert)
    concert.ticket_tiers.exclude(pk=other.pk).delete()
    his.change(ticket_tiers__0__price="13", ticket_tiers__1__price="14")
    assert his.save() == 200
    assert GONE in his.text
    assert his.fields["ticket_tiers-1-price"] == ["14"]
    assert his.save() == 200
    assert (TicketTier.objects.get(), now(other).price) == (other, 10)


@pytest.mark.parametrize("lines", ["editable", "as they are"])
def test_an_untouched_line_whose_row_is_gone_is_no_matter(leo, concert, lines, request):
    if lines == "editable":
        request.getfixturevalue("editable_lines")
    his = leo.open(concert)
    concert.ticket_tiers.all().delete()
    assert his.change(name="His name").save() == 302
    assert now(concert).name == "His name"
    assert not TicketTier.objects.exists()


def add_tier(tab):
    count = int(tab.fields["ticket_tiers-TOTAL_FORMS"][0])
    tab.fields["ticket_tiers-TOTAL_FORMS"] = [str(count + 1)]
    line = {"tier_type": "VIP", "price": "90", "total_quantity": "10"}
    tab.fields |= {f"ticket_tiers-{count}-{name}": [value] for name, value in line.items()}
    return tab


def test_a_line_that_both_added_is_refused_with_the_reason(kate, leo, concert):
    hers, his = kate.open(concert), leo.open(concert)
    assert add_tier(hers).save() == 302
    assert add_tier(his).change(name="His name").save() == 200
    assert "The concert has a tier of this type already." in his.text
    assert concert.ticket_tiers.count() == 2
    assert now(concert).name == "Old name"


# --- Rows that are gone, and races --------------------------------------------------------------


def test_a_row_that_was_deleted_meanwhile_is_named(kate, concert):
    tab = kate.open(concert)
    TicketTier.objects.all().delete()
    concert.delete()
    assert tab.change(name="New name").save() == 302
    assert "Perhaps it was deleted?" in kate.client.get("/admin/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_two_saves_of_one_field_at_once_cannot_both_win(kate, leo, concert):
    hers, his = kate.open(concert), leo.open(concert)
    hers.change(status="CANCELLED"), his.change(status="DRAFT", name="His name")
    TicketTier.objects.all().delete()
    first = Stepped(hers.save, after="UPDATE concerts_concert").wait_until_reached()
    second = Stepped(his.save)
    second.wait_until_blocked_by(first)
    assert first.finish() == 302
    assert second.finish() == 200
    assert (now(concert).status, concert.name) == ("CANCELLED", "Old name")


@pytest.mark.django_db(transaction=True)
def test_without_the_lock_one_of_two_saves_is_lost(kate, leo, concert, monkeypatch):
    monkeypatch.setattr(MergingAdmin, "get_object", admin.ModelAdmin.get_object)
    hers, his = kate.open(concert), leo.open(concert)
    hers.change(name="Her name"), his.change(name="His name")
    first = Stepped(hers.save, after="UPDATE concerts_concert").wait_until_reached()
    second = Stepped(his.save)
    second.wait_until_blocked_by(first)
    assert (first.finish(), second.finish()) == (302, 302)


@pytest.mark.django_db(transaction=True)
def test_a_row_that_stays_locked_is_busy(leo, concert):
    his = leo.open(concert).change(name="His name")

    def lock():
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")
        return his.save()

    first = Stepped(lambda: kate_saves(concert), after="UPDATE concerts_concert")
    first.wait_until_reached()
    second = Stepped(lock)
    second.thread.join(30)
    assert second.result == 503
    first.finish()


def kate_saves(concert):
    return Desk("kate@example.com").open(concert).change(name="Her name").save()


@pytest.mark.django_db(transaction=True)
def test_two_who_add_one_address_at_once_are_told(kate, leo):
    password = {"password1": "another sentence", "password2": "another sentence"}
    body = {"email": "eve@example.com", "name": "Eve", "usable_password": "true", **password}

    def add(desk):
        return lambda: desk.client.post("/admin/accounts/user/add/", body)

    first = Stepped(add(kate), after="INSERT INTO accounts_user").wait_until_reached()
    second = Stepped(add(leo))
    second.wait_until_blocked_by(first)
    assert first.finish().status_code == 302
    refused = second.finish()
    assert refused.status_code == 200
    assert "Somebody has signed up with this e-mail address already." in refused.content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("door", ["the page", "the list"])
def test_a_concert_that_gets_a_tier_while_it_is_deleted_stays(kate, concert, door):
    TicketTier.objects.all().delete()
    url, body = f"/admin/concerts/concert/{concert.pk}/delete/", {"post": "yes"}
    if door == "the list":
        url = "/admin/concerts/concert/"
        body |= {"action": "delete_selected", "_selected_action": [concert.pk]}
    looks = "FROM concerts_tickettier WHERE concerts_tickettier.concert_id IN"
    deleting = Stepped(lambda: kate.client.post(url, body), after=looks).wait_until_reached()
    TicketTierFactory(concert=concert)
    response = deleting.finish()
    assert response.status_code == 200
    assert "protected related objects" in response.content.decode()
    assert Concert.objects.exists()
    assert not LogEntry.objects.exists()


# --- By construction ----------------------------------------------------------------------------


def test_every_form_that_writes_merges(rf, kate):
    request = rf.get("/")
    request.user = kate.user
    for model, model_admin in admin.site._registry.items():
        if model_admin.has_add_permission(request) or model_admin.has_change_permission(request):
            assert isinstance(model_admin, MergingAdmin), model
            assert not model_admin.list_editable, (
                f"{model}: a list says nothing about what it showed"
            )
