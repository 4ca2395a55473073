import pytest
from django.contrib.auth.models import Permission

from accounts.tests.factories import UserFactory
from bookings.tests.conftest import ann, bob, book, take_hold

__all__ = ["ann", "bob", "book", "take_hold"]


@pytest.fixture
def staff_who_may(client):
    """Log in as a member of staff who has these permissions, such as view_booking; returns the client."""

    def log_in(*permissions):
        user = UserFactory(is_staff=True)
        given = Permission.objects.filter(codename__in=permissions)
        assert {each.codename for each in given} == set(permissions)
        user.user_permissions.set(given)
        client.force_login(user)
        return client

    return log_in
