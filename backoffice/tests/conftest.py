from contextlib import contextmanager

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, transaction

from accounts.tests.factories import UserFactory
from bookings.tests.conftest import ann, bob, book, take_hold
from bookings.tests.racing import Stepped
from concerts import stock

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


@contextmanager
def somebody_else_has_locked(tier):
    """The tier is locked by another transaction in the block, and this connection waits 20 ms for it."""

    def hold_the_lock():
        with transaction.atomic():
            stock.lock_tier(tier.pk)

    other = Stepped(hold_the_lock, after="FOR NO KEY UPDATE").wait_until_reached()
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '20ms'")
        yield
        with connection.cursor() as cursor:
            cursor.execute("RESET lock_timeout")
    finally:
        other.finish()
        Stepped.release_all()
