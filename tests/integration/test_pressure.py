"""Back-pressure: hundreds of stalled connections hold little memory, hurt nobody, and lose nothing."""

import socket
import statistics
import time
from contextlib import ExitStack

import pytest

from tests.support.floods import Flood, deliver, exchange, make_small, stall
from tests.support.health import connections, everything_is_freed
from tests.support.programs import client, server
from tests.support.targets import connect, echo, is_reset, receive_exactly, reset, target

STALLED = 200
MOST_KIB_EACH = 512  # a read that was not taken, at most; over 64 MiB in all, reads become 32 KiB
MOST_KIB_WHILE_STALLED = 1024  # for all together
OPTIONS = ["-max-connections", str(2 * STALLED)]


class Stalled:
    """Floods through a server and a client, with an echo beside them. ``reader`` is who does not read."""

    def __init__(self, stack, reader, number, prepare=lambda _: None):
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=number))
        prepare(listener)
        mute, lively = listener.getsockname(), stack.enter_context(target(echo))
        self.server = stack.enter_context(server(mute, lively, options=OPTIONS))
        urls = [self.server.url(mute), self.server.url(lively)]
        self.client = stack.enter_context(client(*urls, options=OPTIONS))
        self.programs = (self.server.program, self.client.program)
        stack.enter_context(everything_is_freed(self.server, self.client))
        self.memory_before = self.memory()
        self.floods = []
        for place in range(number):
            application = stack.enter_context(socket.socket())
            prepare(application)
            application.connect(self.client.entries[0])
            end = stack.enter_context(listener.accept()[0])
            writer, reads = (end, application) if reader == "application" else (application, end)
            self.floods.append(Flood(place, writer, reads))

    def memory(self):
        return [program.anonymous_kib() for program in self.programs]

    def connect_to_echo(self):
        return connect(self.client.entries[1])


def median_and_worst_echo(sock, rounds=200):
    """Seconds of an exchange of 64 bytes."""
    times = []
    for _ in range(rounds):
        before = time.perf_counter()
        sock.sendall(bytes(64))
        receive_exactly(sock, 64)
        times.append(time.perf_counter() - before)
    return statistics.median(times), max(times)


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["application", "target"])
def test_stalled_connections_hold_little_hurt_nobody_and_lose_nothing(reader):
    with ExitStack() as stack:
        stalled = Stalled(stack, reader, STALLED, make_small)
        while stall(stalled.floods):
            pass
        memory = stalled.memory()
        for now, before in zip(memory, stalled.memory_before, strict=True):
            assert now - before < STALLED * MOST_KIB_EACH

        with stalled.connect_to_echo() as other:
            median, worst = median_and_worst_echo(other)
            assert median < 0.02
            assert worst < 1
            exchange(other, 16_000_000)
        stall(stalled.floods)
        for later, now in zip(stalled.memory(), memory, strict=True):
            assert later - now < MOST_KIB_WHILE_STALLED
        assert connections(stalled.server.api) == connections(stalled.client.api) == STALLED

        deliver(stalled.floods)
        for flood in stalled.floods:
            flood.reader.close()
        for program in stalled.programs:
            program.wait_for("connection_closed", STALLED + 1, outcome="completed")


@pytest.mark.parametrize("reader", ["application", "target"])
def test_stalled_connections_that_are_reset_are_freed_at_both_ends(reader):
    with ExitStack() as stack:
        stalled = Stalled(stack, reader, 12)
        stall(stalled.floods, 0.3)
        by_reader, by_writer = stalled.floods[::2], stalled.floods[1::2]
        for flood in by_reader:
            reset(flood.reader)
        for flood in by_writer:
            reset(flood.writer)
        for program in stalled.programs:
            program.wait_for("connection_closed", len(stalled.floods), seconds=2)
        for other_end in [flood.writer for flood in by_reader] + [flood.reader for flood in by_writer]:
            assert is_reset(other_end, 2)
        for program in stalled.programs:  # each is the first to see it from its own side, and only from there
            assert len(program.events("connection_closed", outcome="local_reset")) == len(stalled.floods) / 2
