"""What the doctor does on the network: facts as they are, whatever is at the other end."""

import contextlib
import time
from contextlib import asynccontextmanager

import pytest

from sokken.doctor.judge_http import Exchange, NoAnswer
from sokken.doctor.judge_tls import TlsFailure
from sokken.doctor.reach import Reach, read_skew
from sokken.protocol.address import parse_server_url
from sokken.protocol.handshake import Answer
from sokken.protocol.proxy import parse_proxy
from sokken.transport.credentials import Credentials
from sokken.transport.dial import DialFailure
from tests.support.addresses import closed_port
from tests.support.black_holes import black_hole
from tests.support.fake_server import answer, fake_server
from tests.support.loops import CERTIFICATE, LOOPS, planes, run, server_context
from tests.support.settings import client_settings
from tests.support.targets import reset, target
from tests.support.wire import accept_tunnel, format_head, receive_head

pytestmark = pytest.mark.parametrize("loop", LOOPS)


@asynccontextmanager
async def reaches(url, seconds=5.0, **given):
    settings = client_settings(**given)
    async with planes(masks=True) as plane:
        reach = Reach(plane, settings, parse_server_url(url), seconds)
        reach.credentials = Credentials(settings)
        yield reach


def find(loop, use, url, **given):
    """What ``use`` makes of the way to ``url``."""

    async def main():
        async with reaches(url, **given) as reach:
            return await use(reach)

    return run(main(), loop)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_name_and_an_address(loop, host):
    found = find(loop, Reach.look_up, f"ws://{host}:1/tunnel/a:1")
    assert (found.whose, found.host, found.problem) == ("the server", host, "")
    assert "127.0.0.1" in found.addresses
    assert len(set(found.addresses)) == len(found.addresses)


def test_a_name_that_is_none_and_whose_it_is(loop):
    proxy = parse_proxy("http://nowhere.invalid:3128")
    found = find(loop, Reach.look_up, "ws://127.0.0.1:1/tunnel/a:1", proxy=proxy)
    assert (found.whose, found.host, list(found.addresses)) == ("the proxy", "nowhere.invalid", [])
    assert found.problem == found.problem.lower() != ""


def test_each_address_is_tried_by_itself(loop):
    async def use(reach):
        return await reach.dial_each(("127.0.0.1", "127.0.0.2", "::1"))

    with target(lambda sock: None) as (_, port):
        found = find(loop, use, f"ws://several.test:{port}/tunnel/a:1")
    assert [(dialled.address.host, dialled.failure) for dialled in found] == [
        ("127.0.0.1", None),
        ("127.0.0.2", DialFailure.REFUSED),
        ("::1", DialFailure.REFUSED),
    ]


def test_one_that_does_not_answer_is_given_up_in_time(loop):
    async def use(reach):
        return await reach.dial_each((reach.first.host,))

    with black_hole() as (host, port):
        [found] = find(loop, use, f"ws://{host}:{port}/tunnel/a:1", seconds=0.3)
    assert found.failure is DialFailure.TIMEOUT
    assert 0.29 <= found.seconds < 2


def test_a_check_that_is_answered(loop):
    with fake_server() as fake:
        found = find(loop, Reach.check, fake.url("/tunnel/a:1"))
    assert (found.answer.status, found.failure) == (204, None)


ENDINGS = {
    "no HTTP": (lambda sock: sock.sendall(b"SSH-2.0-OpenSSH\r\n\r\n"), NoAnswer.NO_HTTP),
    "an end": (lambda sock: sock.recv(10_000), NoAnswer.ENDED),
    "a reset": (reset, NoAnswer.ENDED),
    "silence": (lambda sock: [sock.recv(10_000), time.sleep(1)], NoAnswer.TIMEOUT),
}


@pytest.mark.parametrize(("end", "failure"), ENDINGS.values(), ids=ENDINGS)
def test_a_check_that_is_not_answered(loop, end, failure):
    with target(end) as (host, port):
        found = find(loop, Reach.check, f"ws://{host}:{port}/tunnel/a:1", seconds=0.5)
    assert (found.answer, found.failure) == (None, failure)


def test_a_server_that_wants_to_be_left_alone_for_a_moment_is_asked_again(loop):
    limited = format_head("HTTP/1.1 429 X", {"Sokken-Reason": "rate_limited", "Retry-After": "1"})
    answers = [limited, format_head("HTTP/1.1 204 No Content", {})]

    def handle(sock):
        receive_head(sock)
        sock.sendall(answers.pop(0))

    with target(handle) as (host, port):
        found = find(loop, Reach.check, f"ws://{host}:{port}/tunnel/a:1")
    assert found.answer.status == 204
    assert answers == []


def test_a_tunnel_that_opens_and_one_that_is_spoilt(loop):
    async def use(reach):
        exchanged, line, subprotocol, spoilt = await reach.upgrade()
        if line is not None:
            await line.close()
        return exchanged.answer.status, line is not None, subprotocol, spoilt

    with fake_server(accept_tunnel) as fake:
        assert find(loop, use, fake.url("/tunnel/a:1")) == (101, True, "sokken.v2", "")
    bare = format_head("HTTP/1.1 101 Switching Protocols", {"Upgrade": "websocket", "Connection": "upgrade"})
    with fake_server(lambda request: answer(request, bare)) as fake:
        status, is_open, _, spoilt = find(loop, use, fake.url("/tunnel/a:1"))
    assert (status, is_open) == (101, False)
    assert spoilt.startswith("Sec-WebSocket-Accept is wrong")


def speak_tls(sock):
    with contextlib.suppress(OSError), server_context().wrap_socket(sock, server_side=True) as secured:
        secured.recv(10_000)


def test_tls_and_its_certificate_also_of_one_that_is_not_trusted(loop):
    with target(speak_tls) as (_, port):
        url = f"wss://localhost:{port}/tunnel/a:1"
        trusted = find(loop, Reach.shake, url, ca_file=CERTIFICATE)
        unknown = find(loop, Reach.shake, url)
        other = find(loop, Reach.shake, url, ca_file=CERTIFICATE, server_name="other.example")
    assert (trusted.failure, trusted.version) == (None, "TLSv1.3")
    for found in (unknown, other):
        assert found.failure is TlsFailure.CERTIFICATE
        assert found.certificate == trusted.certificate is not None
        assert found.version == ""


@pytest.mark.parametrize(
    ("end", "failure"),
    [
        (lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), TlsFailure.NO_TLS),
        (lambda sock: sock.recv(10_000), TlsFailure.ENDED),
        (lambda sock: [sock.recv(10_000), time.sleep(1)], TlsFailure.TIMEOUT),
    ],
    ids=["no TLS", "an end", "silence"],
)
def test_a_handshake_that_fails(loop, end, failure):
    with target(end) as (_, port):
        found = find(loop, Reach.shake, f"wss://localhost:{port}/tunnel/a:1", ca_file=CERTIFICATE, seconds=0.5)
    assert found.failure is failure


def test_what_listens_where_no_http_is_spoken(loop):
    def greet(sock):
        sock.sendall(b"SSH-2.0-OpenSSH_9\r\nmore")
        sock.recv(1)

    with target(speak_tls) as (_, tls), target(greet) as (_, ssh):
        plain = "ws://127.0.0.1:{}/tunnel/a:1"
        assert find(loop, Reach.speaks_tls, plain.format(tls)) is True
        assert find(loop, Reach.speaks_tls, plain.format(ssh)) is False
        assert find(loop, Reach.hear_greeting, plain.format(ssh)) == "SSH-2.0-OpenSSH_9"
    with closed_port() as (_, port):
        assert find(loop, Reach.speaks_tls, plain.format(port)) is False
        assert find(loop, Reach.hear_greeting, plain.format(port)) == ""


def test_a_proxy_that_connects_and_one_that_does_not(loop):
    def connects(sock):
        receive_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        sock.recv(1)

    def refuses(sock):
        receive_head(sock)
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    problems = []
    for handle in (connects, refuses, lambda sock: [sock.recv(10_000), time.sleep(1)]):
        with target(handle) as (host, port):
            proxy = parse_proxy(f"http://{host}:{port}")

            async def use(reach):
                return (await reach.pass_proxy(reach.proxy))[1]

            problems.append(find(loop, use, "ws://b.test:80/tunnel/a:1", proxy=proxy, seconds=0.5))
    assert problems[0] == ""
    assert "403" in problems[1]
    assert problems[2].endswith("did not connect to b.test:80 within 0.5 s")


DATE = "Mon, 02 Mar 2026 10:00:00 GMT"
THEN = 1772445600.0


@pytest.mark.parametrize(
    ("date", "now", "skew"),
    [
        (DATE, THEN, 0.0),
        (DATE, THEN + 0.9, 0.0),
        (DATE, THEN + 61, 60.0),
        (DATE, THEN - 60, -60.0),
        ("yesterday", THEN, None),
        ("", THEN, None),
    ],
)
def test_the_clocks_difference(loop, date, now, skew):
    assert read_skew(Exchange(0.1, Answer(204, "", {"date": date})), now) == skew
    assert read_skew(Exchange(0.1), now) is None
