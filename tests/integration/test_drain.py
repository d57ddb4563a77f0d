"""SIGTERM and SIGINT: nothing is cut while it goes on, nothing new is let in, and the deadline is told apart."""

import signal
import socket
import time
from contextlib import ExitStack

import pytest

from tests.support.black_holes import black_hole
from tests.support.ends import client_end, server_end
from tests.support.health import ask, connections
from tests.support.programs import client, server
from tests.support.targets import connect, echo, eventually, is_reset, receive_all, receive_exactly, target
from tests.support.wire import CLOSE, TEXT, open_tunnel

LIVE = 200
QUEUED = 200  # many more than are accepted at once
SIGNALS = [signal.SIGTERM, signal.SIGINT]
SOON = 3.0


class Talk:
    """Applications that talk to an echo through a server and a client."""

    def __init__(self, stack, number, env=None):
        self._stack = stack
        self.target = stack.enter_context(target(echo))
        room = ["-max-connections", str(3 * LIVE)]
        self.server = stack.enter_context(server(self.target, options=room, env=env))
        self.client = stack.enter_context(client(self.server.url(self.target), options=room, env=env))
        for end in (self.server, self.client):
            eventually(lambda end=end: ask(end.api, "/readyz") == 200)
        self.applications = self.connect(number)
        self.go_on()

    def connect(self, number):
        return [self._stack.enter_context(connect(self.client.entry)) for _ in range(number)]

    def go_on(self):
        """Each says something, and must hear it again."""
        for place, application in enumerate(self.applications):
            application.sendall(b"%08d" % place)
        for place, application in enumerate(self.applications):
            assert receive_exactly(application, 8) == b"%08d" % place

    def end(self, number):
        """The first ones end in order, and so do their echoes."""
        ending, self.applications = self.applications[:number], self.applications[number:]
        for application in ending:
            application.shutdown(socket.SHUT_WR)
        for application in ending:
            assert receive_all(application) == b""
            application.close()

    def assert_nothing_was_cut(self, number):
        for end in (self.server, self.client):
            end.program.wait_for("connection_closed", number, outcome="completed", close_code=1000)
            assert len(end.program.events("connection_closed")) == number


def assert_drains(end, live):
    """It says so to those who ask, and goes on. An answer also means that what it began to do is done."""
    assert ask(end.api, "/readyz") == 503
    assert ask(end.api, "/livez") == 200
    assert connections(end.api) == live
    assert end.program.process.poll() is None


def test_a_server_drains_without_cutting_anything():
    with ExitStack() as stack:
        talk = Talk(stack, LIVE)
        far = talk.server
        far.program.signal(signal.SIGTERM)
        far.program.wait_for("draining", connections=LIVE)
        talk.go_on()
        talk.client.program.wait_for("peer_draining", LIVE)
        assert_drains(far, LIVE)
        refusal, wire = open_tunnel(far.api, "/tunnel/{}:{}".format(*talk.target))
        wire.sock.close()
        assert (refusal.status, refusal.fields["sokken-reason"]) == (503, "draining")
        assert int(refusal.fields["retry-after"]) >= 1
        assert refusal.fields["connection"] == "close"
        talk.end(LIVE // 2)
        talk.go_on()
        assert_drains(far, LIVE // 2)
        talk.end(LIVE // 2)
        assert far.program.wait() == 0
        talk.assert_nothing_was_cut(LIVE)
        assert not far.program.events("drain_deadline")


def test_a_client_drains_without_cutting_anything_that_had_come():
    with ExitStack() as stack:
        talk = Talk(stack, LIVE)
        near = talk.client
        near.program.signal(signal.SIGSTOP)  # so that the next ones are in the accept queue when the end is asked for
        talk.applications += talk.connect(QUEUED)
        near.program.signal(signal.SIGTERM)
        near.program.signal(signal.SIGCONT)
        near.program.wait_for("draining")
        talk.go_on()
        talk.server.program.wait_for("peer_draining", LIVE + QUEUED)
        assert_drains(near, LIVE + QUEUED)
        with pytest.raises(ConnectionRefusedError):
            connect(near.entry)
        talk.end(LIVE)
        talk.go_on()
        talk.end(QUEUED)
        assert near.program.wait() == 0
        talk.assert_nothing_was_cut(LIVE + QUEUED)
        assert not near.program.events("drain_deadline")


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("end", [server_end, client_end], ids=lambda end: end.__name__)
def test_at_the_deadline_the_rest_is_told_and_reset(end, number):
    with end({"SOKKEN_DRAIN_TIMEOUT_SECONDS": "1"}) as running:
        tunnel = running.open()
        running.program.signal(number)
        goaway = tunnel.wire.receive()
        assert (goaway.opcode, goaway.payload) == (TEXT, b"goaway")
        asked = time.monotonic()
        close = tunnel.wire.receive()
        assert (close.opcode, close.code) == (CLOSE, 1001)
        assert 0.9 < time.monotonic() - asked < SOON
        tunnel.wire.send_close(1001)
        tunnel.wire.sock.close()
        assert is_reset(tunnel.local, SOON)
        assert running.program.wait(SOON) == 0
        running.release()
        tunnel.closed(outcome="drain_deadline", close_code=1001)


@pytest.mark.parametrize("who", ["server", "client"])
def test_the_other_program_knows_the_deadline_too(who):
    with ExitStack() as stack:
        talk = Talk(stack, 3, env={"SOKKEN_DRAIN_TIMEOUT_SECONDS": "0"})
        leaving = getattr(talk, who)
        leaving.program.signal(signal.SIGTERM)
        assert all(is_reset(application, SOON) for application in talk.applications)
        assert leaving.program.wait(SOON) == 0
        for end in (talk.server, talk.client):
            end.program.wait_for("connection_closed", 3, outcome="drain_deadline", close_code=1001)


@pytest.mark.parametrize("who", ["server", "client"])
def test_a_connection_that_waits_for_its_tunnel_is_ended_at_the_deadline(who):
    with ExitStack() as stack:
        hole = stack.enter_context(black_hole())
        env = {"SOKKEN_DRAIN_TIMEOUT_SECONDS": "1", "SOKKEN_CONNECT_TIMEOUT_SECONDS": "2"}
        far = stack.enter_context(server(hole, env=env))
        near = stack.enter_context(client(far.url(hole), env=env))
        application = stack.enter_context(connect(near.entry))
        eventually(lambda: connections(far.api) == 1)
        leaving = far if who == "server" else near
        leaving.program.signal(signal.SIGTERM)
        assert leaving.program.wait(SOON) == 0
        assert is_reset(application, SOON)
        if who == "client":
            near.program.wait_for("connection_failed", outcome="drain_deadline")
            eventually(lambda: connections(far.api) == 0, SOON)
        else:
            far.program.wait_for("connection_refused", reason="draining")
            assert near.program.wait_for("connection_failed")["outcome"] in {"draining", "server_unreachable"}


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("end", [server_end, client_end], ids=lambda end: end.__name__)
def test_a_second_signal_ends_it_at_once(end, number):
    with end() as running:
        tunnel = running.open()
        running.program.signal(signal.SIGTERM)
        running.program.wait_for("draining")
        running.program.signal(number)
        assert running.program.wait(SOON) == 1
        assert is_reset(tunnel.local, SOON)
        assert is_reset(tunnel.wire.sock, SOON)
        running.program.wait_for("forced_exit", signal=number.name)
        tunnel.local.close()
        tunnel.wire.sock.close()


def test_in_the_endpoint_delay_only_readiness_changes():
    with ExitStack() as stack:
        talk = Talk(stack, 2, env={"SOKKEN_ENDPOINT_DELAY_SECONDS": "2"})
        ends = (talk.server, talk.client)
        asked = time.monotonic()
        for end in ends:
            end.program.signal(signal.SIGTERM)
            eventually(lambda end=end: ask(end.api, "/readyz") == 503)
        talk.applications += talk.connect(2)
        talk.go_on()
        for end in ends:
            assert_drains(end, 4)
            assert not end.program.events("draining"), "too late: the machine is too slow for this test"
        for end in ends:
            end.program.wait_for("draining", connections=4)
            assert_drains(end, 4)
        assert 1.9 < time.monotonic() - asked < 2 + SOON
        with pytest.raises(ConnectionRefusedError):
            connect(talk.client.entry)
        refusal, wire = open_tunnel(talk.server.api, "/tunnel/{}:{}".format(*talk.target))
        wire.sock.close()
        assert refusal.status == 503
        talk.go_on()
        talk.end(4)
        assert [end.program.wait() for end in ends] == [0, 0]
        talk.assert_nothing_was_cut(4)
