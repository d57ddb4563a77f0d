"""`wss://` with haproxy as the server's TLS: whom the client trusts, and what it says when it does not."""

import os
import select
import signal
import socket
import ssl
from contextlib import ExitStack, contextmanager
from itertools import cycle
from threading import Event

import pytest

from tests.support.certificates import Authority
from tests.support.fake_server import NO_CONTENT
from tests.support.haproxy import haproxy
from tests.support.programs import client, join, server
from tests.support.refused import meet_reset
from tests.support.targets import PATIENCE, connect, echo, receive_all, receive_exactly, reset, target, was_reset
from tests.support.wire import BINARY, TEXT, accept_key, format_head, frame, receive_head

pytestmark = pytest.mark.programs

RECORD = 16384  # bytes that one of TLS holds
UNTRUSTED = "unable to get local issuer certificate; SOKKEN_CA_FILE names other authorities"
OTHER_NAME = "the URL must name the server as its certificate does"
# Where the client is sent, and what its log then says.
MISTAKES = {
    "another authority": ("server_tls", UNTRUSTED),
    "another name": ("server_tls", f"certificate is not valid for 'localhost'; {OTHER_NAME}"),
    "another address": ("server_tls", f"certificate is not valid for '127.0.0.1'; {OTHER_NAME}"),
    "an old certificate": ("server_tls", "the server's certificate is not accepted: certificate has expired"),
    "wss to haproxy's plain port": ("server_tls", "is ws:// meant instead of wss://?"),
    "wss to a plain server": ("server_tls", "is ws:// meant instead of wss://?"),
    "ws to a TLS port": ("server_unreachable", "if it expects TLS, use wss://"),
}


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory):
    """A client with a forward for each mistake, and one for none."""
    folder = tmp_path_factory.mktemp("tls")
    authority, stranger = Authority(folder), Authority(folder, "stranger")
    certificates = (
        authority.issue("DNS:localhost", "IP:127.0.0.1"),
        authority.issue("DNS:example.org"),
        authority.issue("DNS:localhost", days=-1),
        stranger.issue("DNS:localhost"),
    )
    with ExitStack() as stack:
        where = stack.enter_context(target(echo))
        far = stack.enter_context(server(where))
        between = stack.enter_context(haproxy(far.api, folder, *certificates))
        plain, good, renamed, old, foreign = (port for _, port in between.entries)
        urls = {
            "none": far.url(where, ("localhost", good), "wss"),
            "none, by address": far.url(where, ("127.0.0.1", good), "wss"),
            "another authority": far.url(where, ("localhost", foreign), "wss"),
            "another name": far.url(where, ("localhost", renamed), "wss"),
            "another address": far.url(where, ("127.0.0.1", renamed), "wss"),
            "an old certificate": far.url(where, ("localhost", old), "wss"),
            "wss to haproxy's plain port": far.url(where, ("localhost", plain), "wss"),
            "wss to a plain server": far.url(where, far.api, "wss"),
            "ws to a TLS port": far.url(where, ("localhost", good), "ws"),
        }
        env = {
            "SOKKEN_CA_FILE": str(authority.file),
            "SOKKEN_CONNECT_TIMEOUT_SECONDS": "1",
            "SOKKEN_LOG_DEBUG": "true",
        }
        near = stack.enter_context(client(*urls.values(), env=env))
        yield near, dict(zip(urls, near.entries, strict=True))


@pytest.mark.parametrize("name", ["none", "none, by address"])
def test_a_certificate_that_is_right_is_accepted(name, mistaken):
    _, entries = mistaken
    with connect(entries[name]) as app:
        app.sendall(b"over TLS")
        app.shutdown(socket.SHUT_WR)
        assert receive_all(app) == b"over TLS"


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_a_reset_and_a_line_that_says_which(name, mistaken):
    near, entries = mistaken
    outcome, detail = MISTAKES[name]
    peer = meet_reset(entries[name])
    failed = near.program.wait_for("connection_failed", peer=peer)
    assert failed["outcome"] == outcome
    assert failed["detail"].endswith(detail)
    assert not near.program.events("connection_opened", peer=peer)


def test_only_what_may_mend_itself_is_tried_again(mistaken):
    near, entries = mistaken
    for name, (outcome, _) in MISTAKES.items():
        failed = near.program.wait_for("connection_failed", peer=meet_reset(entries[name]))
        retries = near.program.events("connect_retry", connection_id=failed["connection_id"])
        assert bool(retries) is (outcome != "server_tls")


def test_the_systems_authorities_do_not_know_ours(tmp_path):
    certificate = Authority(tmp_path).issue("DNS:localhost")
    with (
        target(echo) as where,
        server(where) as far,
        haproxy(far.api, tmp_path, certificate) as between,
        client(far.url(where, ("localhost", between.tls[1]), "wss")) as near,
    ):
        failed = near.program.wait_for("connection_failed", peer=meet_reset(near.entry))
        assert failed["outcome"] == "server_tls"
        assert failed["detail"].endswith(UNTRUSTED)


def _drip_to(upstream):
    """A handler that passes everything on in pieces of one to three bytes."""

    def pump(sock):
        sizes = cycle((1, 2, 3))
        with connect(upstream) as far:
            ways = {sock: far, far: sock}
            for end in ways:
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while ways:
                for end in select.select(list(ways), [], [])[0]:
                    if piece := end.recv(next(sizes)):
                        ways[end].sendall(piece)
                    else:
                        ways.pop(end).shutdown(socket.SHUT_WR)

    return pump


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls_that_drips_in(loop, tmp_path):
    """Handshake, upgrade and records in pieces of a few bytes: nothing waits for more than there is."""
    authority = Authority(tmp_path)
    data = os.urandom(20_000)
    with ExitStack() as stack:
        where = stack.enter_context(target(echo))
        far = stack.enter_context(server(where))
        between = stack.enter_context(haproxy(far.api, tmp_path, authority.issue("IP:127.0.0.1")))
        dripping = stack.enter_context(target(_drip_to(between.tls)))
        env = {"SOKKEN_CA_FILE": str(authority.file), "SOKKEN_EVENT_LOOP": loop}
        near = stack.enter_context(client(far.url(where, dripping, "wss"), env=env))
        with connect(near.entry) as app:
            app.sendall(data[:1])
            assert receive_exactly(app, 1) == data[:1]
            app.sendall(data)
            app.shutdown(socket.SHUT_WR)
            assert receive_all(app) == data
            near.program.wait_for("connection_closed", outcome="completed", close_code=1000)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def test_what_is_decrypted_already_is_not_left_there(version, tmp_path):
    """It raises no event of the socket. The client reads 16 KiB for the answer; the rest of a record stays behind."""
    data, received = os.urandom(RECORD - 4), Event()

    def serve(tls, answer):
        tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        tls.sendall(answer)
        tls.sendall(frame(BINARY, data, masked=False))  # a record of its own, in the same segment
        tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        received.wait(PATIENCE)

    with tls_server(serve, tmp_path, version) as (url, env), client(url, env=env) as near, connect(near.entry) as app:
        app.settimeout(PATIENCE / 2)  # less than the server waits, whose end would be an event
        assert receive_exactly(app, len(data)) == data
        received.set()
        assert was_reset(app)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_what_came_before_a_reset_is_read(loop, tmp_path):
    """The reset must not swallow why the server ended the connection."""
    client_stopped, said = Event(), Event()

    def serve(tls, answer):
        tls.sendall(answer)
        client_stopped.wait(PATIENCE)
        tls.sendall(frame(BINARY, b"last words", masked=False) + frame(TEXT, b"abort policy_revoked", masked=False))
        reset(tls)
        said.set()

    with (
        tls_server(serve, tmp_path) as (url, env),
        client(url, env=env | {"SOKKEN_EVENT_LOOP": loop}) as near,
        connect(near.entry) as app,
    ):
        near.program.wait_for("connection_opened")
        near.program.signal(signal.SIGSTOP)
        client_stopped.set()
        assert said.wait(PATIENCE)
        near.program.signal(signal.SIGCONT)
        assert was_reset(app)
        near.program.wait_for("connection_closed", outcome="policy_revoked", bytes_down=len(b"last words"))


@contextmanager
def tls_server(serve, folder, version=ssl.TLSVersion.TLSv1_3):
    """A server made by hand. ``serve`` gets each tunnel's connection and the 101 that it is to send."""
    authority = Authority(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("IP:127.0.0.1"))
    context.minimum_version = context.maximum_version = version

    def handle(sock):
        with context.wrap_socket(sock, server_side=True) as tls:
            request = receive_head(tls)
            if request.method == "HEAD":
                tls.sendall(NO_CONTENT)
            else:
                serve(tls, switching_protocols(request))

    with target(handle) as where:
        yield f"wss://{join(where)}/tunnel/target.test:1", {"SOKKEN_CA_FILE": str(authority.file)}


def switching_protocols(request):
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(request.fields["sec-websocket-key"]),
        "Sec-WebSocket-Protocol": "sokken.v2",
    }
    return format_head("HTTP/1.1 101 Switching Protocols", fields)


def test_a_ca_file_that_is_none_is_missed_at_each_connection(tmp_path):
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(os.urandom(2000))
    empty = tmp_path / "empty.pem"
    empty.touch()
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    for file in (garbage, empty, broken, tmp_path / "missing.pem", tmp_path):
        with client("wss://localhost:1/tunnel/target.test:1", env={"SOKKEN_CA_FILE": str(file)}) as near:
            with connect(near.entry) as app:
                assert was_reset(app)
            failed = near.program.wait_for("connection_failed", outcome="credential_unavailable")
            assert failed["detail"].startswith(f"SOKKEN_CA_FILE: cannot use {file}: ")
