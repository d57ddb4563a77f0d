"""Bytes through a real server and a real client: what an application notices."""

import os
import socket
import threading

import pytest

from tests.support.programs import tunnel
from tests.support.targets import PATIENCE, connect, count, echo, receive_all, receive_exactly, reset, target, was_reset


@pytest.fixture(params=["ws", "wss"])
def setup(request, loop, authority):
    """Both loops, plain and over TLS: an application notices no difference."""
    if request.param == "ws":
        return loop
    return loop | {"SOKKEN_TLS_CERT_FILE": str(authority.server), "SOKKEN_CA_FILE": str(authority.file)}


def test_bytes_go_both_ways(setup):
    payload = os.urandom(3_000_000)
    with target(echo) as where, tunnel(where, env=setup) as t, connect(t.entry) as app:
        app.sendall(payload[:10])
        assert receive_exactly(app, 10) == payload[:10]
        writer = threading.Thread(target=lambda: (app.sendall(payload), app.shutdown(socket.SHUT_WR)))
        writer.start()
        assert receive_all(app) == payload
        writer.join()
        opened = t.client.program.wait_for("connection_opened")
        near = t.client.program.wait_for("connection_closed", connection_id=opened["connection_id"])
        far = t.server.program.wait_for("connection_closed", connection_id=opened["connection_id"])
    for line in (near, far):
        assert (line["bytes_up"], line["bytes_down"]) == (3_000_010, 3_000_010)
        assert (line["outcome"], line["close_code"]) == ("completed", 1000)
        assert line["target"] == "{}:{}".format(*where)


def test_application_ends_first(setup):
    with target(count) as where, tunnel(where, env=setup) as t, connect(t.entry) as app:
        app.sendall(b"x" * 100_000)
        app.shutdown(socket.SHUT_WR)
        assert receive_all(app) == b"100000"


def test_target_ends_first(setup):
    received = []

    def farewell(sock):
        sock.sendall(b"bye")
        sock.shutdown(socket.SHUT_WR)
        received.append(receive_all(sock))

    with target(farewell) as where, tunnel(where, env=setup) as t, connect(t.entry) as app:
        assert receive_all(app) == b"bye"
        app.sendall(b"still here")
        app.shutdown(socket.SHUT_WR)
        t.client.program.wait_for("connection_closed", outcome="completed")
    assert received == [b"still here"]


def test_a_reset_of_the_target_reaches_the_application(setup):
    with target(lambda sock: (receive_exactly(sock, 1), reset(sock))) as where, tunnel(where, env=setup) as t:
        with connect(t.entry) as app:
            app.sendall(b"x")
            assert was_reset(app)
        t.server.program.wait_for("connection_closed", outcome="local_reset", close_code=1011)
        t.client.program.wait_for("connection_closed", outcome="peer_reset", close_code=1011)


def test_a_reset_of_the_application_reaches_the_target(setup):
    seen = []
    with target(lambda sock: seen.append(was_reset(sock))) as where, tunnel(where, env=setup) as t:
        app = connect(t.entry)
        app.sendall(b"x")
        t.client.program.wait_for("connection_opened")
        reset(app)
        t.server.program.wait_for("connection_closed", outcome="peer_reset")
        t.client.program.wait_for("connection_closed", outcome="local_reset")
    assert seen == [True]


def test_a_half_closed_connection_has_its_time(loop):
    env = loop | {"SOKKEN_HALF_CLOSED_TIMEOUT_SECONDS": "1"}
    is_over = threading.Event()
    with (
        target(lambda sock: is_over.wait(PATIENCE)) as silent,
        tunnel(silent, env=env) as t,
        connect(t.entry) as app,
        connect(t.entry) as idle,
    ):
        t.client.program.wait_for("connection_opened", 2)
        app.shutdown(socket.SHUT_WR)
        assert was_reset(app)
        line = t.client.program.wait_for("connection_closed")
        assert line["outcome"] == "half_closed_timeout"
        assert 1 <= line["duration_s"] < 10
        assert len(t.client.program.events("connection_closed")) == 1  # the other one is not half-closed
        is_over.set()
        idle.close()
