"""How often an address may come: over TLS it is turned away before a handshake, and it is never counted twice."""

import socket
import ssl
import struct

import pytest

from tests.support.programs import client, join, server
from tests.support.raw_http import parse_answer, request, upgrade
from tests.support.targets import PATIENCE, connect, echo, receive_all, receive_exactly, target, was_reset

pytestmark = [
    pytest.mark.programs,
    # Python's wrap_socket() does not close what it took over when a reset has come before it.
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
]

REQUIRED = {"SOKKEN_PROXY_PROTOCOL": "required", "SOKKEN_TRUSTED_PROXIES": "127.0.0.0/8"}
V2 = bytes.fromhex("0d0a0d0a000d0a515549540a") + b"\x21\x11\x00\x0c"


def header(host):
    return V2 + socket.inet_aton(host) + bytes(4) + struct.pack("!HH", 4711, 443)


@pytest.fixture
def where():
    with target(echo) as address:
        yield address


@pytest.fixture
def limited(where, authority):
    """Start a server over TLS where an address may come twice, and then not for a long time."""

    def start(**env):
        given = {"SOKKEN_TLS_CERT_FILE": str(authority.server), "SOKKEN_HANDSHAKE_RATE_PER_ADDRESS": "2"}
        return server(where, env=given | {f"SOKKEN_{name}": value for name, value in env.items()})

    return start


def ask(far, authority, data, start=b""):
    """The status of the answer, or None if the connection is reset before TLS is spoken."""
    context = ssl.create_default_context(cafile=authority.file)
    try:
        with connect(far.api) as plain:
            plain.sendall(start)
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.sendall(data)
                return int(receive_exactly(tls, 12)[-3:])
    except ConnectionResetError:
        return None


def is_turned_away(far):
    """At the first byte that comes, or before."""
    try:
        with connect(far.api) as sock:
            sock.sendall(b"\x16")
            return was_reset(sock)
    except ConnectionResetError:
        return True


def test_an_address_is_turned_away_before_tls_whatever_it_wants(limited, authority, where):
    path = f"/tunnel/{join(where)}"
    with limited(HANDSHAKE_RATE_PER_ADDRESS="0.001") as far:
        assert ask(far, authority, upgrade(path)) == 101
        for data in (upgrade(path), request(path, "HEAD"), request("/livez")):
            assert ask(far, authority, data) is None
        assert is_turned_away(far)
        line = far.program.wait_for("connection_refused")
        assert line["reason"] == "rate_limited"
        assert line["peer"].startswith("127.0.0.1:")
        assert line["detail"] == "an address may come 0.001 times a second"
        assert not far.program.events("tls_handshake_failed")


def test_who_comes_is_counted_once(limited, authority, where):
    with limited() as far:
        statuses = [ask(far, authority, upgrade(f"/tunnel/{join(where)}")) for _ in range(3)]
        assert statuses == [101, 101, None]


def test_behind_the_proxy_protocol_the_client_is_counted(limited, authority, where):
    data = upgrade(f"/tunnel/{join(where)}")
    with limited(HANDSHAKE_RATE_PER_ADDRESS="2", **{n.removeprefix("SOKKEN_"): v for n, v in REQUIRED.items()}) as far:
        hosts = ["203.0.113.7"] * 3 + ["203.0.113.8"]
        statuses = [ask(far, authority, data, header(host)) for host in hosts]
        assert statuses == [101, 101, None, 101]
        assert far.program.wait_for("connection_refused")["peer"] == "203.0.113.7:4711"


def test_behind_a_proxy_that_tells_in_a_field_the_client_is_counted_when_it_asks(limited, authority, where):
    def comes(host):
        return ask(far, authority, upgrade(f"/tunnel/{join(where)}", ("X-Forwarded-For", host)))

    with limited(TRUSTED_PROXIES="127.0.0.0/8") as far:
        assert [comes(host) for host in ["203.0.113.7"] * 3 + ["203.0.113.8"]] == [101, 101, 429, 101]


def test_a_flood_is_told_of_in_few_lines(limited, authority):
    with limited(HANDSHAKE_RATE_PER_ADDRESS="0.001") as far:
        assert ask(far, authority, request("/livez")) == 200
        assert all(is_turned_away(far) for _ in range(200))
        assert len(far.program.events("connection_refused")) < 50


def test_a_client_that_is_turned_away_tries_again(limited, authority, where, loop):
    env = loop | {"SOKKEN_CA_FILE": str(authority.file)}
    with (
        limited(HANDSHAKE_RATE_PER_ADDRESS="1", EVENT_LOOP=loop["SOKKEN_EVENT_LOOP"]) as far,
        client(far.url(where, ("localhost", far.api[1]), "wss"), env=env) as near,
    ):
        for _ in range(3):
            with connect(near.entry) as app:
                app.sendall(b"x")
                assert receive_exactly(app, 1) == b"x"
        far.program.wait_for("connection_refused", reason="rate_limited")
        assert not near.program.events("connection_failed")


def test_without_tls_it_is_told_with_an_answer_and_health_is_not_counted(where):
    with server(where, env={"SOKKEN_HANDSHAKE_RATE_PER_ADDRESS": "0.001"}) as far:

        def exchange(data):
            with socket.create_connection(far.api, PATIENCE) as sock:
                sock.sendall(data)
                return parse_answer(receive_all(sock))

        assert exchange(request(f"/tunnel/{join(where)}", "HEAD")).status == 204
        assert exchange(request("/livez")).status == 200
        answer = exchange(upgrade(f"/tunnel/{join(where)}"))
        assert (answer.status, answer.problem["reason"]) == (429, "rate_limited")
        assert 900 <= int(answer.fields["retry-after"]) <= 1000
        assert exchange(request("/livez")).status == 200
