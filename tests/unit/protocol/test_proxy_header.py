"""The PROXY protocol: headers by hand after its specification, whole, in pieces and broken."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.address import Address
from sokken.protocol.proxy_header import (
    MAX_HEADER_BYTES,
    ProxyHeader,
    ProxyHeaderError,
    decode_proxy_header,
    encode_proxy_header,
)

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")


def v2(command, family, body):
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(body)) + body


V4 = socket.inet_aton("192.0.2.1") + socket.inet_aton("198.51.100.2") + struct.pack("!HH", 1234, 443)
V6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack("!HH", 1234, 443)
)
MAPPED = socket.inet_pton(socket.AF_INET6, "::ffff:192.0.2.1") + V6[16:]
SOUND = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n", Address("192.0.2.1", 1234)),
    (b"PROXY TCP6 2001:db8::1 2001:DB8::2 65535 0\r\n", Address("2001:db8::1", 65535)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    (v2(0x21, 0x11, V4), Address("192.0.2.1", 1234)),
    (v2(0x21, 0x11, V4 + b"\x05\x00\x02id"), Address("192.0.2.1", 1234)),
    (v2(0x21, 0x21, V6), Address("2001:db8::1", 1234)),
    (v2(0x21, 0x21, MAPPED), Address("192.0.2.1", 1234)),
    (v2(0x20, 0x00, b""), None),
    (v2(0x20, 0x11, V4), None),
    (v2(0x21, 0x00, b""), None),
    (v2(0x21, 0x31, bytes(216)), None),
]


@pytest.mark.parametrize(("header", "client"), SOUND)
def test_a_header_and_what_follows(header, client):
    for tail in (b"", b"GET / HTTP/1.1\r\n", bytes(5000)):
        assert decode_proxy_header(header + tail) == ProxyHeader(client, len(header))


@pytest.mark.parametrize("header", [header for header, _ in SOUND])
def test_a_header_in_pieces(header):
    for end in range(len(header)):
        assert decode_proxy_header(header[:end]) is None


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        (b"GET / HTTP/1.1\r\n", "did not begin"),
        (b"\x16\x03\x01", "did not begin"),
        (b"PROXX", "did not begin"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\n" + bytes(100), "more than 107"),
        (b"PROXY UNKNOWN" + b" x" * 100, "more than 107"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 01234 443\r\n", "line is malformed"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 1234\r\n", "line is malformed"),
        (b"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n", "line is malformed"),
        (b"PROXY TCP4 2001:db8::1 198.51.100.2 1234 443\r\n", "malformed address"),
        (b"PROXY TCP6 2001:db8::1 198.51.100.2 1234 443\r\n", "malformed address"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n", "malformed port"),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 1 70000\r\n", "malformed port"),
        (v2(0x11, 0x11, V4), "unknown version or command"),
        (v2(0x22, 0x11, V4), "unknown version or command"),
        (v2(0x21, 0x11, V4[:-1]), "too short"),
        (v2(0x21, 0x21, V4), "too short"),
        (v2(0x21, 0x11, bytes(MAX_HEADER_BYTES)), "more than 4096"),
    ],
)
def test_what_is_no_header(header, problem):
    with pytest.raises(ProxyHeaderError, match=problem):
        decode_proxy_header(header)


@given(st.binary(max_size=64), st.sampled_from([b"", SIGNATURE, b"PROXY ", b"PROXY TCP4 ", SIGNATURE + b"\x21\x11"]))
def test_whatever_comes_is_a_header_or_none_or_told(rest, start):
    try:
        header = decode_proxy_header(start + rest)
    except ProxyHeaderError:
        return
    assert header is None or header.size <= len(start + rest)


@pytest.mark.parametrize(
    ("client", "server", "expected"),
    [
        (Address("192.0.2.1", 1234), Address("198.51.100.2", 443), v2(0x21, 0x11, V4 + b"\x05\x00\x02id")),
        (Address("2001:db8::1", 1234), Address("2001:db8::2", 443), v2(0x21, 0x21, V6 + b"\x05\x00\x02id")),
        (Address("192.0.2.1", 1234), Address("2001:db8::2", 443), v2(0x21, 0x21, MAPPED + b"\x05\x00\x02id")),
        (Address("192.0.2.1", 1234), Address("::ffff:198.51.100.2", 443), v2(0x21, 0x11, V4 + b"\x05\x00\x02id")),
    ],
)
def test_what_is_written(client, server, expected):
    header = encode_proxy_header(client, server, b"id")
    assert header == expected
    assert decode_proxy_header(header) == ProxyHeader(client, len(header))


def test_a_zone_is_this_hosts_alone():
    header = encode_proxy_header(Address("fe80::1%eth0", 1), Address("::1", 2), b"")
    assert decode_proxy_header(header).client == Address("fe80::1", 1)
