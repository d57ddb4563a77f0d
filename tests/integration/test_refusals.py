"""What a server answers instead of a tunnel, and to a check: every status and reason of docs/protocol.md."""

import itertools
import json
import re
import signal
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.support.addresses import UNKNOWN, UNREACHABLE, closed_port
from tests.support.black_holes import black_hole
from tests.support.programs import Server, join, server
from tests.support.raw_http import Answer, exchange, parse_answer, request, upgrade
from tests.support.targets import connect, echo, eventually, receive_all, target
from tests.support.wire import BINARY, open_tunnel

TIMEOUT = 1  # seconds, the least that the setting takes
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
numbers = itertools.count()
is_uuid7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch


@dataclass
class Far:
    """A server, and the targets that it allows by what becomes of a dial."""

    end: Server
    targets: dict[str, str]

    def get(self, which: str, *fields: tuple[str, str]) -> Answer:
        return exchange(self.end.api, upgrade(f"/tunnel/{self.targets.get(which, which)}", *fields))

    def head(self, which: str, *fields: tuple[str, str]) -> Answer:
        return exchange(self.end.api, request(f"/tunnel/{self.targets.get(which, which)}", "HEAD", "HTTP/1.1", *fields))


@pytest.fixture(scope="module")
def far():
    with ExitStack() as stack:
        targets = {
            "open": stack.enter_context(target(echo)),
            "closed": stack.enter_context(closed_port()),
            "silent": stack.enter_context(black_hole()),
            "unreachable": UNREACHABLE,
            "unknown": UNKNOWN,
        }
        options = ["-target-timeout-seconds", str(TIMEOUT), "-allowed-origins", "https://good.test"]
        end = stack.enter_context(server(*targets.values(), options=options))
        yield Far(end, {name: join(where) for name, where in targets.items()})


def new_id() -> str:
    return f"{ID[:24]}{next(numbers):012x}"


def connections(end: Server) -> int:
    return json.loads(exchange(end.api, request()).body)["connections"]


def assert_refusal(answer: Answer, status: int, reason: str) -> None:
    assert (answer.status, answer.fields["sokken-reason"]) == (status, reason)
    assert answer.fields["connection"] == "close"
    assert is_uuid7(answer.fields["sokken-connection-id"])
    assert answer.fields.get("retry-after") == ("1" if status in {429, 503} else None)


REFUSED = {
    "closed": (502, "target_refused", "connection refused"),
    "unreachable": (502, "target_unreachable", "network is unreachable"),
    "unknown": (502, "target_dns", "nowhere.invalid does not resolve"),
    "silent": (504, "target_timeout", "did not answer within 1 s"),
    "127.0.0.1:1": (403, "forbidden_target", "127.0.0.1:1 is not an allowed target"),
    "other.test:22": (403, "forbidden_target", "other.test:22 is not an allowed target"),
    "nothing": (400, "bad_request", "names no target"),
}


@pytest.mark.parametrize(("which", "expected"), REFUSED.items(), ids=REFUSED)
def test_a_tunnel_is_refused(far, which, expected):
    status, reason, words = expected
    asked = new_id()
    answer = far.get(which, ("Sokken-Connection-Id", asked), ("Sokken-Client-Id", "tests"))
    assert_refusal(answer, status, reason)
    assert answer.fields["sokken-connection-id"] == asked
    assert words in answer.problem["detail"]
    assert answer.problem["title"]
    assert answer.problem["type"] == "about:blank"
    line = far.end.program.wait_for("connection_refused", connection_id=asked)
    assert (line["reason"], line["target"]) == (reason, far.targets.get(which, which))
    assert (line["client_id"], line["detail"]) == ("tests", answer.problem["detail"])
    assert connections(far.end) == 0


@pytest.mark.parametrize("which", ["open", "closed", "silent", "unreachable", "unknown"])
def test_a_check_passes_without_a_dial(far, which):
    started = time.monotonic()
    answer = far.head(which)
    assert time.monotonic() - started < TIMEOUT / 2
    assert (answer.status, answer.body, answer.fields["connection"]) == (204, b"", "close")
    assert is_uuid7(answer.fields["sokken-connection-id"])
    assert "sokken-reason" not in answer.fields
    assert connections(far.end) == 0


@pytest.mark.parametrize("which", ["127.0.0.1:1", "nothing"])
def test_a_check_is_refused_as_a_tunnel_is(far, which):
    status, reason, _ = REFUSED[which]
    asked = new_id()
    answer = far.head(which, ("Sokken-Connection-Id", asked))
    assert_refusal(answer, status, reason)
    assert (answer.body, answer.fields["sokken-connection-id"]) == (b"", asked)
    far.end.program.wait_for("check_refused", connection_id=asked, reason=reason, target=which)


def test_pages_open_tunnels_from_allowed_origins_only(far):
    for origin in ("https://evil.test", "null", "https://good.test.evil.test", "http://good.test"):
        assert_refusal(far.get("open", ("Origin", origin)), 403, "forbidden_origin")
        assert_refusal(far.head("open", ("Origin", origin)), 403, "forbidden_origin")
    assert far.head("open", ("Origin", "https://good.test")).status == 204
    answer, wire = open_tunnel(far.end.api, f"/tunnel/{far.targets['open']}", Origin="https://good.test")
    with wire:
        assert answer.status == 101


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(ID.upper(), id="upper case"),
        pytest.param("6f3a9d5e-6b1c-4d8e-9f00-1b2c3d4e5f60", id="version 4"),
        pytest.param(ID + "0", id="too long"),
        pytest.param("{" + ID + "}", id="braces"),
        pytest.param("\xe9" * 36, id="Latin-1"),
        pytest.param("", id="none"),
    ],
)
def test_a_connection_id_is_echoed_or_replaced(far, given):
    for ask, which in ((far.head, "open"), (far.head, "127.0.0.1:1"), (far.get, "127.0.0.1:1"), (far.get, "closed")):
        assert ask(which, ("Sokken-Connection-Id", ID)).fields["sokken-connection-id"] == ID
        made = ask(which, ("Sokken-Connection-Id", given)).fields["sokken-connection-id"]
        assert is_uuid7(made)
        assert made not in {ID, given}


def test_a_tunnel_has_the_connection_id_of_its_request(far):
    for asked, is_echoed in ((ID, True), ("no-uuid", False)):
        answer, wire = open_tunnel(far.end.api, f"/tunnel/{far.targets['open']}", Sokken_Connection_Id=asked)
        with wire:
            made = answer.fields["sokken-connection-id"]
        assert (made == asked) is is_echoed
        assert is_uuid7(made)
        far.end.program.wait_for("connection_closed", connection_id=made)


def test_a_refusal_before_any_tunnel_has_an_id_too(far):
    answer = exchange(far.end.api, request("/elsewhere", "GET", "HTTP/1.1", ("Sokken-Connection-Id", ID)))
    assert_refusal(answer, 404, "not_found")
    assert answer.fields["sokken-connection-id"] == ID


def test_a_malformed_claim_is_not_believed(far):
    asked = new_id()
    far.get("127.0.0.1:1", ("Sokken-Connection-Id", asked), ("Sokken-Client-Id", "who are you?"))
    assert far.end.program.wait_for("connection_refused", connection_id=asked)["client_id"] is None


def test_who_has_said_all_still_gets_the_answer(far):
    """An end of writing is no reset: the dial goes on, and its failure is told."""
    with connect(far.end.api) as sock:
        sock.sendall(upgrade(f"/tunnel/{far.targets['silent']}"))
        sock.shutdown(socket.SHUT_WR)
        assert_refusal(parse_answer(receive_all(sock)), 504, "target_timeout")


def test_a_full_server_refuses_and_recovers():
    with target(echo) as where, server(where, options=["-max-connections", "2"]) as end:
        far = Far(end, {"open": join(where)})
        path = f"/tunnel/{join(where)}"
        wires = [open_tunnel(end.api, path)[1] for _ in range(2)]
        assert connections(end) == 2
        for _ in range(20):
            answer = far.get("open")
            assert_refusal(answer, 429, "server_full")
            assert "2 connections" in answer.problem["detail"]
            assert_refusal(far.head("open"), 429, "server_full")
        assert_refusal(far.get("127.0.0.1:1"), 403, "forbidden_target")  # however full it is
        for wire in wires:  # which go on as if nothing had been
            wire.send(BINARY, b"hello")
            assert wire.receive_bytes(5) == b"hello"
        wires.pop().reset()
        eventually(lambda: connections(end) == 1)
        assert far.head("open").status == 204
        answer, wire = open_tunnel(end.api, path)
        assert answer.status == 101
        for open_wire in (wire, *wires):
            open_wire.sock.close()


def test_a_draining_server_refuses_and_tells_its_health():
    with target(echo) as where, server(where) as end:
        far = Far(end, {"open": join(where)})
        _, wire = open_tunnel(end.api, f"/tunnel/{join(where)}")
        end.program.signal(signal.SIGTERM)
        end.program.wait_for("draining", connections=1)
        answer = far.get("open")
        assert_refusal(answer, 503, "draining")
        assert_refusal(far.head("open"), 503, "draining")
        assert_refusal(far.get("127.0.0.1:1"), 403, "forbidden_target")
        assert exchange(end.api, request("/livez")).status == 200
        ready = exchange(end.api, request("/readyz"))
        assert (ready.status, ready.body) == (503, b"draining\n")
        assert connections(end) == 1
        wire.sock.close()
        assert end.program.wait() == 0


def test_a_base_path_holds_for_tunnels_alone():
    with target(echo) as where, server(where, env={"SOKKEN_BASE_PATH": "/far/off"}) as end:
        path = f"/tunnel/{join(where)}"
        answer, wire = open_tunnel(end.api, f"/far/off{path}")
        with wire:
            assert answer.status == 101
        assert exchange(end.api, request(f"/far/off{path}", "HEAD")).status == 204
        for wrong in (path, f"/far{path}", f"/far/off/{path}", f"/FAR/off{path}"):
            assert_refusal(exchange(end.api, upgrade(wrong)), 404, "not_found")
            assert_refusal(exchange(end.api, request(wrong, "HEAD")), 404, "not_found")
        assert exchange(end.api, request("/health")).status == 200
        assert exchange(end.api, request("/far/off/health")).status == 404


def test_spellings_of_one_host_are_one_target():
    with target(echo) as four, target(echo, "::1") as six:
        allowed = [("LocalHost", four[1]), ("0:0:0:0:0:0:0:1", six[1])]
        with server(*allowed) as end:
            for spelling in ("localhost", "LOCALHOST", "localhost."):
                assert exchange(end.api, request(f"/tunnel/{spelling}:{four[1]}", "HEAD")).status == 204
            for spelling in ("[::1]", "[0000::0001]", "%5B::1%5D"):
                answer, wire = open_tunnel(end.api, f"/tunnel/{spelling}:{six[1]}")
                with wire:
                    assert answer.status == 101
            # A name is not its address: what is allowed is what was said.
            assert_refusal(exchange(end.api, request(f"/tunnel/127.0.0.1:{four[1]}", "HEAD")), 403, "forbidden_target")
            answer, wire = open_tunnel(end.api, f"/tunnel/localhost:{four[1]}")
            with wire:
                assert answer.status == 101
