import asyncio
import socket
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sokken import __version__
from sokken.client.connect import ConnectError, Connector
from sokken.protocol.address import parse_server_url
from tests.support.addresses import closed_port
from tests.support.black_holes import black_hole
from tests.support.fake_server import answer, fake_server
from tests.support.loops import CERTIFICATE, LOOPS, planes, run, server_context
from tests.support.settings import client_settings
from tests.support.targets import reset, target, was_reset
from tests.support.wire import Head, accept_tunnel, format_head, receive_head

pytestmark = pytest.mark.parametrize("loop", LOOPS)
ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@asynccontextmanager
async def connectors(**given):
    async with planes(masks=True) as plane:
        yield Connector(plane, client_settings(**given))


async def open_one(url: str, **given):
    """Open, look at it, and close it again."""
    async with connectors(**given) as connector:
        opened = await connector.open(parse_server_url(url), ID)
        opened.channel.close()
        return opened


async def fail(url: str, **given) -> ConnectError:
    async with connectors(**given) as connector:
        with pytest.raises(ConnectError) as caught:
            await connector.open(parse_server_url(url), ID)
        return caught.value


def refusal(status: int, reason: str | None = None, **fields: str) -> bytes:
    """An answer of a server, or (without a reason) of anything else."""
    said = {} if reason is None else {"Sokken-Reason": reason}
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    return format_head(f"HTTP/1.1 {status} Phrase", {"Content-Length": "0", **said, **given})


@dataclass
class Script:
    """A server that answers one request after the other as written, and accepts every further one."""

    answers: list[bytes]
    requests: list[Head] = field(default_factory=list)

    def __call__(self, request: Head) -> None:
        self.requests.append(request)
        if len(self.requests) <= len(self.answers):
            answer(request, self.answers[len(self.requests) - 1])
        else:
            accept_tunnel(request, tail=b"tail")


def test_a_tunnel_is_asked_for_and_opened(loop):
    script = Script([])
    with fake_server(script) as fake:
        opened = run(open_one(fake.url("/base/tunnel/[::1]:22?a=b"), tunnel_name="night"), loop)
    assert (opened.subprotocol, opened.tail) == ("sokken.v2", b"tail")
    [request] = script.requests
    assert request.start == "GET /base/tunnel/[::1]:22?a=b HTTP/1.1"
    assert request.fields["host"] == "{}:{}".format(*fake.address)
    assert request.fields["sokken-client-id"] == "machine-a"
    assert request.fields["sokken-tunnel"] == "night"
    assert request.fields["sokken-connection-id"] == ID
    assert request.fields["sokken-version"] == __version__
    assert "origin" not in request.fields


def test_nothing_is_said_of_a_tunnel_without_name(loop):
    script = Script([])
    with fake_server(script) as fake:
        run(open_one(fake.url("/tunnel/a:1")), loop)
    assert "sokken-tunnel" not in script.requests[0].fields


def test_every_attempt_has_a_key_of_its_own_under_one_connection_id(loop):
    script = Script([refusal(503)] * 2)
    with fake_server(script) as fake:
        run(open_one(fake.url("/tunnel/a:1")), loop)
    assert len({request.fields["sec-websocket-key"] for request in script.requests}) == 3
    assert {request.fields["sokken-connection-id"] for request in script.requests} == {ID}


@pytest.mark.parametrize(
    "said",
    [
        *[refusal(status) for status in (429, 500, 502, 503, 504)],
        *[refusal(429, reason) for reason in ("server_full", "client_full", "target_full", "rate_limited")],
        refusal(503, "draining", Retry_After="0"),
        b"",
    ],
)
def test_what_may_mend_itself_is_tried_again(loop, said):
    script = Script([said] * 2)
    with fake_server(script) as fake:
        opened = run(open_one(fake.url("/tunnel/a:1")), loop)
    assert opened.subprotocol == "sokken.v2"
    assert len(script.requests) == 3


FINAL = {
    "bad_request": (refusal(400, "bad_request"), "bad_request", "400 bad_request"),
    "unauthenticated": (refusal(401, "unauthenticated"), "unauthenticated", "401"),
    "forbidden_target": (refusal(403, "forbidden_target"), "forbidden_target", "403 forbidden_target"),
    "not_found": (refusal(404, "not_found"), "not_found", "SOKKEN_BASE_PATH"),
    "target_refused": (refusal(502, "target_refused"), "target_refused", "502 target_refused"),
    "target_unreachable": (refusal(502, "target_unreachable"), "target_unreachable", "502"),
    "target_dns": (refusal(502, "target_dns"), "target_dns", "502"),
    "target_timeout": (refusal(504, "target_timeout"), "target_timeout", "504"),
    "400 of something else": (refusal(400), "bad_request", "check the URL"),
    "a proxy that asks for credentials": (refusal(407), "unauthenticated", "proxy"),
    "426": (refusal(426), "server_unreachable", "check the URL"),
    "a redirection": (refusal(301, Location="https://b.test/x"), "server_unreachable", "https://b.test/x"),
    "a web page": (refusal(200), "server_unreachable", "check the URL"),
    "a wrong accept": (
        refusal(101, Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Accept="x"),
        "protocol_error",
        "Sec-WebSocket-Accept",
    ),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "protocol_error", "no HTTP/1"),
}


@pytest.mark.parametrize(("said", "outcome", "words"), FINAL.values(), ids=FINAL)
def test_what_will_stay_as_it_is_fails_at_once(loop, said, outcome, words):
    script = Script([said])
    with fake_server(script) as fake:
        error = run(fail(fake.url("/tunnel/a:1")), loop)
    assert len(script.requests) == 1
    assert (error.outcome, error.retry) == (outcome, False)
    assert words in str(error)


def test_a_server_without_our_subprotocols_fails(loop):
    with fake_server(lambda request: accept_tunnel(request, "chat")) as fake:
        error = run(fail(fake.url("/tunnel/a:1")), loop)
    assert (error.outcome, error.retry) == ("protocol_error", False)
    assert "'chat'" in error.detail


def test_the_servers_explanation_is_passed_on(loop):
    body = b'{"detail": "127.0.0.1:22 is not an allowed target of this server"}'
    said = refusal(403, "forbidden_target", Content_Length=str(len(body))) + body
    with fake_server(Script([said])) as fake:
        assert "127.0.0.1:22 is not an allowed target" in run(fail(fake.url("/tunnel/a:1")), loop).detail


def test_it_waits_as_long_as_the_server_says(loop):
    script = Script([refusal(503, "draining", Retry_After="1")])
    started = time.monotonic()
    with fake_server(script) as fake:
        run(open_one(fake.url("/tunnel/a:1")), loop)
    assert 1 <= time.monotonic() - started + 0.01 < 4


def test_it_does_not_wait_in_vain(loop):
    """A Retry-After beyond what is left: the application should know now."""
    script = Script([refusal(503, "draining", Retry_After="11")])
    started = time.monotonic()
    with fake_server(script) as fake:
        error = run(fail(fake.url("/tunnel/a:1"), connect_timeout_seconds=10), loop)
    assert time.monotonic() - started < 5
    assert (error.outcome, error.retry_after, len(script.requests)) == ("draining", 11, 1)


def test_the_budget_bounds_all_attempts_together(loop):
    async def main():
        with closed_port() as where:
            started = time.monotonic()
            error = await fail("ws://{}:{}/tunnel/a:1".format(*where), connect_timeout_seconds=1)
            assert time.monotonic() - started < 2
            assert error.outcome == "server_unreachable"
            assert error.detail == "{}:{}: connection refused".format(*where)

    run(main(), loop)


def test_many_attempts_fit_in_the_budget(loop):
    script = Script([refusal(503)] * 1000)
    with fake_server(script) as fake:
        error = run(fail(fake.url("/tunnel/a:1"), connect_timeout_seconds=1), loop)
    assert error.outcome == "server_unreachable"
    assert 3 <= len(script.requests) < 200  # most likely some ten: the delays double


def test_a_server_that_comes_late_is_found(loop):
    async def main():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            url = parse_server_url("ws://{}:{}/tunnel/a:1".format(*listener.getsockname()))
            async with connectors() as connector:
                opening = asyncio.ensure_future(connector.open(url, ID))
                await asyncio.sleep(0.15)
                listener.listen()
                sock, _ = await asyncio.to_thread(listener.accept)
                accept_tunnel(await asyncio.to_thread(receive_head, sock))
                (await opening).channel.close()
                sock.close()

    run(main(), loop)


def test_a_server_that_says_nothing_is_asked_again_and_given_up(loop):
    requests = []
    with fake_server(requests.append) as fake:
        started = time.monotonic()
        error = run(fail(fake.url("/tunnel/a:1"), connect_timeout_seconds=1, attempt_timeout_seconds=0.3), loop)
        assert time.monotonic() - started < 2
    assert len(requests) >= 2
    assert (error.outcome, error.detail) == ("connect_timeout", "the server did not answer within 0.3 s")


def test_a_host_that_does_not_answer(loop):
    async def main():
        with black_hole() as where:
            error = await fail("ws://{}:{}/tunnel/a:1".format(*where), connect_timeout_seconds=0.3)
            assert error.outcome == "connect_timeout"

    run(main(), loop)


def test_an_attempt_that_is_cut_short_does_not_hide_what_failed_before(loop):
    requests = []

    def first_no_then_nothing(request: Head) -> None:
        requests.append(request)
        if len(requests) == 1:
            answer(request, refusal(503, "draining", Retry_After="0"))

    with fake_server(first_no_then_nothing) as fake:
        error = run(fail(fake.url("/tunnel/a:1"), connect_timeout_seconds=1, attempt_timeout_seconds=5), loop)
    assert (error.outcome, len(requests)) == ("draining", 2)


def test_a_name_that_does_not_resolve_is_asked_for_again(loop):
    async def main():
        error = await fail("ws://nowhere.invalid/tunnel/a:1", connect_timeout_seconds=0.3)
        assert (error.outcome, error.retry) == ("server_dns", True)
        assert "nowhere.invalid does not resolve" in error.detail

    run(main(), loop)


def test_a_connection_that_ends_or_breaks_before_the_answer(loop):
    def end(request: Head) -> None:
        request.sock.close()

    def break_off(request: Head) -> None:
        reset(request.sock)

    words = {end: "it ended before there was an answer; if it expects TLS, use wss://", break_off: "reset by peer"}
    for on_request, said in words.items():
        with fake_server(on_request) as fake:
            error = run(fail(fake.url("/tunnel/a:1"), connect_timeout_seconds=0.3), loop)
        assert (error.outcome, error.retry) == ("server_unreachable", True)
        assert error.detail.startswith("the connection to the server was lost: ")
        assert said in error.detail


def test_who_gives_up_leaves_no_connection(loop):
    async def main(fake):
        async with connectors() as connector:
            opening = asyncio.ensure_future(connector.open(parse_server_url(fake.url("/tunnel/a:1")), ID))
            request = await asyncio.to_thread(fake.next_request)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
            assert was_reset(request.sock)

    with fake_server() as fake:
        run(main(fake), loop)


# TLS


def secured(sock: socket.socket) -> None:
    """Accept one tunnel over TLS."""
    with server_context().wrap_socket(sock, server_side=True) as channel:
        accept_tunnel(receive_head(channel), tail=b"tail")
        while channel.recv(100):
            pass


def test_a_tunnel_over_tls(loop):
    with target(secured) as (_, port):
        opened = run(open_one(f"wss://localhost:{port}/tunnel/a:1", ca_file=CERTIFICATE), loop)
        assert (opened.subprotocol, opened.tail) == ("sokken.v2", b"tail")
        assert isinstance(opened.channel, ssl.SSLSocket)


def test_who_cannot_be_trusted_is_not_asked_again(loop):
    with target(secured) as (_, port):
        error = run(fail(f"wss://localhost:{port}/tunnel/a:1"), loop)
    assert (error.outcome, error.retry) == ("server_tls", False)
    assert "certificate is not accepted: self-signed certificate; SOKKEN_CA_FILE names other" in error.detail


def test_a_plain_server_where_tls_is_expected(loop):
    with target(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as (_, port):
        error = run(fail(f"wss://localhost:{port}/tunnel/a:1", ca_file=CERTIFICATE), loop)
    assert (error.outcome, error.retry) == ("server_tls", False)
    assert error.detail == "the server does not speak TLS there: is ws:// meant instead of wss://?"


def test_a_server_that_ends_within_the_handshake(loop):
    """A balancer without a server behind it, or a server that limits how often one may come."""
    for end in (lambda sock: sock.recv(10_000), lambda sock: None, reset):
        with target(end) as (_, port):
            url = f"wss://localhost:{port}/tunnel/a:1"
            error = run(fail(url, ca_file=CERTIFICATE, connect_timeout_seconds=0.5), loop)
        assert (error.outcome, error.retry) == ("server_unreachable", True)
        # A reset may come before the dial has looked whether there is a connection.
        was_in_dial = end is reset and error.detail == f"localhost:{port}: connection reset by peer"
        assert was_in_dial or error.detail.startswith("the connection to the server was lost: ")


def test_nobody_is_asked_while_an_authority_cannot_be_read_and_somebody_once_it_can(loop, tmp_path):
    path = tmp_path / "ca.pem"

    async def main(url: str):
        async with connectors(ca_file=path) as connector:
            with pytest.raises(ConnectError) as caught:
                await connector.open(url, ID)
            assert accepted == []
            path.write_bytes(CERTIFICATE.read_bytes())
            opened = await connector.open(url, ID)
            opened.channel.close()
            return caught.value

    def note(sock: socket.socket) -> None:
        accepted.append(sock)
        secured(sock)

    accepted: list[socket.socket] = []
    with target(note) as (_, port):
        error = run(main(parse_server_url(f"wss://localhost:{port}/tunnel/a:1")), loop)
    assert (error.outcome, error.retry) == ("credential_unavailable", False)
    assert error.detail == f"SOKKEN_CA_FILE: cannot use {path}: no such file or directory"
    assert len(accepted) == 1


# The check


async def check(url: str, **given) -> None:
    async with connectors(**given) as connector:
        await connector.check(parse_server_url(url))


def serve_check(said: bytes, seen: list[bytes]):
    def serve(sock: socket.socket) -> None:
        seen.append(sock.recv(10_000))
        sock.sendall(said)

    return target(serve)


@pytest.mark.parametrize("said", [refusal(204), refusal(400), refusal(426)])
def test_a_check_passes(loop, said):
    """400 and 426 without a reason are what an original says to it."""
    seen = []
    with serve_check(said, seen) as (_, port):
        run(check(f"ws://127.0.0.1:{port}/tunnel/a:1", tunnel_name="night"), loop)
    [head] = seen
    assert head.startswith(b"HEAD /tunnel/a:1 HTTP/1.1\r\n")
    assert b"\r\nSokken-Client-Id: machine-a\r\n" in head
    assert b"\r\nSokken-Tunnel: night\r\n" in head
    assert b"Upgrade" not in head


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (refusal(400, "bad_request"), "bad_request"),
        (refusal(403, "forbidden_target"), "forbidden_target"),
        (refusal(503, "draining", Retry_After="1"), "draining"),
        (refusal(200), "server_unreachable"),
        (b"nonsense\r\n\r\n", "protocol_error"),
    ],
)
def test_a_check_fails_once_and_is_not_repeated_here(loop, said, outcome):
    async def main(port):
        with pytest.raises(ConnectError) as caught:
            await check(f"ws://127.0.0.1:{port}/tunnel/a:1")
        assert caught.value.outcome == outcome

    seen = []
    with serve_check(said, seen) as (_, port):
        run(main(port), loop)
    assert len(seen) == 1


def test_a_check_is_not_waited_for_longer_than_an_attempt(loop):
    async def main():
        with black_hole() as where, pytest.raises(ConnectError) as caught:
            await check("ws://{}:{}/tunnel/a:1".format(*where), attempt_timeout_seconds=0.1)
        assert caught.value.outcome == "connect_timeout"

    run(main(), loop)
