"""Guests are users without an account. A look-up by address finds the account only."""

import io

import pytest
from django.contrib.auth import authenticate
from django.core import serializers
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction

from accounts.models import User
from accounts.new_address import ask_for_address
from accounts.new_password import may_reset
from accounts.signup import EmailTaken, sign_up
from accounts.tests.factories import UserFactory
from mail.composing import compose
from mail.models import Mail
from mail.outbox import post

pytestmark = pytest.mark.django_db

EMAIL, PASSWORD = "ann@example.com", "correct horse"


@pytest.fixture
def guest():
    return UserFactory(email=EMAIL, name="Ann", is_guest=True)


def refused(rule, **fields):
    with pytest.raises(IntegrityError, match=rule), transaction.atomic():
        UserFactory(**fields)


def test_an_address_is_one_guest_and_one_account(guest):
    account = UserFactory(email=EMAIL)
    refused("guest_email_unique", email="ANN@example.com", is_guest=True)
    refused("user_email_unique", email="Ann@Example.com")
    assert User.objects.get(email=EMAIL) == account
    assert set(User.objects.filter(email=EMAIL)) == {guest, account}


@pytest.mark.parametrize(
    "power", [{"is_staff": True}, {"is_superuser": True}, {"password": "md5$salt$hash"}]
)
def test_the_database_refuses_a_guest_with_power_or_password(power):
    refused("guest_cannot_log_in", is_guest=True, **power)


def test_tags_behind_a_plus_make_another_address(guest):
    assert UserFactory(email="ann+music@example.com", is_guest=True) != guest


def test_a_guest_cannot_log_in_and_is_no_obstacle_for_sign_up(guest):
    assert authenticate(None, username=EMAIL, password=PASSWORD) is None
    account = sign_up(email=EMAIL, password=PASSWORD, name="Ann")
    assert authenticate(None, username=EMAIL, password=PASSWORD) == account
    with pytest.raises(EmailTaken):
        sign_up(email=EMAIL, password=PASSWORD, name="Ann")


def test_a_guest_gets_no_link_for_a_new_password(guest):
    post(kind="password_reset", about=guest.pk, to=EMAIL)
    assert compose(Mail.objects.get()) is None
    assert not may_reset(guest)


def test_an_account_may_take_the_address_of_a_guest(guest, rf):
    account = UserFactory(email="old@example.com")
    ask_for_address(rf.get("/"), account, EMAIL)
    assert account.address_change.email == EMAIL


def test_the_commands_of_django_mean_accounts(guest):
    with pytest.raises(CommandError, match="does not exist"):
        call_command("changepassword", EMAIL)
    call_command(
        "createsuperuser", interactive=False, email=EMAIL, name="Ann", stdout=io.StringIO()
    )
    assert User.objects.get(email=EMAIL).is_superuser
    with pytest.raises(CommandError, match="signed up with this e-mail address"):
        call_command("createsuperuser", interactive=False, email=EMAIL, name="Ann")


def test_an_address_alone_means_the_account_unless_somebody_asks_among_guests(guest):
    account = UserFactory(email=EMAIL)
    assert User.objects.get(email=EMAIL) == account
    assert User.objects.guests().get(email=EMAIL) == guest


def test_natural_keys_tell_a_guest_and_an_account_apart(guest):
    account = UserFactory(email=EMAIL)
    for user in (guest, account):
        assert User.objects.get_by_natural_key(*user.natural_key()) == user
    assert User.objects.get_by_natural_key(EMAIL) == account
    written = serializers.serialize("json", [guest], use_natural_primary_keys=True)
    (again,) = serializers.deserialize("json", written)
    assert again.object.pk == guest.pk


# --- The back office ----------------------------------------------------------------------------


def test_staff_tell_guests_from_accounts_and_cannot_change_them(admin_client, guest):
    UserFactory(email="bob@example.com")
    listed = admin_client.get("/admin/accounts/user/?is_guest__exact=1").content.decode()
    assert EMAIL in listed
    assert "bob@example.com" not in listed
    page = f"/admin/accounts/user/{guest.pk}/change/"
    assert admin_client.get(page).status_code == 200
    assert admin_client.post(page, {"email": EMAIL, "is_staff": "on"}).status_code == 403
    new = {"password1": PASSWORD, "password2": PASSWORD}
    assert admin_client.post(f"/admin/accounts/user/{guest.pk}/password/", new).status_code == 403
    guest.refresh_from_db()
    assert not guest.is_staff
    assert not guest.has_usable_password()


def test_staff_who_type_an_address_that_is_taken_are_told(admin_client, guest):
    fields = {"name": "Ann", "usable_password": "false", "email": EMAIL}
    assert admin_client.post("/admin/accounts/user/add/", fields).status_code == 302
    again = admin_client.post("/admin/accounts/user/add/", fields)
    assert "Somebody has signed up with this e-mail address already." in again.content.decode()
