"""One socket of a relay: what it holds, and how it is given up."""

import asyncio
import os
import socket
from contextlib import contextmanager

import pytest

from sokken.transport.side import Side
from tests.support.loops import LOOPS, planes, run, soon, tcp_pair
from tests.support.targets import receive_exactly, reset, was_reset

pytestmark = pytest.mark.parametrize("loop", LOOPS)


@contextmanager
def side(plane, *, small=False):
    """The far end, and a side that is watched; what it is told stands in the list."""
    told = []
    with tcp_pair(small=small) as (far, near):
        made = Side(plane, near)
        made.watch(lambda: told.append("error"))
        yield far, made, told


@pytest.mark.parametrize("clean", [False, True])
def test_it_is_closed_with_a_reset_or_in_order(loop, clean):
    async def main():
        async with planes() as plane:
            with side(plane) as (far, near, _):
                near.read(lambda: None, is_wanted=True)
                near.close(clean=clean)
                assert (near.is_open, near.is_reading, repr(near)) == (False, False, "closed")
                assert was_reset(far) is not clean
            assert repr(plane.watch) == "<Watch sockets=0>"

    run(main(), loop)


@pytest.mark.parametrize("clean", [False, True])
def test_once_closed_it_hears_nothing_of_who_has_its_number_then(loop, clean):
    async def main():
        async with planes() as plane:
            with side(plane) as (far, near, told), tcp_pair() as (other, successor):
                number = near.channel.fileno()
                reset(far)  # and before the loop hears of it …
                near.close(clean=clean)
                os.dup2(successor.fileno(), number)
                with socket.socket(fileno=number) as taken:
                    later = Side(plane, taken)
                    heard = []
                    later.watch(lambda: heard.append("error"))
                    await asyncio.sleep(0.05)
                    assert (told, heard) == ([], [])
                    reset(other)
                    await soon(lambda: heard)
                    assert told == []
                    later.close(clean=False)

    run(main(), loop)


def test_who_is_given_the_socket_has_it_alone(loop):
    async def main():
        async with planes() as plane:
            with side(plane) as (far, near, told):
                near.read(lambda: told.append("read"), is_wanted=True)
                channel = near.detach()
                far.sendall(b"for the new one")
                await asyncio.sleep(0.05)
                assert told == []
                assert channel.recv(100) == b"for the new one"

    run(main(), loop)


def test_what_does_not_go_is_held_counted_and_sent_in_order(loop):
    async def main():
        async with planes() as plane:
            with side(plane, small=True) as (far, near, _):

                def flush():
                    near.flush()

                size = 1 << 20
                assert not near.send(b"a" * size, flush)
                assert 0 < plane.parked == len(near.held) < size
                assert not near.send(b"b" * 10, flush)
                assert not near.send_pieces([memoryview(b"c"), memoryview(b"d")], 2, flush)
                got = await asyncio.to_thread(receive_exactly, far, size + 12)
                assert got == b"a" * size + b"b" * 10 + b"cd"
                assert (near.held, plane.parked) == (None, 0)
                near.close(clean=True)

    run(main(), loop)


def test_what_is_held_is_forgotten_with_it(loop):
    async def main():
        async with planes() as plane:
            with side(plane, small=True) as (_, near, _):
                near.send(bytes(1 << 20), lambda: None)
                assert plane.parked
                near.close(clean=False)
                assert plane.parked == 0

    run(main(), loop)
