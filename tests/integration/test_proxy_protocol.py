"""Who the client is behind proxies: the PROXY protocol in and out, X-Forwarded-For and Forwarded, at a real server."""

import json
import socket
import struct
from contextlib import contextmanager

import pytest

from tests.support.programs import client, join, server
from tests.support.raw_http import upgrade
from tests.support.services import free_port, installed, run, service, succeed
from tests.support.targets import connect, echo, receive_exactly, target, was_reset

pytestmark = pytest.mark.programs

REQUIRED = {"SOKKEN_PROXY_PROTOCOL": "required", "SOKKEN_TRUSTED_PROXIES": "127.0.0.0/8"}
TRUSTING = {"SOKKEN_TRUSTED_PROXIES": "127.0.0.0/8 10.0.0.0/8"}
SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")
V1 = b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 80\r\n"
V2 = SIGNATURE + b"\x21\x11\x00\x0c" + socket.inet_aton("203.0.113.7") + bytes(4) + struct.pack("!HH", 4711, 80)


def ask(far, where, *fields, start=b""):
    """Open a tunnel by hand, and give the line about it."""
    with connect(far.api) as sock:
        sock.sendall(start + upgrade(f"/tunnel/{join(where)}", *fields))
        assert receive_exactly(sock, 12) == b"HTTP/1.1 101"
        return far.program.wait_for("connection_opened")


@contextmanager
def haproxy(folder, far, options):
    """haproxy passing TCP on, with a header of the PROXY protocol."""
    entry = ("127.0.0.1", free_port())
    config = folder / "tcp.conf"
    config.write_text(
        "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 20s\n    timeout server 20s\n"
        f"listen tunnels\n    bind {join(entry)}\n    server sokken {join(far.api)} {options}\n"
    )
    with service(installed("haproxy"), "-db", "-f", config, where=entry, log=folder / "tcp.log"):
        yield entry


@pytest.mark.parametrize("options", ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl-cn"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_haproxy_says_who_the_client_is(tmp_path, authority, loop, scheme, options):
    tls = {"SOKKEN_TLS_CERT_FILE": str(authority.server)} if scheme == "wss" else {}
    env = loop | {"SOKKEN_CA_FILE": str(authority.file)}
    with (
        target(echo) as where,
        server(where, env=loop | REQUIRED | tls) as far,
        haproxy(tmp_path, far, options) as entry,
        client(far.url(where, entry, scheme), env=env) as near,
        connect(near.entry) as app,
    ):
        app.sendall(b"x")
        assert receive_exactly(app, 1) == b"x"
        line = far.program.wait_for("connection_opened")
    assert line["via"] == "127.0.0.1"  # who connected is another than the peer that haproxy told


@pytest.mark.parametrize("header", [V1, V2])
def test_the_client_is_who_the_header_says(header):
    with target(echo) as where, server(where, env=REQUIRED) as far:
        line = ask(far, where, ("X-Forwarded-For", "192.0.2.66"), start=header)
    assert (line["peer"], line["via"]) == ("203.0.113.7:4711", "127.0.0.1")
    assert line["forwarded_for"] == "192.0.2.66"  # that client is no proxy of ours: it may claim what it wants


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\x00\x00"])
def test_a_proxy_that_speaks_for_itself(header):
    with target(echo) as where, server(where, env=REQUIRED) as far:
        line = ask(far, where, start=header)
    assert line["peer"].startswith("127.0.0.1:")
    assert "via" not in line


def test_health_can_be_asked_for_with_a_header_and_by_nobody_without():
    with server(("127.0.0.1", 1), env=REQUIRED) as far:
        url = f"http://{join(far.api)}/readyz"
        assert succeed(installed("curl"), "-sf", "--noproxy", "*", "--haproxy-protocol", url)
        assert run(installed("curl"), "-sf", "--noproxy", "*", url).returncode == 56  # it was reset
        far.program.wait_for("proxy_header_rejected")


def test_a_header_in_pieces():
    with target(echo) as where, server(where, env=REQUIRED) as far, connect(far.api) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in V2 + upgrade(f"/tunnel/{join(where)}"):
            sock.sendall(bytes([byte]))
        assert receive_exactly(sock, 12) == b"HTTP/1.1 101"


@pytest.mark.parametrize(
    ("start", "detail"),
    [
        (b"", "it did not begin with a header of the PROXY protocol"),
        (b"PROXY TCP4 x\r\n", "its PROXY line is malformed"),
        (V2[:12] + b"\x31" + V2[13:], "its PROXY header has an unknown version or command (0x31)"),
    ],
)
def test_what_begins_without_a_header_is_closed(start, detail):
    with target(echo) as where, server(where, env=REQUIRED) as far, connect(far.api) as sock:
        sock.sendall(start + upgrade(f"/tunnel/{join(where)}"))
        assert was_reset(sock)
        line = far.program.wait_for("proxy_header_rejected", detail=detail)
        assert line["peer"] == join(sock.getsockname())
        assert not far.program.events("connection_opened")


def test_a_header_that_does_not_come_to_its_end():
    with target(echo) as where, server(where, env=REQUIRED) as far:
        with connect(far.api) as sock:
            sock.sendall(V1[:20])
            sock.shutdown(socket.SHUT_WR)
            assert was_reset(sock)
        far.program.wait_for("proxy_header_rejected", detail="the connection ended within its PROXY header")
        with connect(far.api) as sock:
            sock.sendall(V2[:20])
            assert was_reset(sock)
        far.program.wait_for("proxy_header_rejected", detail="its PROXY header did not end within 10 s")


def test_only_trusted_proxies_are_let_in():
    env = REQUIRED | {"SOKKEN_TRUSTED_PROXIES": "192.0.2.0/24"}
    with target(echo) as where, server(where, env=env) as far, connect(far.api) as sock:
        sock.sendall(V2 + upgrade(f"/tunnel/{join(where)}"))
        assert was_reset(sock)
        far.program.wait_for(
            "proxy_header_rejected",
            peer=join(sock.getsockname()),
            detail="it comes from no proxy in SOKKEN_TRUSTED_PROXIES",
        )
        assert not far.program.events("connection_opened")


def test_a_header_that_is_not_expected_is_refused():
    with target(echo) as where, server(where) as far, connect(far.api) as sock:
        sock.sendall(V1 + upgrade(f"/tunnel/{join(where)}"))
        assert receive_exactly(sock, 12) == b"HTTP/1.1 400"


@pytest.mark.parametrize(
    ("fields", "peer"),
    [
        ([("X-Forwarded-For", "192.0.2.66, 203.0.113.7, 10.1.2.3")], "203.0.113.7:0"),
        ([("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-For", "10.1.2.3")], "203.0.113.7:0"),
        ([("Forwarded", 'for="[2001:db8::1]:4711";proto=https')], "[2001:db8::1]:4711"),
    ],
)
def test_fields_of_a_trusted_proxy_are_believed(fields, peer):
    with target(echo) as where, server(where, env=TRUSTING) as far:
        line = ask(far, where, *fields)
    assert (line["peer"], line["via"]) == (peer, "127.0.0.1")
    assert "forwarded_for" not in line


@pytest.mark.parametrize(
    ("env", "fields"),
    [
        ({}, [("X-Forwarded-For", "203.0.113.7")]),
        ({"SOKKEN_TRUSTED_PROXIES": "10.0.0.0/8"}, [("X-Forwarded-For", "203.0.113.7")]),
        (TRUSTING, [("X-Forwarded-For", "203.0.113.7"), ("Forwarded", "for=192.0.2.66")]),
    ],
)
def test_fields_of_others_are_claims(env, fields):
    with target(echo) as where, server(where, env=env) as far:
        line = ask(far, where, *fields)
    assert line["peer"].startswith("127.0.0.1:")
    assert line["forwarded_for"] == "203.0.113.7"
    assert "via" not in line


def test_an_address_is_counted_behind_its_proxy():
    """The rate is the client's own, not that of the proxy which all share."""
    env = TRUSTING | {"SOKKEN_HANDSHAKE_RATE_PER_ADDRESS": "0.01"}
    with target(echo) as where, server(where, env=env) as far:
        answers = []
        for client_address in ["203.0.113.7", "203.0.113.7", "203.0.113.8"]:
            with connect(far.api) as sock:
                sock.sendall(upgrade(f"/tunnel/{join(where)}", ("X-Forwarded-For", client_address)))
                answers.append(receive_exactly(sock, 12)[-3:])
    assert answers == [b"101", b"429", b"101"]


@pytest.mark.parametrize("fields", [[], [("X-Forwarded-For", "203.0.113.7")]])
def test_the_target_is_told_who_its_client_is(tmp_path, fields):
    with target(echo) as where:
        rule = {"action": "allow", "identities": ["*"], "targets": [join(where)], "limits": {"proxy_protocol": True}}
        (tmp_path / "policy.yaml").write_text(json.dumps({"rules": [rule]}))
        with server(env=TRUSTING | {"SOKKEN_POLICY_FILE": str(tmp_path / "policy.yaml")}) as far:
            with connect(far.api) as sock:
                sock.sendall(upgrade(f"/tunnel/{join(where)}", *fields))
                head = b""
                while b"\r\n\r\n" not in head:
                    head += receive_exactly(sock, 1)
                assert head.startswith(b"HTTP/1.1 101")
                frame = receive_exactly(sock, 2)
                header = receive_exactly(sock, frame[1])  # the target has sent back what it was told
                source = sock.getsockname()
            line = far.program.wait_for("connection_opened")
    expected = ("203.0.113.7", 0) if fields else source
    assert frame[0] == 0x82
    assert header[:14] == SIGNATURE + b"\x21\x11"
    assert (socket.inet_ntoa(header[16:20]), struct.unpack("!H", header[24:26])[0]) == expected
    assert (socket.inet_ntoa(header[20:24]), struct.unpack("!H", header[26:28])[0]) == far.api
    assert header[28:] == b"\x05\x00\x24" + line["connection_id"].encode()
