"""`kill -9` of either program: nobody takes it for an end, and the other program frees everything."""

import contextlib
import socket
import threading
from contextlib import ExitStack

import pytest

from tests.support.black_holes import black_hole
from tests.support.floods import Flood, stall
from tests.support.health import connections, everything_is_freed
from tests.support.programs import client, server
from tests.support.targets import connect, eventually, is_reset, receive_exactly, was_reset

SOON = 3.0
WAITING_SECONDS = 2  # the client's budget for a connection that waits for its tunnel


class Connected:
    """Connections in every state of life through a server and a client. ``open_ones`` are both ends of each."""

    def __init__(self, stack):
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        live, deaf = self._listener.getsockname(), stack.enter_context(black_hole())
        self.server = stack.enter_context(server(live, deaf))
        budget = {"SOKKEN_CONNECT_TIMEOUT_SECONDS": str(WAITING_SECONDS)}
        self.client = stack.enter_context(client(self.server.url(live), self.server.url(deaf), env=budget))
        self.pairs = []
        self.movers = []

    def open(self):
        self.idle()
        self.stalled("down")
        self.stalled("up")
        self.half_closed("application")
        self.half_closed("target")
        self.moving("down")
        self.moving("up")
        self.waiting = self._stack.enter_context(connect(self.client.entries[1]))
        admitted = len(self.pairs) + len(self.movers) + 1
        eventually(lambda: connections(self.server.api) == admitted)

    def pair(self):
        application = self._stack.enter_context(connect(self.client.entry))
        end = self._stack.enter_context(self._listener.accept()[0])
        for sock in (application, end):
            sock.settimeout(20)
        return application, end

    def idle(self):
        application, end = self.pair()
        application.sendall(b"hello")
        receive_exactly(end, 5)
        self.pairs.append((application, end))

    def stalled(self, direction):
        application, end = self.pair()
        stall([Flood(0, application, end) if direction == "up" else Flood(0, end, application)], 0.2)
        self.pairs.append((application, end))

    def half_closed(self, by):
        application, end = self.pair()
        first, second = (application, end) if by == "application" else (end, application)
        first.shutdown(socket.SHUT_WR)
        assert second.recv(1) == b""
        self.pairs.append((application, end))

    def moving(self, direction):
        application, end = self.pair()
        self.movers.append(Mover(application, end) if direction == "up" else Mover(end, application))


class Mover:
    """Sends without end, on one thread, and reads, on another: ``was_cut`` is how the reader saw it end."""

    def __init__(self, writer, reader):
        self._has_begun = threading.Event()
        self.was_cut = None
        self._threads = [threading.Thread(target=self._write, args=(writer,), daemon=True)]
        self._threads.append(threading.Thread(target=self._read, args=(reader,), daemon=True))
        for thread in self._threads:
            thread.start()
        assert self._has_begun.wait(20)

    def _write(self, sock):
        with contextlib.suppress(ConnectionError):
            while True:
                sock.sendall(bytes(65536))

    def _read(self, sock):
        receive_exactly(sock, 1_000_000)
        self._has_begun.set()
        self.was_cut = was_reset(sock)

    def join(self):
        for thread in self._threads:
            thread.join(20)
        return self


@pytest.mark.parametrize("victim", ["server", "client"])
def test_a_killed_program_resets_everything_and_the_other_one_frees_everything(victim):
    with ExitStack() as stack:
        connected = Connected(stack)
        killed, other = connected.server, connected.client
        if victim == "client":
            killed, other = other, killed
        with everything_is_freed(other, seconds=WAITING_SECONDS + SOON):
            connected.open()
            assert not any(is_reset(sock, 0) for ends in connected.pairs for sock in ends)
            killed.program.process.kill()
            for ends in connected.pairs:
                assert all(is_reset(sock, SOON) for sock in ends)
            assert all(mover.join().was_cut for mover in connected.movers)
            assert is_reset(connected.waiting, WAITING_SECONDS + SOON)

        everyone = len(connected.pairs) + len(connected.movers)
        other.program.wait_for("connection_closed", everyone, seconds=SOON, outcome="peer_lost")
        assert len(other.program.events("connection_closed")) == everyone
        if victim == "server":
            other.program.wait_for("connection_failed", outcome="server_unreachable")
        else:
            other.program.wait_for("connection_abandoned", outcome="peer_reset")
