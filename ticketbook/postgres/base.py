"""Django's PostgreSQL backend, with two things of our own: version 18, and the embedded server."""

from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.features import DatabaseFeatures as PostgresFeatures

from ticketbook import embedded


class DatabaseFeatures(PostgresFeatures):
    minimum_database_version = (18,)  # uuidv7() makes our primary keys


class DatabaseWrapper(base.DatabaseWrapper):
    features_class = DatabaseFeatures

    def get_connection_params(self) -> dict[str, Any]:
        """Without DATABASE_URL, join the embedded server, or start it: Django asks at every connect."""
        params = super().get_connection_params()
        if data_dir := self.settings_dict.get("EMBEDDED_DATA_DIR"):
            params |= embedded.join(data_dir)
        return params
