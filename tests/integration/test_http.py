"""The HTTP address of both programs against hostile and odd input: answered, told in one line, and nothing kept."""

import itertools
import json
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from tests.support.programs import Client, Line, Server, client, join, server
from tests.support.raw_http import Answer, exchange, parse_answer, request, upgrade
from tests.support.targets import PATIENCE, connect, echo, eventually, receive_all, reset, target
from tests.support.wire import BINARY, Wire, frame, open_tunnel, receive_head

LOOPS = ["asyncio", "uvloop"]
HEAD_LIMIT = 16384
HEAD_SECONDS = 10.0


@dataclass
class Watched:
    """A program whose every line and descriptor is accounted for."""

    end: Server | Client
    target: str = ""
    descriptors: int = 0
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def api(self) -> tuple[str, int]:
        return self.end.api

    @property
    def path(self) -> str:
        return f"/tunnel/{self.target}"

    def lines_of(self, act: Callable[[], object]) -> list[Line]:
        """What is logged because of ``act``: all between two requests that are logged themselves."""
        first = self._mark()
        act()
        last = self._mark()
        return self.end.program.lines[first + 1 : last]

    def is_untouched(self) -> bool:
        """Whether it counts nothing, and holds no more descriptors than when it was idle."""
        # First the descriptors: the request that asks for the connections takes one itself, and for a moment longer.
        if self.end.program.descriptors() > self.descriptors:
            return False
        return json.loads(exchange(self.api, request("/health")).body)["connections"] == 0

    def _mark(self) -> int:
        path = f"/mark-{next(self._numbers)}"
        exchange(self.api, request(path))
        line = self.end.program.wait_for("bad_request", status=404, detail=f"Not Found: GET {path}")
        return self.end.program.lines.index(line)


@contextmanager
def watched(end: Server | Client, where: str = "") -> Iterator[Watched]:
    found = Watched(end, where)
    found._mark()  # the first request loads what the later ones need
    found.descriptors = min(_look(end.program.descriptors) for _ in range(20))
    yield found


def _look(count: Callable[[], int]) -> int:
    time.sleep(0.005)
    return count()


@pytest.fixture(scope="module")
def servers():
    with ExitStack() as stack:
        where = stack.enter_context(target(echo))
        yield {
            loop: stack.enter_context(
                watched(stack.enter_context(server(where, env={"SOKKEN_EVENT_LOOP": loop})), join(where))
            )
            for loop in LOOPS
        }


@pytest.fixture(params=LOOPS)
def far(request, servers):
    """The server, which no test may leave otherwise than it was."""
    found = servers[request.param]
    yield found
    eventually(found.is_untouched)
    assert found.end.program.noise == []


@pytest.fixture(scope="module")
def near():
    with server(("127.0.0.1", 9)) as far, client(far.url(("127.0.0.1", 9))) as program:
        program.program.wait_for("server_check_passed")
        with watched(program) as found:
            yield found


def assert_refused(watched: Watched, act: Callable[[], Answer], statuses: set[int]) -> Answer:
    """Refused with a problem document, and told in one line that bears its id."""
    answers: list[Answer] = []
    started = time.monotonic()
    lines = watched.lines_of(lambda: answers.append(act()))
    assert time.monotonic() - started < 5
    answer = answers[0]
    assert answer.status in statuses, answer
    assert answer.problem["detail"].isprintable()
    assert len(answer.body) < 1000
    assert answer.fields["connection"] == "close"
    assert answer.fields.get("server", "sokken") == "sokken"
    assert [line["event"] for line in lines] in (["bad_request"], ["connection_refused"]), lines
    assert lines[0]["connection_id"] == answer.fields["sokken-connection-id"]
    assert lines[0]["detail"] == answer.problem["detail"]
    assert lines[0]["level"] == "warning"
    assert lines[0]["peer"].startswith("127.0.0.1:")
    return answer


FIELD = ("X-Field", "a")
CHUNKED = ("Transfer-Encoding", "chunked")
LENGTH = ("Content-Length", "5")

# What has no need to know the target: the same at both programs. Request, status, a word of the explanation.
HOSTILE = {
    "a body": (request("/health", "GET", "HTTP/1.1", LENGTH) + b"hello", 400, "no body"),
    "a body that does not come": (request("/health", "GET", "HTTP/1.1", LENGTH), 400, "no body"),
    "a large body": (request("/health", "GET", "HTTP/1.1", ("Content-Length", "60000")) + bytes(60000), 400, "no body"),
    "a chunked body": (request("/health", "GET", "HTTP/1.1", CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n", 400, "no body"),
    "a body that is expected": (request("/health", "GET", "HTTP/1.1", LENGTH, ("Expect", "100-continue")), 400, "body"),
    "an expectation without a body": (request("/health", "GET", "HTTP/1.1", ("Expect", "100-continue")), 400, "body"),
    "an unknown expectation": (request("/health", "GET", "HTTP/1.1", ("Expect", "cake")), 400, "body"),
    "two hosts": (request("/health", "GET", "HTTP/1.1", ("Host", "a"), ("Host", "b")), 400, "Host"),
    "the same host twice": (request("/health", "GET", "HTTP/1.1", ("Host", "a"), ("Host", "a")), 400, "Host"),
    "no host": (request("/health", "GET", "HTTP/1.1", ("Host", "")), 400, "Host"),
    "64 KiB of fields": (request("/health", "GET", "HTTP/1.1", *[("X", "a" * 1000)] * 65), 431, "16384"),
    "one field of 64 KiB": (request("/health", "GET", "HTTP/1.1", ("X", "a" * 65536)), 431, "16384"),
    "200 fields": (request("/health", "GET", "HTTP/1.1", *[FIELD] * 200), 400, "Too many headers"),
    "a path of 20 KiB": (request("/" + "a" * 20480), 431, "16384"),
    "a path of 12 KiB": (request("/" + "a" * 12288), 404, "Not Found"),
    "an unknown path": (request("/nothing"), 404, "/nothing"),
    "another case": (request("/HEALTH"), 404, "/HEALTH"),
    "a trailing slash": (request("/health/"), 404, "/health/"),
    "two slashes": (request("//health"), 404, "//health"),
    "a way up": (request("/../health"), 404, "/../health"),
    "a way up, encoded": (request("/x/%2e%2e/health"), 404, "Not Found"),
    "an encoded escape": (request("/%1b%5bm%00"), 404, "Not Found"),
    "a fragment": (request("/health#x"), 400, "request line"),
    "an empty target": (request(""), 400, "request line"),
    "a space in the target": (request("/he alth"), 400, "request line"),
    "a NUL in the target": (request("/he\0alth"), 400, "request line"),
    "UTF-8 in the target": (request("/hé"), 400, "request line"),
    "Latin-1 in the target": (request(b"/h\xe9"), 400, "request line"),
    "an asterisk": (request("*"), 400, "*"),
    "an asterisk for OPTIONS": (request("*", "OPTIONS"), 404, "*"),
    "authority form": (request("server.test:80", "CONNECT"), 400, ""),
    "an absolute target without host": (request("http:///health"), 400, ""),
    "an absolute target with a bad port": (request("http://a:99999/health"), 400, "99999"),
    "an absolute target with a bad host": (request("http://[::1/health"), 400, "[::1"),
    "a wrong method": (request("/health", "POST"), 405, "POST"),
    "an unknown method": (request("/health", "FROB"), 400, "method"),
    "a method in small letters": (request("/health", "get"), 400, "method"),
    "a method without end": (b"A" * 4096, 400, "starts with"),
    "HTTP/0.9": (b"GET /health\r\n\r\n", 400, "request line"),
    "HTTP/2.0 in words": (request("/health", "GET", "HTTP/2.0"), 400, "request line"),
    "HTTP/1.2": (request("/health", "GET", "HTTP/1.2"), 400, "request line"),
    "an HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 400, "HTTP/2"),
    "half an HTTP/2 preface": (b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(506), 400, "TLS"),
    "PROXY, version 1": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + request(), 400, "PROXY"),
    "PROXY, version 2": (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + request(), 400, "PROXY"),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", 400, "starts with"),
    "SMTP": (b"EHLO client.test\r\n", 400, "request line"),
    "SOCKS 5": (b"\x05\x01\x00", 400, "starts with"),
    "RDP": (b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0", 400, "starts with"),
    "a frame of a WebSocket": (b"\x81\x85abcdefghi", 400, "starts with"),
    "NULs": (bytes(1000), 400, "starts with"),
    "blank lines": (b"\r\n\r\n", 400, "starts with"),
    "a blank line before": (b"\r\n" + request(), 400, "starts with"),
    "bare LF": (b"GET /health HTTP/1.1\nHost: a\n\n", 400, "LF"),
    "one bare LF": (b"GET /health HTTP/1.1\r\nHost: a\n\r\n", 400, "LF"),
    "bare CR": (b"GET /health HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, ""),
    "a folded field": (request("/health", "GET", "HTTP/1.1", ("X", "a\r\n b")), 400, ""),
    "a space before the colon": (request("/health", "GET", "HTTP/1.1", ("X ", "a")), 400, "header"),
    "a field without colon": (b"GET /health HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n", 400, "header"),
    "a field without name": (request("/health", "GET", "HTTP/1.1", ("", "a")), 400, "header"),
    "a NUL in a field": (request("/health", "GET", "HTTP/1.1", ("X", "a\0b")), 400, "header"),
    "length and chunks": (request("/health", "GET", "HTTP/1.1", LENGTH, CHUNKED) + b"0\r\n\r\n", 400, "Content-Length"),
    "chunks and length": (request("/health", "GET", "HTTP/1.1", CHUNKED, LENGTH) + b"0\r\n\r\n", 400, "Content-Length"),
    "two lengths": (request("/health", "GET", "HTTP/1.1", ("Content-Length", "0"), LENGTH), 400, "Content-Length"),
    "a list of lengths": (request("/health", "GET", "HTTP/1.1", ("Content-Length", "5, 5")), 400, "Content-Length"),
    "a negative length": (request("/health", "GET", "HTTP/1.1", ("Content-Length", "-5")), 400, "Content-Length"),
    "a signed length": (request("/health", "GET", "HTTP/1.1", ("Content-Length", "+5")), 400, "Content-Length"),
    "an endless length": (request("/health", "GET", "HTTP/1.1", ("Content-Length", "9" * 40)), 400, "Content-Length"),
    "odd chunks": (request("/health", "GET", "HTTP/1.1", ("Transfer-Encoding", "xchunked")), 400, "Transfer-Encoding"),
    "chunks twice": (request("/health", "GET", "HTTP/1.1", CHUNKED, CHUNKED), 400, ""),
}


@pytest.mark.parametrize(("data", "status", "words"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_input_is_refused(far, data, status, words):
    assert words in assert_refused(far, lambda: exchange(far.api, data), {status}).problem["detail"]


ALSO_AT_THE_CLIENT = ["a body", "two hosts", "one field of 64 KiB", "TLS", "an HTTP/2 preface", "bare LF", "NULs"]


@pytest.mark.parametrize("name", ALSO_AT_THE_CLIENT)
def test_hostile_input_is_refused_by_the_client_too(near, name):
    data, status, words = HOSTILE[name]
    assert words in assert_refused(near, lambda: exchange(near.api, data), {status}).problem["detail"]
    eventually(near.is_untouched)


def test_the_client_serves_no_tunnels(near):
    answer = assert_refused(near, lambda: exchange(near.api, upgrade("/tunnel/127.0.0.1:9")), {404})
    assert answer.fields["sokken-reason"] == "not_found"


NO_TUNNEL = {
    "a short key": ([("Sec-WebSocket-Key", "abc")], {}, "Key"),
    "no key": ([("Sec-WebSocket-Key", "")], {}, "Key"),
    "two keys": ([("Sec-WebSocket-Key", "a" * 22 + "=="), ("Sec-WebSocket-Key", "b" * 22 + "==")], {}, "Key"),
    "an old version": ([("Sec-WebSocket-Version", "8")], {}, "13"),
    "no version": ([("Sec-WebSocket-Version", "")], {}, "13"),
    "HTTP/1.0": ([], {"version": "HTTP/1.0"}, "HTTP/1.1"),
    "no Connection": ([("Connection", "")], {}, "Connection"),
    "Connection: close": ([("Connection", "close")], {}, "Connection"),
    "no Upgrade": ([("Upgrade", "")], {}, "Upgrade"),
    "an upgrade to HTTP/2": ([("Upgrade", "h2c")], {}, "Upgrade"),
    "no subprotocol": ([("Sec-WebSocket-Protocol", "")], {}, "Protocol"),
    "other subprotocols": ([("Sec-WebSocket-Protocol", "mqtt, sokken.v3")], {}, "Protocol"),
    "a body": ([LENGTH], {}, "no body"),
    "a chunked body": ([CHUNKED], {}, "no body"),
}


@pytest.mark.parametrize(("fields", "how", "words"), NO_TUNNEL.values(), ids=NO_TUNNEL)
def test_a_bad_upgrade_is_refused(far, fields, how, words):
    answer = assert_refused(far, lambda: exchange(far.api, upgrade(far.path, *fields, **how)), {400})
    assert words in answer.problem["detail"]
    assert answer.fields["sokken-reason"] == "bad_request"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_open_no_tunnel(far, method):
    answer = assert_refused(far, lambda: exchange(far.api, upgrade(far.path, method=method)), {405})
    assert answer.fields["allow"] == "GET,HEAD"


TARGETS = {
    "empty": "/tunnel/",
    "two slashes": "/tunnel//{}",
    "a trailing slash": "/tunnel/{}/",
    "encoded twice": "/tunnel/%2531%32%37.0.0.1:9",
    "a bad escape": "/tunnel/%zz:9",
    "a broken escape": "/tunnel/127.0.0.1%",
    "no UTF-8": "/tunnel/%ff%fe:22",
    "a NUL": "/tunnel/127.0.0.1%00:22",
    "a line end": "/tunnel/{}%0d%0a",
    "a user": "/tunnel/root:secret@{}",
    "a scheme": "/tunnel/http://{}",
    "no port": "/tunnel/127.0.0.1",
    "port 0": "/tunnel/127.0.0.1:0",
    "port 65536": "/tunnel/127.0.0.1:65536",
    "an octal address": "/tunnel/0177.0.0.1:22",
    "a short address": "/tunnel/127.1:22",
    "a way up": "/tunnel/../health",
    "a way up, encoded": "/tunnel/%2e%2e/health",
    "a long name": "/tunnel/" + "a" * 12000 + ":22",
}


@pytest.mark.parametrize("path", TARGETS.values(), ids=TARGETS)
def test_what_is_no_target_is_refused(far, path):
    answer = assert_refused(far, lambda: exchange(far.api, upgrade(path.format(far.target))), {400})
    assert "the path names no target" in answer.problem["detail"]
    assert "secret" not in answer.problem["detail"]


@pytest.mark.parametrize("path", ["/TUNNEL/{}", "/x/../tunnel/{}", "/tunnel", "/tunnel%2F{}", "//tunnel/{}"])
def test_other_paths_open_no_tunnel(far, path):
    answer = assert_refused(far, lambda: exchange(far.api, upgrade(path.format(far.target))), {404})
    assert answer.fields["sokken-reason"] == "not_found"


ALLOWED = {
    "plain": "/tunnel/{}",
    "an absolute target": "http://server.test/tunnel/{}",
    "an encoded digit": "/tunnel/%31{}",
    "an encoded colon": "/tunnel/{}%3A{}",
    "a query": "/tunnel/{}?token=1&a=%20",
    "an empty query": "/tunnel/{}?",
}


def spell(path: str, where: str) -> str:
    host, _, port = where.partition(":")
    if path.count("{}") == 2:
        return path.format(host, port)
    return path.format(where[1:] if path.endswith("%31{}") else where)


@pytest.mark.parametrize("path", ALLOWED.values(), ids=ALLOWED)
def test_spellings_of_an_allowed_target(far, path):
    def use() -> None:
        head, wire = open_tunnel(far.api, spell(path, far.target))
        with wire:
            assert head.status == 101
            assert "server" not in head.fields
            wire.send(BINARY, b"hello")
            assert wire.receive_bytes(5) == b"hello"
        far.end.program.wait_for("connection_closed", connection_id=head.fields["sokken-connection-id"])

    lines = far.lines_of(use)
    assert [(line["event"], line["target"]) for line in lines] == [
        ("connection_opened", far.target),
        ("connection_closed", far.target),
    ]


SERVED = {
    "HTTP/1.0 without host": request("/health", "GET", "HTTP/1.0", ("Host", "")),
    "an empty body": request("/health", "GET", "HTTP/1.1", ("Content-Length", "0")),
    "an absolute target": request("http://server.test/health"),
    "an encoded path": request("/%68ealth"),
    "a query": request("/health?a=b"),
    "keep-alive": request("/health", "GET", "HTTP/1.1", ("Connection", "keep-alive")),
    "an upgrade elsewhere": upgrade("/health"),
    "an offer of HTTP/2": request("/health", "GET", "HTTP/1.1", ("Connection", "Upgrade"), ("Upgrade", "h2c")),
    "an odd host": request("/health", "GET", "HTTP/1.1", ("Host", "[::1")),
    "Latin-1 in a field": request("/health", "GET", "HTTP/1.1", ("X", "\xe9\xff")),
    "a field of 12 KiB": request("/health", "GET", "HTTP/1.1", ("X", "a" * 12288)),
    "100 fields": request("/health", "GET", "HTTP/1.1", *[FIELD] * 100),
    "the largest head": request("/health", "GET", "HTTP/1.1", ("X", "a" * (HEAD_LIMIT - len(request()) - 5))),
    "pipelined requests": request() * 3,
    "a second request that is garbage": request() + os.urandom(1000),
}


@pytest.mark.parametrize("data", SERVED.values(), ids=SERVED)
def test_odd_requests_are_served_once(far, data):
    answers = []
    assert far.lines_of(lambda: answers.append(exchange(far.api, data))) == []
    assert (answers[0].status, answers[0].fields["connection"]) == (200, "close")
    assert json.loads(answers[0].body)["connections"] == 0


def test_one_byte_more_than_the_largest_head(far):
    data = request("/health", "GET", "HTTP/1.1", ("X", "a" * (HEAD_LIMIT - len(request()) - 4)))
    assert len(data) == HEAD_LIMIT + 1
    assert_refused(far, lambda: exchange(far.api, data), {431})


def test_bytes_behind_a_refused_request_do_not_cost_its_answer(far):
    for head in (request("/nothing"), upgrade(far.path, ("Sec-WebSocket-Key", "x")), b"\x16\x03\x01"):
        for size in (1, 10_000, 60_000):
            assert_refused(far, lambda head=head, size=size: exchange(far.api, head + os.urandom(size)), {400, 404})


def test_a_request_byte_by_byte(far):
    data = request("/health", "GET", "HTTP/1.1", FIELD)
    assert exchange(far.api, (data[at : at + 1] for at in range(len(data)))).status == 200


def test_an_upgrade_byte_by_byte_with_its_first_frames(far):
    data = upgrade(far.path) + frame(BINARY, b"hel", masked=True) + frame(BINARY, b"lo", masked=True)
    with connect(far.api) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(data)):
            sock.sendall(data[at : at + 1])
        answer = receive_head(sock)
        assert answer.status == 101
        assert Wire(sock, answer.rest, masks=True).receive_bytes(5) == b"hello"


@pytest.mark.parametrize("size", [1, 5000, 200_000])
def test_frames_in_one_segment_with_the_head(far, size):
    payload = os.urandom(size)
    head, wire = open_tunnel(far.api, far.path, tail=frame(BINARY, payload, masked=True))
    with wire:
        assert head.status == 101
        assert wire.receive_bytes(size) == payload


def test_cuts_make_no_difference(far):
    cuts = random.Random(9)
    for data, status, _ in HOSTILE.values():
        at = sorted(cuts.sample(range(len(data)), min(3, len(data))))
        pieces = [data[start:stop] for start, stop in itertools.pairwise([0, *at, len(data)])]
        assert exchange_in_time(far.api, pieces).status in {status, 400}


def exchange_in_time(api: tuple[str, int], pieces: list[bytes]) -> Answer:
    """Send what is still wanted, each piece for itself: an answer may come before the last."""
    with connect(api) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            with suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(piece)
            time.sleep(0.001)
        return parse_answer(receive_all(sock))


def test_mutated_requests_are_answered(far):
    """No head may make the parser wait for more: whatever ends in a blank line gets an answer or a tunnel."""
    chance = random.Random(2024)
    seeds = [request(), upgrade(far.path), request("/health", "HEAD"), b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n"]
    for _ in range(300):
        data = bytearray(chance.choice(seeds)[:-4])
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        with connect(far.api) as sock:
            sock.settimeout(5)
            sock.sendall(bytes(data) + b"\r\n\r\n")
            status = receive_head(sock).status
            assert status in {101, 200, 204} or 400 <= status < 500


def test_garbage_is_answered(far):
    chance = random.Random(7)
    for _ in range(100):
        data = chance.randbytes(chance.randrange(1, 2000))
        if data[:1].isalnum() and b"\n" not in data:
            data += b"\n"
        assert exchange(far.api, data, end=True).status in {400, 431}


def test_an_end_within_the_head_is_answered(far):
    answer = assert_refused(far, lambda: exchange(far.api, b"GET /health HTTP/1.1\r\nHost:", end=True), {400})
    assert "ended" in answer.problem["detail"]


def test_a_port_scan_leaves_no_trace(far):
    def scan() -> None:
        for leave in (socket.socket.close, reset):
            for data in (b"", b"GET /"):
                with connect(far.api) as sock:
                    sock.sendall(data)
                    if leave is reset or not data:
                        leave(sock)

    lines = far.lines_of(scan)
    assert len(lines) <= 1  # of the end within a head
    assert all(line["event"] == "bad_request" for line in lines)


def test_a_probe_that_ends_is_ended_in_order(far):
    with connect(far.api) as sock:
        sock.shutdown(socket.SHUT_WR)
        assert receive_all(sock) == b""


def test_many_at_once(far):
    """A crowd of half requests does not keep others waiting, and is forgotten when it goes."""
    crowd = [connect(far.api) for _ in range(200)]
    for sock in crowd:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: a")
    started = time.monotonic()
    assert exchange(far.api, request()).status == 200
    assert time.monotonic() - started < 2
    for sock in crowd[:100]:
        sock.sendall(b"\r\n\r\n")
    for sock in crowd[:100]:
        assert parse_answer(receive_all(sock)).status == 200
    for sock in crowd:
        reset(sock)


@pytest.mark.slow
def test_slow_and_silent_clients_are_ended_after_ten_seconds(servers):
    """Silent ones are closed without a word, those that have begun get an answer, however they go on."""
    ways = {
        "silent": (b"", b""),
        "half a method": (b"G", b""),
        "half a head": (b"GET /health HTTP/1.1\r\nHost: a\r\n", b""),
        "a field by the second": (b"GET /health HTTP/1.1\r\n", b"X: a\r\n"),
        "a byte by the second": (b"GET /", b"a"),
        "half a blank line": (request()[:-1], b""),
    }
    with ThreadPoolExecutor(len(LOOPS) * len(ways)) as threads:
        waiting = {
            (loop, name): threads.submit(linger, servers[loop].api, *way)
            for loop in LOOPS
            for name, way in ways.items()
        }
        while not all(future.done() for future in waiting.values()):
            for loop in LOOPS:  # everybody else is served as ever
                started = time.monotonic()
                assert exchange(servers[loop].api, request()).status == 200
                assert time.monotonic() - started < 2
            time.sleep(0.5)
    for (loop, name), future in waiting.items():
        received, seconds = future.result()
        assert HEAD_SECONDS - 0.1 <= seconds < HEAD_SECONDS + 3, (loop, name)
        if name == "silent":
            assert received == b""
            continue
        answer = parse_answer(received)
        assert answer.status == 408
        assert "10 s" in answer.problem["detail"]
        connection_id = answer.fields["sokken-connection-id"]
        servers[loop].end.program.wait_for("bad_request", connection_id=connection_id, status=408)
    for loop in LOOPS:
        eventually(servers[loop].is_untouched)


def linger(api: tuple[str, int], first: bytes, drip: bytes) -> tuple[bytes, float]:
    """Send ``first``, then ``drip`` every second until the server has had enough; what it said, after how long."""
    started = time.monotonic()
    received = b""
    with connect(api) as sock:
        sock.sendall(first)
        sock.settimeout(1)
        while time.monotonic() - started < PATIENCE:
            try:
                part = sock.recv(65536)
            except TimeoutError:
                sock.sendall(drip)
                continue
            received += part
            if not part:
                break
    return received, time.monotonic() - started
