"""The configuration can be read by those that it is for, and opens no door to other machines."""

import configparser
import json
import re
import shutil
import subprocess

import pytest
import yaml

from deploy import configuration, packages
from deploy.layout import LOCAL, MEMBERS, Layout
from ticketbook.api.problems import problem_of_http
from ticketbook.errors import Busy

HAPROXY = packages.find("haproxy")


@pytest.fixture
def texts(where):
    return dict(configuration.rendered(where))


def members_files(texts, letter):
    return [yaml.safe_load(texts[f"{letter}{member}.yml"]) for member in MEMBERS]


def test_every_placeholder_is_filled_in(texts):
    scripts = {"post_bootstrap", "archive_wal"}
    assert [name for name, text in texts.items() if "$" in text and name not in scripts] == []


def test_no_secret_is_left_out(where, texts):
    everything = "".join(texts.values())
    assert [secret for secret in where.secrets.values() if secret not in everything] == []


def test_patroni_and_postgresql_listen_on_this_machine_only(texts):
    for told in members_files(texts, "n"):
        assert told["restapi"]["listen"].startswith(f"{LOCAL}:")
        assert told["postgresql"]["listen"].startswith(f"{LOCAL}:")
        assert told["postgresql"]["parameters"]["unix_socket_directories"] == ""
        for rule in told["postgresql"]["pg_hba"]:
            assert f" {LOCAL}/32 scram-sha-256" in rule


def test_etcd_listens_on_this_machine_only(texts):
    for told in members_files(texts, "e"):
        assert told["listen-client-urls"].startswith(f"http://{LOCAL}:")
        assert told["listen-peer-urls"].startswith(f"http://{LOCAL}:")


def test_haproxy_pgbouncer_and_valkey_listen_on_this_machine_only(texts):
    binds = re.findall(r"^ *bind (\S+)", texts["haproxy.cfg"], re.MULTILINE)
    assert len(binds) == 4
    assert all(bind.startswith(f"{LOCAL}:") for bind in binds)
    pooler = configparser.ConfigParser()
    pooler.read_string(texts["pgbouncer.ini"])
    assert pooler["pgbouncer"]["listen_addr"] == LOCAL
    assert pooler["pgbouncer"]["unix_socket_dir"] == ""
    assert f"bind {LOCAL}\n" in texts["valkey.conf"]
    assert "BIND_ADDRESS" not in texts["ticketbook.env"]  # 127.0.0.1 by default


def test_members_with_networks_of_their_own_listen_there(tmp_path, where):
    apart = Layout(home=tmp_path, network="10.203.77", secrets=where.secrets)
    told = members_files(dict(configuration.rendered(apart)), "n")
    hosts = [each["restapi"]["listen"].partition(":")[0] for each in told]
    assert hosts == ["10.203.77.1", "10.203.77.2", "10.203.77.3"]
    assert "10.203.77.0/24" in told[0]["postgresql"]["pg_hba"][0]


def test_no_two_parts_share_a_port(where):
    assert len(set(where.all_ports)) == len(where.all_ports)


def test_a_commit_waits_for_a_standby_and_pages_have_checksums(texts):
    [told, *_] = members_files(texts, "n")
    assert told["bootstrap"]["dcs"]["synchronous_mode"] is True
    assert "data-checksums" in told["bootstrap"]["initdb"]
    timing = told["bootstrap"]["dcs"]
    assert timing["loop_wait"] + 2 * timing["retry_timeout"] <= timing["ttl"]  # as Patroni wants it


def test_the_proxy_says_busy_as_the_site_does(texts):
    head, _, body = texts["busy_api.http"].partition("\r\n\r\n")
    site = problem_of_http(503)
    site.pop("requestId", None)  # of a request that another test has made
    assert json.loads(body) == site
    assert f"Retry-After: {Busy.retry_after}" in head.split("\r\n")
    assert "\n" not in head.replace("\r\n", "")
    assert "<h1>" in texts["busy_page.http"]


def test_only_their_user_can_read_the_files(written):
    assert written.config.stat().st_mode & 0o077 == 0
    assert [file for file in written.config.iterdir() if file.stat().st_mode & 0o077] == []


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_haproxy_understands_its_file(written):
    done = subprocess.run(
        [HAPROXY, "-c", "-f", written.config / "haproxy.cfg"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# --- The archive ----------------------------------------------------------------------------------

SEGMENT = "00000009" + "0000000000000005"


@pytest.fixture
def archive(written, tmp_path):
    """Archive a segment of these contents; returns whether PostgreSQL may forget it."""

    def act(contents, name=SEGMENT):
        segment = tmp_path / "segment"
        segment.write_bytes(contents)
        command = [written.config / "archive_wal", segment, written.archive / name]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    return act


def test_a_segment_is_archived_whole_and_nothing_else_is_left(archive, written):
    assert archive(b"wal")
    assert [file.read_bytes() for file in written.archive.iterdir()] == [b"wal"]


def test_members_may_archive_the_same_segment(archive):
    assert archive(b"wal")
    assert archive(b"wal")


def test_a_segment_is_never_replaced_by_another_one(archive, written):
    assert archive(b"wal")
    assert not archive(b"other wal")
    assert [file.read_bytes() for file in written.archive.iterdir()] == [b"wal"]


def test_the_last_segment_of_an_old_timeline_blocks_no_member(archive, written):
    """Members end it differently. One that could not archive it would keep its WAL until its disk is full."""
    assert archive(b"wal")
    assert archive(b"history", "00000009.history")
    assert not archive(b"wal, and what was never acknowledged")
    assert archive(b"history", "0000000A.history")
    assert archive(b"wal, and what was never acknowledged")
    assert (written.archive / SEGMENT).read_bytes() == b"wal"


def test_a_segment_that_does_not_fit_is_not_archived(archive, written):
    shutil.rmtree(written.archive)
    assert not archive(b"wal")
