"""What nobody expected is one structured line with its traceback as data, costs one connection, and ends nothing."""

import json

import pytest

from tests.support.programs import client, join, server
from tests.support.raw_http import exchange, request, upgrade
from tests.support.targets import connect, echo, eventually, receive_exactly, target, was_reset

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
# Loaded by the interpreter before the program: a fault in what the program stands on.
FAULTY = """
import socket

real = socket.getaddrinfo

def getaddrinfo(host, *rest, **options):
    if host == "faulty.test":
        raise RuntimeError("a fault on purpose")
    return real(host, *rest, **options)

socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture
def faulty(tmp_path):
    """The environment of a program that cannot look up one name."""
    (tmp_path / "sitecustomize.py").write_text(FAULTY)
    return {"PYTHONPATH": str(tmp_path)}


def assert_fault(line):
    """The traceback is data: what was raised, and where."""
    assert line["level"] == "error"
    [raised] = line["exception"]
    assert raised["type"] == "RuntimeError"
    assert raised["message"] == "a fault on purpose"
    assert "getaddrinfo" in [frame["function"] for frame in raised["frames"]]
    assert all(set(frame) >= {"file", "line", "function"} for frame in raised["frames"])


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_fault_in_a_server_costs_one_request(faulty, loop):
    env = {**faulty, "SOKKEN_EVENT_LOOP": loop}
    with target(echo) as where, server(where, ("faulty.test", 22), env=env) as far:
        for _ in range(3):
            answer = exchange(far.api, upgrade("/tunnel/faulty.test:22", ("Sokken-Connection-Id", ID)))
            assert answer.status == 500
            assert json.loads(answer.body)["title"] == "Internal Server Error"
            assert b"on purpose" not in answer.body
            assert answer.fields["sokken-connection-id"] == ID
        line = far.program.wait_for("request_failed", 3, connection_id=ID)
        assert_fault(line)
        assert line["target"] == "faulty.test:22"
        assert json.loads(exchange(far.api, request()).body)["connections"] == 0
        assert exchange(far.api, request(f"/tunnel/{join(where)}", "HEAD")).status == 204
        assert len(far.program.events("request_failed")) == 3
        assert far.program.events("unhandled_exception") == []


def test_a_fault_in_a_client_costs_one_connection(faulty):
    with target(echo) as where, server(where) as far:
        urls = ["ws://faulty.test:8000/tunnel/a:1", far.url(where)]
        with client(*urls, env=faulty) as near:
            checked = near.program.wait_for("server_check_failed")
            assert_fault(checked)
            assert (checked["server"], checked["outcome"]) == (urls[0], "internal_error")
            for count in (1, 2):
                with connect(near.entries[0]) as app:
                    assert was_reset(app)
                line = near.program.wait_for("connection_failed", count)
                assert_fault(line)
                assert (line["server"], line["outcome"]) == (urls[0], "internal_error")
            with connect(near.entries[1]) as app:
                app.sendall(b"hello")
                assert receive_exactly(app, 5) == b"hello"
            eventually(lambda: json.loads(exchange(near.api, request()).body)["connections"] == 0)
            assert near.program.events("unhandled_exception") == []
            assert len(near.program.events("server_check_failed")) == 1
