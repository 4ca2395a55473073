"""Primary keys that PostgreSQL makes."""

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import models


class UUIDv7(models.Func):
    """A key in order of time, made by PostgreSQL 18. New rows land at the end of an index."""

    function = "uuidv7"
    arity = 0
    output_field = models.UUIDField()


def first_key_of(moment: datetime) -> UUID:
    """No key that was made at this moment or later is smaller. A UUIDv7 begins with its milliseconds."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


class DatabaseKeyField(models.UUIDField):  # type: ignore[type-arg]
    """A key that the database makes. It is None until then, as Django's own keys are.

    With a plain UUIDField, Django 5.2 puts a DatabaseDefault into an unsaved object and takes it for a
    key. The admin then cannot add an object together with its inlines.
    """

    def get_default(self) -> None:
        return None

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        value = super().pre_save(model_instance, add)
        return self.db_default if add and value is None else value


def primary_key() -> DatabaseKeyField:
    return DatabaseKeyField(primary_key=True, db_default=UUIDv7(), editable=False, blank=True)
