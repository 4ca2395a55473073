"""What a command of staff says when the database did not do as it was asked."""

import psycopg
import pytest
from django.core.management import CommandError
from django.db import OperationalError

from bookings.management.staff_input import if_busy


def failed(cause):
    error = OperationalError()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "says"),
    [
        (psycopg.errors.LockNotAvailable(), "Nothing was changed"),
        (psycopg.errors.AdminShutdown(), "may have been done"),
    ],
    ids=["lock not available", "connection lost"],
)
def test_only_a_lock_that_was_not_had_means_that_nothing_was_changed(cause, says):
    """A connection may be lost after the commit. Staff who try again would then do it twice."""
    with pytest.raises(CommandError, match=says), if_busy("Nothing was changed. Try again."):
        raise failed(cause)
