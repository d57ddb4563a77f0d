"""Forwarded and X-Forwarded-For: only what a trusted proxy has added counts."""

from ipaddress import ip_network

import pytest

from sokken.protocol.address import Address
from sokken.protocol.forwarded import find_client, is_within

OURS = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
CLIENT = Address("203.0.113.7", 0)


@pytest.mark.parametrize(
    ("forwarded_for", "forwarded", "client"),
    [
        ("203.0.113.7", "", CLIENT),
        ("203.0.113.7, 10.0.0.1", "", CLIENT),
        ("192.0.2.66, 203.0.113.7,10.0.0.1,10.0.0.2", "", CLIENT),  # the first one was the client's own claim
        ("203.0.113.7:4711", "", Address("203.0.113.7", 4711)),
        ("2001:db8::1", "", Address("2001:db8::1", 0)),
        ("[2001:db8::1]:4711", "", Address("2001:db8::1", 4711)),
        ("::ffff:203.0.113.7", "", CLIENT),
        ("", "for=203.0.113.7", CLIENT),
        ("", "for=192.0.2.66, For=203.0.113.7;proto=http;by=10.0.0.9, for=10.0.0.1", CLIENT),
        ("", 'for="[2001:db8::1]:4711"', Address("2001:db8::1", 4711)),
        ("", 'proto=http;for="[fd00::1]", for=10.0.0.1', None),  # nobody but ourselves
        ("203.0.113.7", "for=203.0.113.7", CLIENT),
        ("203.0.113.7", "for=192.0.2.66", None),
        ("203.0.113.7", "proto=https", None),
        ("", "", None),
        (" ", " ", None),
        ("10.0.0.1", "", None),
        ("203.0.113.7, unknown", "", None),
        ("203.0.113.7, 999.1.1.1", "", None),
        ("203.0.113.7:99999", "", None),
        ("203.0.113.7,", "", None),
        ("", "for=_hidden", None),
        ("", 'for=203.0.113.7, proto="a,b"', None),
        ("", 'for=192.0.2.66, host="a;for=192.0.2.66";for=203.0.113.7;by=10.0.0.1', CLIENT),
        ("", 'for=203.0.113.7;host="a\\", for=192.0.2.66', None),  # escapes are not read: it might mean anything
        ("", "for=203.0.113.7;", None),
        ("", "for=203.0.113.7; ", None),
        ("", "nonsense", None),
        ("", 'x="for=192.0.2.66";for=203.0.113.7', CLIENT),
        (", ".join(["203.0.113.7", *["10.0.0.1"] * 40]), "", None),
    ],
)
def test_the_client_is_the_last_that_is_none_of_ours(forwarded_for, forwarded, client):
    assert find_client(forwarded_for, forwarded, OURS) == client


def test_two_fields_that_agree_but_for_the_port():
    assert find_client("203.0.113.7", 'for="203.0.113.7:1"', OURS).host == "203.0.113.7"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("10.1.2.3", True), ("11.1.2.3", False), ("fd00::1", True), ("fd00::1%eth0", True), ("a", False), ("::1", False)],
)
def test_whether_an_address_is_one_of_ours(host, expected):
    assert is_within(host, OURS) is expected
