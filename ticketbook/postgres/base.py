"""Django's PostgreSQL backend with the embedded server, version 18, its clock and a cheaper health check."""

import select
from collections.abc import Iterable
from typing import Any

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.postgresql.client import DatabaseClient as PostgresClient
from django.db.backends.postgresql.creation import DatabaseCreation as PostgresCreation
from django.db.backends.postgresql.features import DatabaseFeatures as PostgresFeatures
from django.db.backends.utils import CursorWrapper

from ticketbook.embedded import membership
from ticketbook.embedded.binaries import binary
from ticketbook.embedded.roles import ROLE
from ticketbook.postgres import clock


class PreparingCursor(ServerBindingCursor):
    prepare = True

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        execute: Any = super().execute  # type: ignore[misc]
        return execute(query, params, prepare=self.prepare, binary=True)


class PlanningCursor(PreparingCursor):
    prepare = False


class DatabaseFeatures(PostgresFeatures):
    minimum_database_version = (18,)  # uuidv7() makes our primary keys


class DatabaseClient(PostgresClient):
    @classmethod
    def settings_to_cmd_args_env(
        cls, settings_dict: dict[str, Any], parameters: Iterable[str]
    ) -> tuple[list[str], dict[str, str] | None]:
        # `manage.py dbshell` uses the embedded psql for the embedded server.
        data_dir = settings_dict.get("EMBEDDED_DATA_DIR")
        if not data_dir:
            return super().settings_to_cmd_args_env(settings_dict, parameters)
        server = {name.upper(): value for name, value in membership.join(data_dir).items()}
        args, env = super().settings_to_cmd_args_env(settings_dict | server, parameters)
        return [str(binary("psql")), *args[1:]], env


class DatabaseCreation(PostgresCreation):
    def sql_table_creation_suffix(self) -> str:
        suffix: str = super().sql_table_creation_suffix()
        if self.connection.settings_dict.get("EMBEDDED_DATA_DIR"):
            suffix = f"{suffix or 'WITH'} OWNER {ROLE}"
        return suffix


class DatabaseWrapper(base.DatabaseWrapper):
    features_class = DatabaseFeatures
    client_class = DatabaseClient
    creation_class = DatabaseCreation

    def get_connection_params(self) -> dict[str, Any]:
        # Django asks for every new connection. Without DATABASE_URL, join the embedded server.
        params = super().get_connection_params()
        if data_dir := self.settings_dict.get("EMBEDDED_DATA_DIR"):
            # Django makes and drops test databases under this alias, which the application's role may not.
            as_superuser = self.alias == NO_DB_ALIAS
            join = membership.join_as_superuser if as_superuser else membership.join
            params |= join(data_dir)
        return params

    def init_connection_state(self) -> None:
        super().init_connection_state()
        clock.measure(self.connection)

    def server_cursor(self, *, prepare: bool) -> CursorWrapper:
        """A cursor whose parameters the server binds, in binary.

        With `prepare`, its statements stay prepared on this connection.
        """
        self.close_if_health_check_failed()
        self.ensure_connection()
        cursor: Any = PreparingCursor if prepare else PlanningCursor
        return self.make_cursor(cursor(self.connection))

    def is_usable(self) -> bool:
        # Django asks before the first query of every request, so this makes no round trip. A server that
        # closed the connection has left a message in the socket, and between queries nothing else can be
        # there.
        if self.connection.closed:
            return False
        poll = select.poll()
        poll.register(self.connection.fileno(), select.POLLIN)
        return not poll.poll(0)
