"""The payment gateway of chaos/ for a cluster under test."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from chaos.gathering import Ledgers
from deploy import patroni
from deploy.cluster import Cluster
from deploy.parts import Part

# Of a hundred charges. The gateway is no part of what breaks here.
USUAL = {"decline": 5}


@contextmanager
def gateway(cluster: Cluster, ledgers: Ledgers) -> Iterator[None]:
    """The payment gateway with its ledger runs during the block. It is no part of the cluster."""
    port = cluster.layout.port_of("gateway")
    command = [sys.executable, "-m", "chaos.gateway", str(port), str(ledgers.main), "1"]
    part = Part(
        "gateway",
        *command,
        folder=cluster.layout.home,
        environment=cluster.environment(),
        as_server_user=False,
    )
    part.start()
    body = json.dumps({"mode": "", "seconds": 0, "usual": USUAL}).encode()
    address = f"http://127.0.0.1:{port}/mode"

    def answers() -> bool:
        request = urllib.request.Request(address, data=body, method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=5):
                return True
        except OSError:
            return False

    try:
        if not patroni.wait(answers, limit=30):
            raise SystemExit("The gateway did not start.")
        yield
    finally:
        part.stop()
