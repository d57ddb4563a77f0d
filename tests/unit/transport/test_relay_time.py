"""The relay and the clock: hours in milliseconds, on real sockets and a clock that is turned by hand."""

import asyncio
import contextlib
import socket
from contextlib import ExitStack

import pytest

from sokken.protocol.outcomes import Outcome
from sokken.transport.channel import prepare
from sokken.transport.relay import Relay
from tests.support.floods import Flood, deliver, stall
from tests.support.loops import LOOPS, Clock, planes, run, tcp_pair, unix_pair
from tests.support.relays import QUIET, Owner, relayed, turn
from tests.support.targets import is_reset
from tests.support.wire import BINARY, CLOSE, PING, PONG, TEXT

pytestmark = pytest.mark.parametrize("loop", LOOPS)
MESSAGE = bytes(1000)


# Pings


@pytest.mark.parametrize(("spread", "interval"), [(0.0, 18), (0.5, 20), (1.0, 22)])
@pytest.mark.parametrize("masks", [False, True], ids=["server", "client"])
def test_pings_when_it_has_sent_nothing_for_20_seconds(loop, masks, spread, interval):
    async def main():
        async with relayed(masks=masks, spread=spread) as it:
            pings = []

            def answer(age):
                for received in it.receive_waiting():
                    assert received.opcode == PING
                    it.wire.send(PONG, received.payload)
                    pings.append(age)

            await it.pass_seconds(5 * interval + 2, answer)
            assert pings == [interval * count for count in range(1, 6)]
            assert not it.relay.is_ended

    run(main(), loop)


def test_does_not_ping_while_it_sends(loop):
    async def main():
        async with relayed() as it:
            it.wire.sock.settimeout(1)

            def talk(age):
                it.wire.send(PONG)
                if age % 15 == 0:
                    it.local.sendall(b"x")

            await it.pass_seconds(300, talk)
            assert {received.opcode for received in it.receive_waiting()} == {BINARY}

    run(main(), loop)


def test_pings_while_it_does_not_read_and_never_gives_up_then(loop):
    async def main():
        async with relayed(small=True) as it:
            await it.stall_local()
            pings = []
            for _ in range(10):  # taken now and then: a small socket does not hold fifty
                await it.pass_seconds(100)
                pings += it.receive_waiting()
            assert not it.relay.is_ended
            assert [received.opcode for received in pings] == [PING] * 50

    run(main(), loop)


def test_answers_the_latest_ping_only_when_the_peer_reads_again(loop):
    async def main():
        async with relayed(small=True) as it:
            await it.stall_peer()
            for count in range(5):
                it.wire.send(PING, b"%d" % count)
                await turn()
            it.local.shutdown(socket.SHUT_WR)
            pongs = await asyncio.to_thread(pongs_before_eof, it.wire)
            assert pongs == [b"4"]
            it.wire.send(PING, b"later")
            assert (await asyncio.to_thread(it.wire.receive)).payload == b"later"

    run(main(), loop)


def pongs_before_eof(wire):
    pongs = []
    while (received := wire.receive()).opcode != TEXT:
        if received.opcode == PONG:
            pongs.append(received.payload)
    return pongs


# A peer that says nothing


@pytest.mark.parametrize("stalled", [False, True], ids=["idle", "behind-a-full-pipe"])
def test_a_silent_peer_is_gone_within_90_seconds(loop, stalled):
    async def main():
        async with relayed(small=stalled) as it:
            if stalled:
                await it.stall_peer()
            await it.pass_seconds(69)
            assert not it.relay.is_ended
            await it.pass_seconds(21)
            assert it.relay.is_ended
            assert it.outcome is Outcome.PING_TIMEOUT
            assert is_reset(it.local)

    run(main(), loop)


def test_a_byte_is_life(loop):
    async def main():
        async with relayed() as it:
            await it.pass_seconds(600, lambda age: age % 60 == 0 and it.wire.send(PONG))
            assert not it.relay.is_ended
            await it.pass_seconds(69)
            assert not it.relay.is_ended
            await it.pass_seconds(21)
            assert it.outcome is Outcome.PING_TIMEOUT

    run(main(), loop)


def test_silence_counts_from_when_it_reads_again(loop):
    async def main():
        async with relayed(small=True) as it:
            await it.stall_local()
            await it.pass_seconds(500)
            await asyncio.to_thread(read_until_quiet, it.local)
            assert not it.plane.parked
            await it.pass_seconds(69)
            assert not it.relay.is_ended
            await it.pass_seconds(21)
            assert it.outcome is Outcome.PING_TIMEOUT

    run(main(), loop)


def test_silence_counts_from_when_it_reads_again_though_there_is_nothing_to_read(loop):
    async def main():
        async with relayed(small=True) as it:
            it.wire.send(BINARY, bytes(100_000))
            await turn()
            assert it.plane.parked
            assert it.relay.bytes_in == 100_000
            await it.pass_seconds(500)
            await asyncio.to_thread(read_until_quiet, it.local)
            assert not it.plane.parked
            await it.pass_seconds(69)
            assert not it.relay.is_ended
            await it.pass_seconds(21)
            assert it.outcome is Outcome.PING_TIMEOUT

    run(main(), loop)


def read_until_quiet(sock):
    sock.settimeout(QUIET)
    with contextlib.suppress(TimeoutError):
        while sock.recv(1 << 20):
            pass


# An original


def test_an_original_that_never_answers_three_pings_is_gone(loop):
    async def main():
        async with relayed(original=True) as it:
            await it.pass_seconds(79)
            assert not it.relay.is_ended
            assert [received.opcode for received in it.receive_waiting()] == [PING] * 3
            await it.pass_seconds(11)
            assert it.outcome is Outcome.PING_TIMEOUT
            assert is_reset(it.local)
            assert is_reset(it.wire.sock)

    run(main(), loop)


@pytest.mark.parametrize("opcode", [PONG, BINARY])
def test_an_original_that_has_said_anything_is_never_judged_by_silence(loop, opcode):
    async def main():
        async with relayed(original=True) as it:
            await it.pass_seconds(70)
            it.wire.send(opcode, b"" if opcode == PONG else b"x")
            await it.pass_seconds(3600)
            assert not it.relay.is_ended
            assert {received.opcode for received in it.receive_waiting()} == {PING}

    run(main(), loop)


@pytest.mark.parametrize("stalled", ["local", "peer"])
def test_an_original_is_not_pinged_while_it_could_not_answer(loop, stalled):
    async def main():
        async with relayed(original=True, small=True) as it:
            await (it.stall_local() if stalled == "local" else it.stall_peer())
            await it.pass_seconds(300)
            assert not it.relay.is_ended
            it.local.settimeout(None)
            if stalled == "local":
                assert it.receive_waiting() == []
            else:
                it.local.shutdown(socket.SHUT_WR)
                frames = await asyncio.to_thread(receive_up_to_close, it.wire)
                assert {received.opcode for received in frames} == {BINARY, CLOSE}

    run(main(), loop)


def receive_up_to_close(wire):
    frames = [wire.receive()]
    while frames[-1].opcode != CLOSE:
        frames.append(wire.receive())
    return frames


# Half-closed


@pytest.mark.parametrize("who", ["local", "peer"])
def test_a_half_closed_connection_over_which_nothing_moves_is_aborted(loop, who):
    async def main():
        async with relayed(half_closed_seconds=300) as it:
            await it.pass_seconds(100, lambda _: it.wire.send(PONG))
            it.local.shutdown(socket.SHUT_WR) if who == "local" else it.wire.send(TEXT, b"eof")
            await turn()
            await it.pass_seconds(299, lambda _: it.wire.send(PONG))  # which is life, but moves nothing
            assert not it.relay.is_ended
            assert it.outcome is None
            await it.pass_seconds(2, lambda _: it.wire.send(PONG))
            assert it.outcome is Outcome.HALF_CLOSED_TIMEOUT
            assert is_reset(it.local)
            *_, abort, close = await asyncio.to_thread(receive_up_to_close, it.wire)
            assert (abort.opcode, abort.payload) == (TEXT, b"abort half_closed_timeout")
            assert (close.opcode, close.code) == (CLOSE, 1011)

    run(main(), loop)


@pytest.mark.parametrize("who", ["local", "peer"])
@pytest.mark.parametrize("seconds", [1, 5, 19, 21, 45])
@pytest.mark.parametrize("age", [0, 13])
def test_it_is_aborted_in_time_whenever_the_next_ping_is_due(loop, who, seconds, age):
    """Pings are 20 s apart here: the relay is to be woken before, between and after them."""

    async def main():
        async with relayed(half_closed_seconds=seconds) as it:
            await it.pass_seconds(age)
            it.local.shutdown(socket.SHUT_WR) if who == "local" else it.wire.send(TEXT, b"eof")
            await turn()
            await it.pass_seconds(seconds - 1, lambda _: it.wire.send(PONG))
            assert it.outcome is None
            await it.pass_seconds(2, lambda _: it.wire.send(PONG))
            assert it.outcome is Outcome.HALF_CLOSED_TIMEOUT

    run(main(), loop)


@pytest.mark.parametrize("seconds", [5, 45])
def test_pings_go_on_over_a_half_closed_connection(loop, seconds):
    async def main():
        async with relayed(half_closed_seconds=seconds) as it:
            it.local.shutdown(socket.SHUT_WR)
            await turn()
            pings = []

            def answer(age):
                it.wire.send(BINARY, b"x")  # something moves
                pings.extend(age for received in it.receive_waiting() if received.opcode == PING)

            await it.pass_seconds(61, answer)
            assert it.outcome is None
            assert pings == [20, 40, 60]

    run(main(), loop)


def test_notices_do_not_keep_a_half_closed_connection(loop):
    async def main():
        async with relayed(half_closed_seconds=60) as it:
            it.local.shutdown(socket.SHUT_WR)
            await turn()
            await it.pass_seconds(62, lambda _: it.wire.send(TEXT, b"hello"))
            assert it.outcome is Outcome.HALF_CLOSED_TIMEOUT

    run(main(), loop)


def test_a_half_closed_connection_lives_while_something_moves(loop):
    async def main():
        async with relayed(half_closed_seconds=60) as it:
            it.local.shutdown(socket.SHUT_WR)
            await it.pass_seconds(900, lambda age: it.wire.send(*((BINARY, b"x") if age % 30 == 0 else (PONG,))))
            assert it.outcome is None
            await it.pass_seconds(60 + 23, lambda _: it.wire.send(PONG))
            assert it.outcome is Outcome.HALF_CLOSED_TIMEOUT

    run(main(), loop)


def test_an_idle_connection_that_is_not_half_closed_lives(loop):
    async def main():
        async with relayed(half_closed_seconds=60) as it:
            await it.pass_seconds(3600, lambda _: it.wire.send(PONG))
            assert not it.relay.is_ended

    run(main(), loop)


# A Close that is never answered


def test_a_close_is_waited_for_as_long_as_the_peer_lives(loop):
    async def main():
        async with relayed() as it:
            it.wire.send(TEXT, b"eof")
            it.local.shutdown(socket.SHUT_WR)
            await turn()
            eof, close = it.receive_waiting()
            assert (eof.payload, close.code) == (b"eof", 1000)
            assert it.outcome is Outcome.COMPLETED
            await it.pass_seconds(600, lambda age: age % 20 == 0 and it.wire.send(PING))
            assert not it.relay.is_ended
            assert it.receive_waiting() == []  # nothing follows a Close
            await it.pass_seconds(90)
            assert it.relay.is_ended
            assert it.outcome is Outcome.PING_TIMEOUT  # nobody knows what became of the last bytes

    run(main(), loop)


def test_an_original_has_five_seconds_to_answer_a_close(loop):
    async def main():
        async with relayed(original=True) as it:
            it.local.shutdown(socket.SHUT_WR)
            await turn()
            (close,) = it.receive_waiting()
            assert close.code == 1000
            await it.pass_seconds(4, lambda _: it.wire.send(PING))
            assert not it.relay.is_ended
            await it.pass_seconds(4)
            assert it.relay.is_ended
            assert it.outcome is Outcome.COMPLETED
            assert not is_reset(it.wire.sock, QUIET)

    run(main(), loop)


def test_a_close_to_an_original_goes_behind_what_it_has_not_taken_yet(loop):
    """The application has ended, and may be gone: nobody else knows of bytes that would be lost."""

    async def main():
        async with relayed(original=True, small=True, wire_pair=unix_pair) as it:
            taken = await count_messages_until_held(it)
        async with relayed(original=True, small=True, wire_pair=unix_pair) as it:
            for _ in range(taken):
                await send_message(it)
            assert not it.plane.parked
            it.local.shutdown(socket.SHUT_WR)
            await turn()
            assert it.plane.parked
            await it.pass_seconds(600)
            assert not it.relay.is_ended
            *messages, close = await asyncio.to_thread(receive_up_to_close, it.wire)
            assert b"".join(message.payload for message in messages) == taken * MESSAGE
            assert close.code == 1000
            it.wire.send_close(1000)
            await turn()
            assert it.relay.is_ended
            assert it.outcome is Outcome.COMPLETED

    run(main(), loop)


async def count_messages_until_held(it):
    """How many the kernel takes for the peer: a Close then finds no room, either."""
    count = 0
    while True:
        await send_message(it)
        if it.plane.parked:
            return count
        count += 1


async def send_message(it):
    it.local.sendall(MESSAGE)
    await turn()


# A slow reader


@pytest.mark.parametrize("original", [False, True], ids=["v2", "original"])
def test_a_reader_of_10_kilobytes_a_second_behind_a_full_pipe_lives_for_five_minutes(loop, original):
    """Through two relays, one as a server has it, one as a client has it."""

    async def main():
        clock = Clock(1000)
        with ExitStack() as stack:
            target, far_local = stack.enter_context(tcp_pair())
            far_peer, near_peer = stack.enter_context(tcp_pair())
            application, near_local = stack.enter_context(tcp_pair())
            prepare(far_peer)
            owners = [Owner(), Owner()]
            async with planes(clock=clock) as far_plane, planes(masks=True, clock=clock) as near_plane:
                kind = {"original": original, "half_closed_seconds": 3600.0}
                far = Relay(far_plane, far_local, far_peer, spread=0.2, owner=owners[0], **kind)
                near = Relay(near_plane, near_local, near_peer, spread=0.8, owner=owners[1], **kind)
                far.start()
                near.start()
                application.sendall(b"go")
                assert await asyncio.to_thread(target.recv, 2) == b"go"
                flood = Flood(0, target, application)
                await asyncio.to_thread(stall, [flood], QUIET)
                assert far_plane.parked
                assert near_plane.parked
                held_back = near.bytes_in
                for second in range(1, 301):
                    clock.now += 1
                    while flood.read < second * 10_000:
                        assert flood.receive(second * 10_000 - flood.read)
                        flood.write()
                        await turn()
                    for plane in (far_plane, near_plane):
                        plane.wheel.advance()
                    await turn()
                assert not far.is_ended
                assert not near.is_ended
                assert near.bytes_in > held_back
                await asyncio.to_thread(deliver, [flood])
                application.close()
                target.close()
                clock.now += 2
                await turn()
                for plane in (far_plane, near_plane):
                    plane.wheel.advance()
                await turn()
                assert [relay.session.outcome for relay in (far, near)] == [Outcome.COMPLETED] * 2
                assert [owner.ends for owner in owners] == [1, 1]
                assert near.bytes_in == far.bytes_out == flood.written

    run(main(), loop)
