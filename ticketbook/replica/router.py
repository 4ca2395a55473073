"""Sends the queries of one reading to the replica, and refuses to write in it."""

from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from ticketbook.replica.reading import ALIAS, is_reading

# Who somebody is and what they may do is always asked of the primary: users, sessions, tokens, permissions.
APPS = {"concerts", "bookings", "tickets", "mail", "backoffice"}


class WriteWhileReading(RuntimeError):
    """What reads from the replica may not write or lock anything."""


class Router:
    """It answers for every model. Otherwise Django would ask the database that an object came from."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return ALIAS if is_reading() and model._meta.app_label in APPS else DEFAULT_DB_ALIAS

    def db_for_write(self, model: type[Model], **hints: Any) -> str:
        if is_reading():
            raise WriteWhileReading(WriteWhileReading.__doc__)
        return DEFAULT_DB_ALIAS

    def allow_relation(self, one: Model, other: Model, **hints: Any) -> bool:
        return True  # they are rows of the same database

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == DEFAULT_DB_ALIAS
