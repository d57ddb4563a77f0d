"""What both programs say of themselves over HTTP."""

import json
from contextlib import ExitStack

import pytest

from tests.support.fake_server import fake_server
from tests.support.programs import client, join, server, tunnel
from tests.support.raw_http import exchange, request
from tests.support.targets import connect, echo, eventually, target
from tests.support.wire import open_tunnel

IDLE = b"""{
  "connections": 0,
  "max-connections": 100,
  "connections-used-percent": 0.0
}
"""


def status(api: tuple[str, int], path: str) -> int:
    return exchange(api, request(path)).status


@pytest.mark.parametrize("which", ["server", "client"])
def test_health_is_the_document_that_it_always_was(which):
    with target(echo) as where, tunnel(where, client_options=["-max-connections", "8"]) as t:
        end = t.server if which == "server" else t.client
        limit = 100 if which == "server" else 8
        answer = exchange(end.api, request("/health"))
        assert answer.body == IDLE.replace(b"100", b"%d" % limit)
        assert (answer.status, answer.fields["content-type"]) == (200, "application/json")
        assert answer.fields["server"] == "sokken"
        with connect(t.entry), connect(t.entry):
            eventually(lambda: json.loads(exchange(end.api, request("/health")).body)["connections"] == 2)
            document = json.loads(exchange(end.api, request("/health")).body)
            assert document == {"connections": 2, "max-connections": limit, "connections-used-percent": 2 / limit}
            whole = exchange(end.api, request("/health")).body.decode()
            assert whole == json.dumps(document, indent=2) + "\n"
        eventually(lambda: exchange(end.api, request("/health")).body == answer.body)
        empty = exchange(end.api, request("/health", "HEAD"))
        assert (empty.status, empty.body) == (200, b"")
        assert empty.fields["content-length"] == str(len(answer.body))


@pytest.mark.parametrize("which", ["server", "client"])
def test_alive_and_ready(which):
    with target(echo) as where, tunnel(where) as t:
        end = t.server if which == "server" else t.client
        assert exchange(end.api, request("/livez")).body == b"ok\n"
        eventually(lambda: exchange(end.api, request("/readyz")).body == b"ok\n")
        assert status(end.api, "/readyz") == 200


def test_health_counts_nothing_and_is_told_when_all_is_full():
    with target(echo) as where, server(where, options=["-max-connections", "1"]) as far:
        _, wire = open_tunnel(far.api, f"/tunnel/{join(where)}")
        with wire:
            for path in ("/health", "/livez", "/readyz") * 5:
                assert status(far.api, path) == 200
            document = json.loads(exchange(far.api, request("/health")).body)
            assert document["connections"] == 1
            assert exchange(far.api, request("/health")).body.splitlines()[3] == b'  "connections-used-percent": 1.0'


def test_a_client_is_ready_once_its_server_has_said_yes_and_stays_so():
    with target(echo) as where:
        with server(where) as gone:
            url = gone.url(where)
            listen = join(gone.api)
        with client(url, env={"SOKKEN_CHECK_INTERVAL_SECONDS": "1"}) as near:
            near.program.wait_for("server_check_failed", outcome="server_unreachable")
            answer = exchange(near.api, request("/readyz"))
            assert answer.status == 503
            assert b"server check: " in answer.body
            assert b"connection refused" in answer.body
            assert status(near.api, "/livez") == 200
            with server(where, listen=listen):
                near.program.wait_for("server_check_passed", server=url)
                assert exchange(near.api, request("/readyz")).body == b"ok\n"
            near.program.wait_for("server_check_failed", 2)
            assert exchange(near.api, request("/readyz")).body == b"ok\n"


def test_a_client_waits_for_every_server():
    with ExitStack() as stack:
        where = stack.enter_context(target(echo))
        far = stack.enter_context(server(where))
        other = stack.enter_context(fake_server())
        urls = [far.url(where), far.url(("127.0.0.1", 1)), other.url("/tunnel/a:1")]
        near = stack.enter_context(client(*urls))
        assert near.program.wait_for("server_check_failed")["outcome"] == "forbidden_target"
        near.program.wait_for("server_check_passed", 2)
        answer = exchange(near.api, request("/readyz"))
        assert answer.status == 503
        assert b"403" in answer.body
        assert b"forbidden_target" in answer.body


def test_forwards_of_one_url_are_checked_once():
    with target(echo) as where, server(where) as far, client(*[far.url(where)] * 3) as near:
        near.program.wait_for("server_check_passed")
        eventually(lambda: status(near.api, "/readyz") == 200)
        assert len(near.program.events("server_check_passed")) == 1


def test_a_client_that_only_listens_is_ready_without_a_server():
    with client("ws://127.0.0.1:1/tunnel/a:1", env={"SOKKEN_READINESS": "listener"}) as near:
        assert exchange(near.api, request("/readyz")).body == b"ok\n"
