"""What a real client makes of answers that are no tunnel: it tries again within its budget, or fails at once.

All cases run at the same time, each through its own forward of one client; the tests look at what became of them.
"""

import json
import socket
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from tests.support.fake_server import answer, fake_server
from tests.support.programs import Line, client
from tests.support.refused import meet_reset
from tests.support.targets import connect, eventually, receive_all, reset
from tests.support.wire import BINARY, TEXT, accept_key, accept_tunnel, format_head, frame

INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"  # RFC 9110 section 15.2: any number of them
BUDGET = 2.5  # seconds; with Retry-After: 1 three attempts fit
PHRASES = {101: "Switching Protocols", 200: "OK", 302: "Found", 429: "Too Many Requests"}


def refused(status, reason=None, detail=None, **fields):
    """An HTTP answer; ``reason`` makes it a sokken server's."""
    body = json.dumps({"status": status, "detail": detail}) if detail else "Sorry."
    head = {"Content-Length": str(len(body)), "Connection": "close"}
    if reason:
        head |= {"Sokken-Reason": reason, "Content-Type": "application/problem+json"}
    head |= {name.replace("_", "-"): value for name, value in fields.items()}
    data = format_head(f"HTTP/1.1 {status} {PHRASES.get(status, 'No')}", head) + body.encode()
    return lambda request: answer(request, data)


def switched(**changes):
    """A 101 that is right but for ``changes``; an empty field is left out."""

    def respond(request):
        head = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_key(request.fields["sec-websocket-key"]),
            "Sec-WebSocket-Protocol": "sokken.v2",
        }
        head |= {name.replace("_", "-"): value for name, value in changes.items()}
        given = {name: value for name, value in head.items() if value}
        answer(request, format_head("HTTP/1.1 101 Switching Protocols", given))

    return respond


def says(data):
    return lambda request: answer(request, data)


def says_nothing(request):
    """Keep the client waiting; the fake server closes the connection at its end."""


def breaks_off(request):
    reset(request.sock)


FAILS_AT_ONCE = {
    "400": (refused(400), "bad_request", "not a sokken server"),
    "400 bad_request": (refused(400, "bad_request", "no such thing"), "bad_request", "no such thing"),
    "401": (refused(401), "unauthenticated", "credentials"),
    "401 unauthenticated": (refused(401, "unauthenticated", "who is it?"), "unauthenticated", "who is it?"),
    "403": (refused(403), "forbidden_target", "allow-list"),
    "403 forbidden_target": (refused(403, "forbidden_target", "not allowed"), "forbidden_target", "not allowed"),
    "403 forbidden_origin": (refused(403, "forbidden_origin"), "forbidden_origin", "403 forbidden_origin"),
    "403 with a reason from the future": (refused(403, "bad_weather"), "forbidden_target", "403 bad_weather"),
    "404": (refused(404), "not_found", "SOKKEN_BASE_PATH"),
    "404 not_found": (refused(404, "not_found"), "not_found", "SOKKEN_BASE_PATH"),
    "407": (refused(407), "unauthenticated", "proxy"),
    "426": (refused(426), "server_unreachable", "not a sokken server"),
    "501": (refused(501), "server_unreachable", "501"),
    "502 target_refused": (refused(502, "target_refused", "a:1 refused"), "target_refused", "a:1 refused"),
    "502 target_unreachable": (refused(502, "target_unreachable"), "target_unreachable", "502"),
    "502 target_dns": (refused(502, "target_dns"), "target_dns", "502"),
    "504 target_timeout": (refused(504, "target_timeout"), "target_timeout", "504"),
    "503 draining for longer than the budget": (refused(503, "draining", Retry_After="60"), "draining", "503"),
    "429 for longer than the budget": (refused(429, Retry_After="3"), "rate_limited", "429"),
    "a page": (refused(200), "server_unreachable", "not a sokken server"),
    "204": (says(b"HTTP/1.1 204 No Content\r\n\r\n"), "server_unreachable", "204"),
    "301": (refused(301, Location="https://new.example/t"), "server_unreachable", "https://new.example/t"),
    "302": (refused(302, Location="/login"), "server_unreachable", "/login"),
    "307": (refused(307, Location="wss://b.example/"), "server_unreachable", "wss://b.example/"),
    "308 to nowhere": (refused(308), "server_unreachable", "does not say where"),
    "101 with a wrong Accept": (switched(Sec_WebSocket_Accept="bm90IGl0"), "protocol_error", "Sec-WebSocket-Accept"),
    "101 without Accept": (switched(Sec_WebSocket_Accept=""), "protocol_error", "Sec-WebSocket-Accept"),
    "101 without subprotocol": (switched(Sec_WebSocket_Protocol=""), "protocol_error", "sokken.v2, sokken"),
    "101 with another subprotocol": (switched(Sec_WebSocket_Protocol="chat"), "protocol_error", "'chat'"),
    "101 with a subprotocol in other case": (switched(Sec_WebSocket_Protocol="SOKKEN"), "protocol_error", "'SOKKEN'"),
    "101 with two subprotocols": (switched(Sec_WebSocket_Protocol="sokken, sokken.v2"), "protocol_error", "none of"),
    "101 with an extension": (
        switched(Sec_WebSocket_Extensions="permessage-deflate"),
        "protocol_error",
        "extensions",
    ),
    "101 without Upgrade": (switched(Upgrade=""), "protocol_error", "without the upgrade"),
    "101 to something else": (switched(Upgrade="h2c"), "protocol_error", "without the upgrade"),
    "101 without Connection": (switched(Connection="keep-alive"), "protocol_error", "without the upgrade"),
    "a banner": (says(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "protocol_error", "SSH-2.0-OpenSSH_9.6"),
    "bytes": (says(bytes(range(256)) + b"\r\n\r\n"), "protocol_error", "control character"),
    "no status": (says(b"HTTP/1.1 twenty OK\r\n\r\n"), "protocol_error", "no HTTP/1"),
    "HTTP/2": (says(b"HTTP/2 200 OK\r\n\r\n"), "protocol_error", "no HTTP/1"),
    "a field without a name": (says(b"HTTP/1.1 200 OK\r\n: x\r\n\r\n"), "protocol_error", "malformed"),
    "a head without end": (says(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 4000), "protocol_error", "16384 bytes"),
}

TRIES_AGAIN = {
    "429": (refused(429), "rate_limited", "429 Too Many Requests"),
    "429 server_full": (refused(429, "server_full", "all 100 are in use"), "server_full", "all 100 are in use"),
    "429 client_full": (refused(429, "client_full"), "client_full", "429 client_full"),
    "429 target_full": (refused(429, "target_full"), "target_full", "429 target_full"),
    "429 rate_limited": (refused(429, "rate_limited"), "rate_limited", "429 rate_limited"),
    "500": (refused(500), "server_unreachable", "500"),
    "502": (refused(502), "server_unreachable", "502"),
    "503": (refused(503), "server_unreachable", "503"),
    "503 draining": (refused(503, "draining"), "draining", "503 draining"),
    "503 with a reason from the future": (refused(503, "bad_weather"), "server_unreachable", "503 bad_weather"),
    "503 until a date": (refused(503, Retry_After="Fri, 31 Dec 2055 23:59:59 GMT"), "server_unreachable", "503"),
    "504": (refused(504), "server_unreachable", "504"),
    "an end before an answer": (says(b""), "server_unreachable", "lost"),
    "an end within an answer": (says(b"HTTP/1.1 101 Switch"), "server_unreachable", "lost"),
    "a reset": (breaks_off, "server_unreachable", "lost: connection reset by peer"),
}

AGAIN_AFTER_A_SECOND = {
    "429 server_full": (refused(429, "server_full", Retry_After="1"), "server_full", "429 server_full"),
    "503 draining": (refused(503, "draining", Retry_After="1"), "draining", "503 draining"),
    "503": (refused(503, Retry_After="1"), "server_unreachable", "503"),
    "silence": (says_nothing, "connect_timeout", "did not answer within 1 s"),
}

GROUPS = {"fail": FAILS_AT_ONCE, "again": TRIES_AGAIN, "later": AGAIN_AFTER_A_SECOND}


@dataclass
class Result:
    """What became of one connection: when the server was asked, the log line, and when the application was reset."""

    asked: list[float] = field(default_factory=list)
    line: Line = field(default_factory=dict)
    reset_after: float | None = None


@pytest.fixture(scope="module")
def results():
    cases = {f"/{group}/{number}": case for group in GROUPS for number, case in enumerate(GROUPS[group].values())}
    found = defaultdict(Result)

    def respond(request):
        found[request.path].asked.append(time.monotonic())
        cases[request.path][0](request)

    def play(path, entry):
        started = time.monotonic()
        meet_reset(entry)
        found[path].reset_after = time.monotonic() - started

    env = {"SOKKEN_CONNECT_TIMEOUT_SECONDS": str(BUDGET), "SOKKEN_ATTEMPT_TIMEOUT_SECONDS": "1"}
    with fake_server(respond) as fake, client(*map(fake.url, cases), env=env) as program:
        program.program.wait_for("server_check_passed", len(cases))  # it has started
        threads = [
            threading.Thread(target=play, args=(path, entry))
            for path, entry in zip(cases, program.entries, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for path in cases:
            found[path].line = program.program.wait_for("connection_failed", server=fake.url(path))
    return {
        (group, name): found[f"/{group}/{number}"]
        for group, named in GROUPS.items()
        for number, name in enumerate(named)
    }


def assert_told(result, case):
    _, outcome, detail = case
    assert result.reset_after is not None, "the application saw no reset"
    assert result.line["outcome"] == outcome
    assert detail in result.line["detail"]
    assert "\n" not in result.line["detail"]


@pytest.mark.parametrize("name", FAILS_AT_ONCE)
def test_what_a_further_attempt_would_not_mend_fails_at_once(results, name):
    result = results["fail", name]
    assert len(result.asked) == 1
    assert result.reset_after < BUDGET - 1
    assert_told(result, FAILS_AT_ONCE[name])


@pytest.mark.parametrize("name", TRIES_AGAIN)
def test_what_may_pass_is_tried_again_until_the_budget_is_used_up(results, name):
    result = results["again", name]
    assert len(result.asked) >= 3  # the delays before are below 0.1, 0.2 and 0.4 s
    assert result.asked[2] - result.asked[0] < 1
    assert result.reset_after < BUDGET + 1
    assert_told(result, TRIES_AGAIN[name])


@pytest.mark.parametrize("name", AGAIN_AFTER_A_SECOND)
def test_the_next_attempt_waits_as_long_as_it_must(results, name):
    result = results["later", name]
    assert 2 <= len(result.asked) <= 3
    assert all(later - earlier > 0.8 for earlier, later in zip(result.asked, result.asked[1:], strict=False))
    assert_told(result, AGAIN_AFTER_A_SECOND[name])


class Reluctant:
    """Answers 503 until it is told otherwise, then 101, behind an answer that is not the last word."""

    def __init__(self):
        self.attempts = 0
        self.is_willing = threading.Event()
        self.wire = None

    def __call__(self, request):
        self.attempts += 1
        if self.is_willing.is_set():
            request.sock.sendall(INTERIM)
            self.wire = accept_tunnel(request)
        else:
            refused(503)(request)


@pytest.fixture
def reluctant():
    return Reluctant()


@pytest.fixture
def near(reluctant):
    with fake_server(reluctant) as fake, client(fake.url("/tunnel/target:1")) as started:
        yield started


def test_the_application_waits_and_nothing_of_it_is_lost(reluctant, near):
    with connect(near.entry) as application:
        application.sendall(b"question")
        application.shutdown(socket.SHUT_WR)  # an end of writing does not give up
        eventually(lambda: reluctant.attempts >= 2)
        reluctant.is_willing.set()
        with eventually(lambda: reluctant.wire) as wire:
            assert wire.receive_bytes(8) == b"question"
            assert wire.receive().payload == b"eof"
            wire.sock.sendall(frame(BINARY, b"answer", masked=False) + frame(TEXT, b"eof", masked=False))
            assert receive_all(application) == b"answer"
    near.program.wait_for("connection_closed")


def test_a_reset_of_the_waiting_application_gives_up(reluctant, near):
    application = connect(near.entry)
    application.sendall(b"never mind")
    eventually(lambda: reluctant.attempts >= 2)
    reset(application)
    near.program.wait_for("connection_failed", outcome="local_gave_up")
    attempts = reluctant.attempts
    reluctant.is_willing.set()
    with connect(near.entry), eventually(lambda: reluctant.wire):
        assert reluctant.attempts == attempts + 1
