"""An e-mail address is one address, however it is typed."""

import unicodedata
from importlib import import_module

import pytest
from django.core.exceptions import ValidationError
from django.db import connection

from accounts.email_field import EmailAddressFormField
from accounts.models import User
from accounts.tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def test_a_saved_address_is_in_lower_case_at_once_and_in_the_database():
    ann = User(email="Ann@Example.COM", name="Ann", password="!")
    ann.save()
    assert ann.email == "ann@example.com"
    assert User.objects.get(pk=ann.pk).email == "ann@example.com"


@pytest.mark.parametrize("lookup", ["email", "email__iexact", "email__in"])
def test_a_look_up_finds_the_address_however_it_is_typed(lookup):
    ann = UserFactory(email="ann@example.com")
    value = "ANN@example.com"
    assert User.objects.get(**{lookup: [value] if lookup == "email__in" else value}) == ann


def test_many_saved_at_once_are_in_lower_case():
    User.objects.bulk_create([User(email="Bob@Example.com", name="Bob", password="!")])
    assert (
        User.objects.filter(name="Bob").values_list("email", flat=True).get() == "bob@example.com"
    )


SPELLINGS = [
    "a@ex\u00e4mple.com",
    "a@exa\u0308mple.com",
    "A@EX\u00c4MPLE.com",
    "a@\uff45x\u00e4mple.com",
]


@pytest.mark.parametrize("typed", SPELLINGS)
def test_one_address_is_one_account_in_every_spelling_of_its_letters(client, typed):
    body = {"email": SPELLINGS[1], "password": "correct horse", "name": "Ann"}
    assert client.post("/api/v1/users", body, "application/json").status_code == 201
    again = client.post("/api/v1/users", body | {"email": typed}, "application/json")
    assert again.status_code == 400
    page = client.post("/accounts/signup/", body | {"email": typed})
    assert "signed up with this e-mail address already" in page.content.decode()
    log_in = {"email": typed, "password": "correct horse"}
    assert client.post("/api/v1/auth/token", log_in, "application/json").status_code == 200
    assert User.objects.get(email=typed).email == SPELLINGS[0]


@pytest.mark.parametrize("letter", ["\ua7cc", "\ua7da"])
def test_an_address_with_a_letter_that_only_the_database_knows_is_refused(client, letter):
    """PostgreSQL is of a later Unicode than Python, and would find that the letter is a capital."""
    assert unicodedata.category(letter) == "Cn", "Python knows it now, so take a newer one"
    body = {"email": f"a@x{letter}x.com", "password": "correct horse", "name": "Ann"}
    assert client.post("/api/v1/users", body, "application/json").status_code == 400
    page = client.post("/accounts/signup/", body)
    assert page.context["form"].errors["email"]


def test_an_address_from_before_gets_its_one_form_unless_another_account_has_it():
    migration = import_module("accounts.migrations.0006_one_form_of_addresses").Migration
    old, taken, free = UserFactory(), UserFactory(email=SPELLINGS[0]), UserFactory()
    with connection.cursor() as cursor:
        for user, email in ((old, SPELLINGS[1]), (free, "b@exa\u0308mple.com")):
            cursor.execute("UPDATE accounts_user SET email = %s WHERE id = %s", [email, user.pk])
        cursor.execute(migration.operations[0].sql)
    for user, email in ((old, SPELLINGS[1]), (taken, SPELLINGS[0]), (free, "b@ex\u00e4mple.com")):
        user.refresh_from_db()
        assert user.email == email


def test_an_address_whose_lower_case_is_too_long_is_refused():
    address = "a@İstanbul.co"  # the lower case of İ has two characters
    with pytest.raises(ValidationError, match=f"at most {len(address)} characters"):
        EmailAddressFormField(max_length=len(address)).clean(address)
