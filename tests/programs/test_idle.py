"""Three minutes of silence through haproxy, which would end a connection after one: pings keep tunnels alive."""

import socket
import time

import pytest

from tests.support.haproxy import TUNNEL_SECONDS
from tests.support.idle import idle_tunnels
from tests.support.targets import PATIENCE, receive_all, receive_exactly

pytestmark = [pytest.mark.programs, pytest.mark.slow]

IDLE_SECONDS = 3 * TUNNEL_SECONDS


@pytest.fixture
def idle(tmp_path):
    with idle_tunnels(tmp_path) as tunnels:
        yield tunnels


@pytest.mark.timeout(IDLE_SECONDS + 60)
def test_idle_tunnels_are_still_there(idle):
    time.sleep(IDLE_SECONDS)
    programs = [program for pair in idle.pairs.values() for program in (pair.client.program, pair.server.program)]
    for program in programs:
        assert program.events("connection_closed") == []
    idle.over.set()
    for scheme in idle.pairs:
        finish_whole(idle.apps[scheme, "whole"])
        assert receive_all(idle.apps[scheme, "app_ended"]) == b"?"
        finish_target_ended(idle.apps[scheme, "target_ended"])
        assert idle.heard.get(timeout=PATIENCE) == b"still heard"
    for program in programs:
        program.wait_for("connection_closed", len(idle.targets), outcome="completed", close_code=1000)


def finish_whole(app):
    app.sendall(b"still there")
    assert receive_exactly(app, 11) == b"still there"
    app.shutdown(socket.SHUT_WR)
    assert receive_all(app) == b""


def finish_target_ended(app):
    assert receive_all(app) == b""
    app.sendall(b"still heard")
    app.shutdown(socket.SHUT_WR)
