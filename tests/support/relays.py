"""A relay on real sockets and a clock that is turned by hand: what the tests of the relay share."""

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager

from sokken.transport.relay import Relay
from tests.support.loops import Clock, planes, tcp_pair
from tests.support.targets import wait_until_writable_stalls
from tests.support.wire import BINARY, Wire, frame

ENDLESS = 1 << 40
QUIET = 0.05  # real seconds in which nothing moves


class Owner:
    def __init__(self):
        self.ends = 0
        self.ended_directions = []

    def direction_ended(self, *, by_peer):
        self.ended_directions.append("peer" if by_peer else "local")

    def peer_drains(self):
        pass

    def ended(self):
        self.ends += 1


class Relayed:
    """A relay, and what is on its two sides: ``local``, a plain socket, and ``wire``, a WebSocket by hand."""

    def __init__(self, plane, clock, relay, local, wire):
        self.plane = plane
        self.clock = clock
        self.relay = relay
        self.local = local
        self.wire = wire
        self.began = clock.now

    @property
    def age(self):
        return self.clock.now - self.began

    @property
    def outcome(self):
        return self.relay.session.outcome

    async def pass_seconds(self, seconds, each_second=lambda _: None):
        """Turn the clock; ``each_second`` is called with the age. Stops when the relay has ended."""
        for _ in range(seconds):
            self.clock.now += 1
            self.plane.wheel.advance()
            await turn()
            if self.relay.is_ended:
                break
            each_second(self.age)
            await turn()

    def receive_waiting(self):
        """The frames that have come."""
        frames = []
        self.wire.sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                frames.append(self.wire.receive())
        return frames

    async def stall_local(self):
        """The peer floods, and the local side does not read: the relay stops to read from the peer."""
        self.wire.sock.sendall(frame(BINARY, masked=self.wire.masks, length=ENDLESS))
        await asyncio.to_thread(wait_until_writable_stalls, self.wire.sock, seconds=QUIET)
        assert self.plane.parked

    async def stall_peer(self):
        """The local side floods, and the peer does not read: the relay holds frames for the peer."""
        await asyncio.to_thread(wait_until_writable_stalls, self.local, seconds=QUIET)
        assert self.plane.parked


async def turn():
    """Let the loop see what its sockets have; over loopback everything has arrived once it is sent."""
    for _ in range(4):
        await asyncio.sleep(0)


@asynccontextmanager
async def relayed(
    *, masks=False, original=False, half_closed_seconds=3600.0, spread=0.5, small=False, wire_pair=tcp_pair
):
    clock, owner = Clock(1000), Owner()
    with tcp_pair(small=small) as (local, ours), wire_pair(small=small) as (peer, channel):
        async with planes(masks=masks, clock=clock) as plane:
            relay = Relay(
                plane,
                ours,
                channel,
                original=original,
                half_closed_seconds=half_closed_seconds,
                spread=spread,
                owner=owner,
            )
            relay.start()
            for sock in (local, peer):  # or the kernel waits for acknowledgements, in a time of its own
                if sock.family == socket.AF_INET:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            it = Relayed(plane, clock, relay, local, Wire(peer, masks=not masks))
            yield it
            peer.close()
            local.close()
            await it.pass_seconds(200)
            assert relay.is_ended
            assert owner.ends == 1
            assert plane.parked == 0
