"""Sessions of browsers. Each row names its user, so they can be listed and ended (accounts/access.py).

Django's own rows hide that in their signed text. Its documentation shows this way to more columns.
"""

from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore

from accounts.browsers import BROWSER
from ticketbook.postgres import clock


class SessionStore(DatabaseStore):
    row: Any = None  # as it was read; None for a new session

    @classmethod
    def get_model_class(cls) -> Any:
        return apps.get_model("accounts", "Session")  # its module imports this one

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        row: Any = super().create_model_instance(data)
        user = data.get(SESSION_KEY)
        row.user_id = UUID(user) if user else None
        row.browser = data.get(BROWSER, "")
        row.used_at = clock.now()
        row.made_at = self.row.made_at if self.row else row.used_at
        return row

    def _get_session_from_db(self) -> Any:
        self.row = super()._get_session_from_db()  # type: ignore[misc]
        return self.row
