"""What is kept of a person. Each app above has a part: in the download, and when an account is closed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from accounts import access
from accounts.models import User
from accounts.serializers import UserSerializer


@dataclass(frozen=True, slots=True)
class Part:
    """What one app keeps. `name` is its name in the download."""

    name: str
    # What the download says, as data that the API's renderer can write.
    export: Callable[[User], Any]
    # A sentence why the account cannot be closed now, or "".
    unfinished: Callable[[User], str] = lambda user: ""
    # What closing would take from the person, who has to agree; or "".
    warning: Callable[[User], str] = lambda user: ""
    # Replace what tells who it was. Called in the transaction that closes the account.
    forget: Callable[[User], None] = lambda user: None


parts: list[Part] = []


def export(user: User) -> dict[str, Any]:
    """All that is kept of a person, by part."""
    ways_in = access.all_of(user, this_session=None)
    account = {
        **UserSerializer(user).data,
        "signedUpAt": user.date_joined,
        "loggedInAt": user.last_login,
        "loggedInOn": [
            {"on": way.words, "since": way.made_at, "lastUsedAt": way.used_at} for way in ways_in
        ],
    }
    return {"account": account, **{part.name: part.export(user) for part in parts}}
