"""Asks the members of etcd whether they serve."""

import json

from deploy.layout import MEMBERS, Layout
from deploy.patroni import LIMIT, ask


def serving(layout: Layout) -> list[str]:
    """The names of the members that run and are part of a majority."""
    return [f"e{number}" for number in MEMBERS if _serves(layout, number)]


def _serves(layout: Layout, number: int) -> bool:
    address = f"http://{layout.host(number)}:{layout.port_of('etcd_client', number)}/health"
    try:
        with ask(address, timeout=LIMIT) as answer:
            return bool(json.load(answer)["health"] == "true")
    except (OSError, ValueError, KeyError):
        return False
