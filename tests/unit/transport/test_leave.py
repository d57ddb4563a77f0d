import asyncio
import os
import socket
import time

import pytest

from sokken.transport.leave import DROP_BYTES, LEAVE_SECONDS, Leave
from sokken.transport.plane import Plane
from sokken.transport.timers import TICK_SECONDS
from tests.support.loops import LOOPS, Clock, planes, run, soon, tcp_pair
from tests.support.targets import receive_all, receive_exactly, reset

pytestmark = pytest.mark.parametrize("loop", LOOPS)
ANSWER = b"HTTP/1.1 400 Bad Request\r\n\r\n"


class Done:
    """Whether, and how often, somebody has left."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1

    def __bool__(self) -> bool:
        return self.count > 0


def test_the_answer_arrives_though_its_request_was_not_read(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            async with planes() as plane:
                ours.sendall(os.urandom(60_000))
                done = Done()
                Leave(plane, theirs, ANSWER, done)
                assert await asyncio.to_thread(receive_all, ours) == ANSWER
                ours.close()
                await soon(lambda: done)
                assert theirs.fileno() == -1

    run(main(), loop)


def test_without_an_answer_it_is_an_end(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            async with planes() as plane:
                done = Done()
                leave = Leave(plane, theirs, done=done)
                assert repr(leave) == "<Leave pending=0 dropped=0>"
                assert receive_all(ours) == b""
                assert not done
                ours.close()
                await soon(lambda: done)

    run(main(), loop)


def test_a_large_answer_is_flushed_as_it_is_taken(loop):
    async def main():
        answer = os.urandom(3_000_000)
        with tcp_pair(small=True) as (ours, theirs):
            async with planes() as plane:
                done = Done()
                Leave(plane, theirs, answer, done, wait=10)
                assert await asyncio.to_thread(receive_all, ours) == answer
                ours.close()
                await soon(lambda: done)

    run(main(), loop)


async def pass_time(plane: Plane, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    plane.wheel.advance()
    await asyncio.sleep(0.01)


def test_who_does_not_end_is_left_after_a_second(loop):
    async def main():
        clock = Clock()
        with tcp_pair() as (ours, theirs):
            async with planes(clock=clock) as plane:
                done = Done()
                Leave(plane, theirs, ANSWER, done)
                assert await asyncio.to_thread(receive_exactly, ours, len(ANSWER)) == ANSWER
                await pass_time(plane, clock, LEAVE_SECONDS - 0.01)
                assert not done
                await pass_time(plane, clock, TICK_SECONDS)
                assert done
                assert receive_all(ours) == b""

    run(main(), loop)


def test_who_does_not_read_is_reset_in_time(loop):
    """What was not flushed is lost: that must not look like an end."""

    async def main():
        clock = Clock()
        with tcp_pair(small=True) as (ours, theirs):
            async with planes(clock=clock) as plane:
                done = Done()
                Leave(plane, theirs, bytes(5_000_000), done)
                await pass_time(plane, clock, LEAVE_SECONDS - 0.01)
                assert not done
                await pass_time(plane, clock, TICK_SECONDS)
                assert done
                with pytest.raises(ConnectionResetError):
                    receive_all(ours)

    run(main(), loop)


def test_who_goes_on_sending_is_left_soon(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            async with planes() as plane:
                done, started = Done(), time.monotonic()
                Leave(plane, theirs, ANSWER, done, wait=15)
                ours.sendall(bytes(DROP_BYTES + 1))
                await soon(lambda: done)
                assert time.monotonic() - started < 5

    run(main(), loop)


@pytest.mark.parametrize("pending", [b"", ANSWER, bytes(5_000_000)])
@pytest.mark.parametrize("unread", [b"", b"unread"])
def test_who_resets_is_left_at_once(loop, pending, unread):
    async def main():
        with tcp_pair(small=True) as (ours, theirs):
            async with planes() as plane:
                done, started = Done(), time.monotonic()
                Leave(plane, theirs, pending, done, wait=15)
                ours.sendall(unread)
                reset(ours)
                await soon(lambda: done)
                assert time.monotonic() - started < 5
                assert theirs.fileno() == -1

    run(main(), loop)


@pytest.mark.parametrize("pending", [b"", ANSWER])
def test_who_has_gone_before_is_left_at_once(loop, pending):
    async def main():
        with tcp_pair() as (ours, theirs):
            async with planes() as plane:
                reset(ours)
                done = Done()
                Leave(plane, theirs, pending, done)
                await soon(lambda: done, seconds=5)

    run(main(), loop)


def test_it_is_told_once(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            async with planes() as plane:
                done = Done()
                leave = Leave(plane, theirs, ANSWER, done)
                ours.shutdown(socket.SHUT_WR)
                await soon(lambda: done)
                leave.on_timer(0)
                assert done.count == 1
                assert repr(plane.wheel).endswith("entries=0>")

    run(main(), loop)
