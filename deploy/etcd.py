"""Asks the members of etcd whether they serve, and what Patroni keeps in them."""

import base64
import json

from deploy.layout import MEMBERS, SCOPE, Layout
from deploy.patroni import LIMIT, ask


def serving(layout: Layout) -> list[str]:
    """The names of the members that run and are part of a majority."""
    return [f"e{number}" for number in MEMBERS if _serves(layout, number)]


def remembers(layout: Layout) -> bool:
    """Whether etcd still knows the database that the members have."""
    return _value(layout, "initialize") is not None


def may_lead(layout: Layout) -> list[str]:
    """The names of the members of PostgreSQL that have every acknowledged commit; empty if unknown."""
    told = json.loads(_value(layout, "sync") or "{}")
    named = [told.get("leader"), *(told.get("sync_standby") or "").split(",")]
    return sorted(filter(None, named))


def _value(layout: Layout, name: str) -> str | None:
    # What Patroni keeps under this name.
    key = base64.b64encode(f"/ticketbook/{SCOPE}/{name}".encode()).decode()
    for member in serving(layout):
        address = f"{_address(layout, int(member[1:]))}/v3/kv/range"
        try:
            with ask(address, data=json.dumps({"key": key}).encode(), timeout=LIMIT) as answer:
                rows = json.load(answer).get("kvs", [])
        except (OSError, ValueError):
            continue
        return base64.b64decode(rows[0].get("value", "")).decode() if rows else None
    return None


def _address(layout: Layout, number: int) -> str:
    return f"http://{layout.host(number)}:{layout.port_of('etcd_client', number)}"


def _serves(layout: Layout, number: int) -> bool:
    try:
        with ask(f"{_address(layout, number)}/health", timeout=LIMIT) as answer:
            return bool(json.load(answer)["health"] == "true")
    except (OSError, ValueError, KeyError):
        return False
