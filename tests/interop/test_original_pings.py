"""Pings toward an original, by an injected clock: it ends a connection on which it cannot answer one in time."""

import asyncio
import contextlib
import socket
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from sokken.transport.plane import Plane
from sokken.transport.relay import Relay
from tests.support.floods import Flood
from tests.support.loops import LOOPS, Clock, planes, run, soon, tcp_pair
from tests.support.original import CONTROL_SECONDS, READ_LIMIT, Plumbing
from tests.support.targets import is_reset
from tests.support.wire import BINARY, PING, Wire

ROLES = pytest.mark.parametrize("role", ["client", "server"])
INTERVAL = 20.0


@dataclass
class Bench:
    """A relay in the role of ours, and what is at its two ends. It owns its relay."""

    plane: Plane
    clock: Clock
    local: socket.socket
    far: socket.socket
    relay: Relay | None = None
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    def peer_drains(self):
        pass

    def direction_ended(self, *, by_peer):
        pass

    def ended(self):
        self.is_over.set()

    @property
    def outcome(self):
        return self.relay.session.outcome

    async def pass_time(self, seconds):
        """Let the clock go on, and the relay do what is due."""
        self.clock.now += seconds
        self.plane.wheel.advance()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def bench(role):
    clock = Clock()
    async with planes(masks=role == "client", clock=clock) as plane:
        with tcp_pair(small=True) as (application, local), tcp_pair(small=True) as (far, peer):
            rig = Bench(plane, clock, application, far)
            rig.relay = Relay(plane, local, peer, original=True, half_closed_seconds=3600, spread=0.5, owner=rig)
            rig.relay.start()
            try:
                yield rig
            finally:
                application.close()
                far.close()
                while not rig.is_over.is_set():
                    await rig.pass_time(10)


@asynccontextmanager
async def original(rig, role):
    """The double at the relay's far end; gives its plumbing and its own local side."""
    if role == "client":
        protocol = ServerProtocol(state=State.OPEN, max_size=READ_LIMIT)
    else:
        protocol = ClientProtocol(parse_uri("ws://here"), state=State.OPEN, max_size=READ_LIMIT)
    with tcp_pair(small=True) as (target, local):
        local.setblocking(True)
        rig.far.settimeout(None)
        plumbing = Plumbing(rig.far, protocol, CONTROL_SECONDS)
        thread = threading.Thread(target=plumbing.plumb, args=(local,))
        thread.start()
        try:
            yield plumbing, target
        finally:
            plumbing.break_off()
            plumbing.end_local()
            await asyncio.to_thread(thread.join)


async def fill(flood):
    """Write until nothing is taken any more."""
    quiet = 0
    while quiet < 30:
        before, last = flood.written, -1
        while flood.written != last:
            last = flood.written
            flood.write()
        await asyncio.sleep(0.005)
        quiet = quiet + 1 if flood.written == before else 0


async def drain(flood):
    while flood.read < flood.written:
        assert flood.receive()
        await asyncio.sleep(0)


@ROLES
@pytest.mark.parametrize("loop", LOOPS)
def test_an_idle_original_is_pinged_now_and_then_and_lives(role, loop):
    async def main():
        async with bench(role) as rig, original(rig, role) as (plumbing, _):
            await rig.pass_time(INTERVAL - 2)
            assert plumbing.pings == 0
            for number in range(1, 8):
                await rig.pass_time(INTERVAL + 2)
                assert await soon(lambda number=number: plumbing.pings == number)
            assert rig.outcome is None

    run(main(), loop)


@ROLES
def test_an_original_that_never_says_anything_is_given_up_after_three_pings(role):
    async def main():
        async with bench(role) as rig:
            for _ in range(3):
                await rig.pass_time(INTERVAL + 1)
                assert rig.outcome is None
            await rig.pass_time(INTERVAL + 1)
            assert rig.outcome == "ping_timeout"
            await rig.is_over.wait()
            assert is_reset(rig.local)
            wire = Wire(rig.far, masks=role == "server")
            assert [wire.receive().opcode for _ in range(3)] == [PING] * 3
            with pytest.raises(ConnectionResetError):
                wire.receive()

    run(main())


@ROLES
def test_an_original_that_has_spoken_is_never_given_up(role):
    async def main():
        async with bench(role) as rig:
            wire = Wire(rig.far, masks=role == "server")
            wire.send(BINARY, b"x")
            assert await asyncio.to_thread(rig.local.recv, 1) == b"x"
            for _ in range(20):
                await rig.pass_time(INTERVAL + 1)
            assert rig.outcome is None
            assert [wire.receive().opcode for _ in range(20)] == [PING] * 20

    run(main())


@ROLES
def test_an_original_is_not_pinged_while_its_bytes_are_not_read(role):
    async def main():
        async with bench(role) as rig, original(rig, role) as (plumbing, target):
            flood = Flood(0, target, rig.local)
            await fill(flood)
            for _ in range(10):
                await rig.pass_time(INTERVAL + 1)
            assert plumbing.pings == 0  # it could not write the answer, and would end the connection
            await drain(flood)
            for _ in range(2):
                await rig.pass_time(INTERVAL + 1)
            await soon(lambda: plumbing.pings)
            assert not plumbing.is_timed_out
            assert rig.outcome is None

    run(main())


@ROLES
def test_an_original_is_not_pinged_while_something_is_held_for_it(role):
    async def main():
        async with bench(role) as rig, original(rig, role) as (plumbing, target):
            flood = Flood(0, rig.local, target)
            await fill(flood)
            for _ in range(10):
                await rig.pass_time(INTERVAL + 1)
            await drain(flood)
            await asyncio.sleep(0.05)
            assert plumbing.pings == 0
            await rig.pass_time(INTERVAL + 1)
            await soon(lambda: plumbing.pings == 1)
            assert rig.outcome is None

    run(main())


@ROLES
def test_an_original_that_does_not_answer_a_close_is_left_after_five_seconds(role):
    async def main():
        async with bench(role) as rig:
            rig.local.shutdown(socket.SHUT_WR)
            wire = Wire(rig.far, masks=role == "server")
            assert (await asyncio.to_thread(wire.receive)).code == 1000
            assert await asyncio.to_thread(rig.local.recv, 1) == b""
            rig.far.setblocking(False)
            await rig.pass_time(4)
            with pytest.raises(BlockingIOError):
                rig.far.recv(1)
            await rig.pass_time(2)
            with contextlib.suppress(ConnectionResetError):
                assert rig.far.recv(1) == b""
            await rig.pass_time(2)
            await rig.is_over.wait()

    run(main())
