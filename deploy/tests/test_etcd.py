"""Whether etcd is in its place is asked of each of its members, and who may lead of any of them."""

import base64
import json
import subprocess
from contextlib import ExitStack

import pytest

from deploy import configuration, etcd, packages, patroni
from deploy.layout import Layout
from ticketbook.tests.running import free_port

ETCD = packages.find("etcd")
START_LIMIT = 60  # seconds


@pytest.fixture
def where(where):
    """Members on ports that nobody else has."""
    free: set[int] = set()
    while len(free) < 6:
        free.add(free_port())
    ports = iter(free)
    found = {(name, n): next(ports) for name in ("etcd_client", "etcd_peer") for n in (1, 2, 3)}

    class Elsewhere(Layout):
        def port_of(self, name, member=0):
            return found.get((name, member)) or super().port_of(name, member)

    return Elsewhere(home=where.home, secrets=where.secrets)


def put(where, key, value):
    pair = {"key": key, "value": json.dumps(value)}
    body = {name: base64.b64encode(text.encode()).decode() for name, text in pair.items()}
    address = f"http://{where.host(1)}:{where.port_of('etcd_client', 1)}/v3/kv/put"
    patroni.ask(address, data=json.dumps(body).encode()).close()


@pytest.mark.skipif(ETCD is None, reason="etcd is not installed")
def test_a_member_serves_and_knows_who_may_lead_only_as_part_of_a_majority(where, monkeypatch):
    monkeypatch.setattr(configuration, "hand_over", lambda path: None)
    configuration.make_folders(where)
    configuration.write(where)
    with ExitStack() as running:

        def start(member):
            command = [ETCD, "--config-file", where.config / f"e{member}.yml"]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            running.callback(process.wait)
            running.callback(process.kill)
            return process

        def become(*names):
            return patroni.wait(lambda: etcd.serving(where) == list(names), limit=START_LIMIT)

        started = [start(1), start(2)]
        assert become("e1", "e2")
        start(3)
        assert become("e1", "e2", "e3")
        assert etcd.may_lead(where) == []
        put(where, "/ticketbook/ticketbook/sync", {"leader": "n3", "sync_standby": "n1"})
        assert etcd.may_lead(where) == ["n1", "n3"]
        assert not etcd.remembers(where)
        put(where, "/ticketbook/ticketbook/initialize", 7)
        assert etcd.remembers(where)
        for process in started:
            process.kill()
        assert become()
        assert etcd.may_lead(where) == []
