"""Asks the members of etcd whether they serve, and what Patroni keeps in them."""

import base64
import json

from deploy.layout import MEMBERS, SCOPE, Layout
from deploy.patroni import LIMIT, ask


def serving(layout: Layout) -> list[str]:
    """The names of the members that run and are part of a majority."""
    return [f"e{number}" for number in MEMBERS if _serves(layout, number)]


def may_lead(layout: Layout) -> list[str]:
    """The names of the members of PostgreSQL that have every acknowledged commit; empty if unknown."""
    key = base64.b64encode(f"/ticketbook/{SCOPE}/sync".encode()).decode()
    for name in serving(layout):
        address = f"{_address(layout, int(name[1:]))}/v3/kv/range"
        try:
            with ask(address, data=json.dumps({"key": key}).encode(), timeout=LIMIT) as answer:
                [row] = json.load(answer).get("kvs", [])
            told = json.loads(base64.b64decode(row["value"]))
        except (OSError, ValueError, KeyError):
            continue
        named = [told.get("leader"), *(told.get("sync_standby") or "").split(",")]
        return sorted(filter(None, named))
    return []


def _address(layout: Layout, number: int) -> str:
    return f"http://{layout.host(number)}:{layout.port_of('etcd_client', number)}"


def _serves(layout: Layout, number: int) -> bool:
    try:
        with ask(f"{_address(layout, number)}/health", timeout=LIMIT) as answer:
            return bool(json.load(answer)["health"] == "true")
    except (OSError, ValueError, KeyError):
        return False
