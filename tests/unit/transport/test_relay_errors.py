"""Errors of a socket that come at an awkward moment, on real sockets."""

import contextlib

import pytest

from sokken.protocol.outcomes import Outcome
from tests.support.loops import LOOPS, run, soon
from tests.support.relays import ENDLESS, relayed, turn
from tests.support.targets import is_reset, reset
from tests.support.wire import BINARY, frame

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def send_more_than_is_taken(wire):
    wire.sock.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        wire.sock.sendall(frame(BINARY, masked=wire.masks, length=ENDLESS) + bytes(3_000_000))


def test_a_peer_that_takes_no_more_is_lost_also_when_the_local_side_stalls_before_all_is_read(loop):
    """The failed send has taken the error: nothing tells of it again once reading is paused."""

    async def main():
        async with relayed(small=True) as it:
            await turn()
            it.local.sendall(b"x")  # is read first, and can't be sent
            send_more_than_is_taken(it.wire)
            reset(it.wire.sock)
            await soon(lambda: it.relay.is_ended, 2)
            assert it.outcome is Outcome.PEER_LOST
            assert is_reset(it.local)

    run(main(), loop)


@pytest.mark.parametrize("who", ["local", "peer"])
def test_a_reset_behind_more_than_the_other_side_takes_is_seen(loop, who):
    """It comes while the relay reads, and the reading is then paused by what came before it."""

    async def main():
        async with relayed(small=True) as it:
            await turn()
            if who == "peer":
                send_more_than_is_taken(it.wire)
                reset(it.wire.sock)
            else:
                it.local.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    it.local.sendall(bytes(3_000_000))
                reset(it.local)
            await soon(lambda: it.relay.is_ended, 2)
            assert it.outcome is (Outcome.PEER_LOST if who == "peer" else Outcome.LOCAL_RESET)
            assert is_reset(it.local if who == "peer" else it.wire.sock)

    run(main(), loop)
