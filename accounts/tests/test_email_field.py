"""An e-mail address is one address, however it is typed."""

import pytest
from django.core.exceptions import ValidationError

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


def test_an_address_whose_lower_case_is_too_long_is_refused():
    address = "a@İstanbul.co"  # the lower case of İ has two characters
    with pytest.raises(ValidationError, match=f"at most {len(address)} characters"):
        EmailAddressFormField(max_length=len(address)).clean(address)
