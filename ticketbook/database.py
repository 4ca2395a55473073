"""What the apps' models share."""

from django.db import models


class UUIDv7(models.Func):
    """A key made by PostgreSQL 18: time-ordered, so that new rows land at the end of an index."""

    function = "uuidv7"
    arity = 0
    output_field = models.UUIDField()


def primary_key() -> "models.UUIDField[object, object]":
    return models.UUIDField(primary_key=True, db_default=UUIDv7(), editable=False)
