"""Whose address counts: the peer's, or what trusted proxies say."""

from ipaddress import ip_address, ip_network

import pytest
from django.test import RequestFactory

from ticketbook.client_address import client_address, one_address, one_network

PROXY = "10.0.0.7"


@pytest.fixture
def address(settings):
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]

    def address(forwarded, peer=PROXY):
        more = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
        return client_address(RequestFactory().get("/", REMOTE_ADDR=peer, **more))

    return address


def test_what_a_stranger_says_about_its_address_is_ignored(address):
    assert address("192.0.2.1", peer="198.51.100.1") == ip_address("198.51.100.1")


def test_nobody_is_trusted_by_default(settings):
    request = RequestFactory().get(
        "/", REMOTE_ADDR="127.0.0.1", headers={"X-Forwarded-For": "192.0.2.1"}
    )
    assert settings.TRUSTED_PROXIES == []
    assert client_address(request) == ip_address("127.0.0.1")


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (None, PROXY),
        ("", PROXY),
        ("192.0.2.1", "192.0.2.1"),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1"),  # the client has made up the first one
        ("6.6.6.6,192.0.2.1 , 10.1.1.1", "192.0.2.1"),
        ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, fd00::1", "192.0.2.1"),
    ],
)
def test_the_list_of_a_trusted_proxy_is_read_from_the_right(address, forwarded, client):
    assert address(forwarded) == ip_address(client)


@pytest.mark.parametrize(
    "nonsense",
    ["unknown", "_hidden", "999.1.1.1", "1", ",", ",,,", "[", "[]", "[:", ":", "::::", "\ud800", "\0",
     "192.0.2.1/24", "1.2.3.4:x:y", "é", "9" * 5000],
)  # fmt: skip
def test_nonsense_counts_as_the_proxy_that_sent_it(address, nonsense):
    assert address(nonsense) == ip_address(PROXY)
    assert address(f"192.0.2.1, {nonsense}") == ip_address(PROXY)


@pytest.mark.parametrize("peer", ["", "unix:", "/run/socket"])
def test_a_connection_without_an_address_has_none(address, peer):
    assert address("192.0.2.1", peer=peer) is None


def test_a_mapped_peer_is_its_ipv4_address(address):
    assert address(None, peer="::ffff:192.0.2.1") == ip_address("192.0.2.1")
    assert address("192.0.2.9", peer="::ffff:10.0.0.7") == ip_address("192.0.2.9")


def test_a_host_with_ipv6_is_one_address_however_many_it_takes():
    one, other = ip_address("2001:db8:1:2::1"), ip_address("2001:db8:1:2:3::9%eth0")
    assert one_address(one) == one_address(other) == ip_network("2001:db8:1:2::/64")
    assert one_network(other) == ip_network("2001:db8:1::/48")
    assert one_address(ip_address("192.0.2.1")) == ip_network("192.0.2.1/32")
    assert one_network(ip_address("192.0.2.1")) == ip_network("192.0.2.0/24")
