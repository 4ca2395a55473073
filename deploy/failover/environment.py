"""The settings of this process, which makes concerts and reads facts, and those of the site under test.

Imported before Django is set up. The load, its journal and the referee are those of chaos/.
"""

import os
import sys

from deploy import disks, networks
from deploy.layout import Layout, layout
from ticketbook.environment import folder, whole

# chaos/ puts a DATA_DIR of its own into the environment.
if "chaos.system" in sys.modules:
    raise ImportError("Import deploy.failover.environment before anything of chaos/.")
BASE = folder("DATA_DIR", ".data")
RATE = whole("RATE", 0, 0, 20_000)  # bookings a second; 0: by the clients of chaos/
USUAL = layout(name="failover", base=BASE)
# A cluster of its own, because the tickets and mails of so many bookings keep its worker busy for long.
PLAIN = layout(name="failover-rate", base=BASE) if RATE else USUAL

from chaos.system import SETTINGS  # noqa: E402

os.environ |= {
    "DJANGO_SETTINGS_MODULE": "ticketbook.settings",
    "DATABASE_URL": PLAIN.database_url(PLAIN.port_of("primary")),
    "SECRET_KEY": PLAIN.secrets["secret_key"],
    "DATA_DIR": str(PLAIN.home / "site"),
}
# What is simulated of payments in a run at a fixed rate: nothing takes time, and nothing is declined.
SIMULATED = {"PAYMENT_DEFAULT": "simulated", "PAYMENT_SUCCESS_RATE": "1", "PAYMENT_LATENCY_MS": "0"}
NOT_OURS = {"WEB_CONCURRENCY", "LOCK_TIMEOUT_MS", "SECRET_KEY"}


def with_networks() -> Layout:
    """Returns a second cluster, in which each member has a network of its own. Raises NoNetworks."""
    networks.check()
    return layout(name="failover-networks", network=networks.NETWORK, base=BASE)


def with_small_disks() -> Layout:
    """Returns a cluster in which each member has a small disk of its own. Raises NoDisks."""
    disks.check()
    return layout(name="failover-disks", disk=disks.SIZE, base=BASE)


def of_the_site(where: Layout) -> dict[str, str]:
    """Settings of chaos/: short holds, the gateway with a ledger, and mails that are kept."""
    settings = {name: text for name, text in SETTINGS.items() if name not in NOT_OURS}
    if RATE:
        settings |= SIMULATED
        settings.pop("EMAIL_SHARE")  # mails at the pace that leaves a sale its machine
        settings.pop(
            "PYTHONPATH"
        )  # the clocks cannot be set wrong, because to look at them takes time
    else:
        where.clocks.mkdir(exist_ok=True)
        settings["CHAOS_CLOCKS"] = str(where.clocks)
    return settings | {
        "GATEWAY_URL": f"http://127.0.0.1:{where.port_of('gateway')}",
        "CHAOS_MAILS": str(where.home / "current" / "mail"),
    }


def read_from_leader(where: Layout, *, limit: float = 60) -> str:
    """Let Django in this process ask the leader that living members name. Returns its name and timeline.

    It does not ask which server takes writes, because that could be an old primary whose Patroni died. Raises
    NoLeader.
    """
    from django.db import connections

    from deploy import patroni

    leader = patroni.leader(where, limit=limit)
    connections.settings["default"] |= {
        "HOST": where.host(leader.number),
        "PORT": where.port_of("postgres", leader.number),
        "PASSWORD": where.secrets["ticketbook_password"],
    }
    return f"{leader.name}, timeline {leader.timeline}"
