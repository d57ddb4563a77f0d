import asyncio
import os
import socket

import pytest

from sokken.transport.resets import ResetWatch
from tests.support.loops import LOOPS, run, soon, tcp_pair
from tests.support.targets import reset

pytestmark = pytest.mark.parametrize("loop", LOOPS)


class Turns:
    """Counts how often the watch was woken."""

    def __init__(self, watch: ResetWatch) -> None:
        self.count = 0
        self._watch = watch
        self._handle = watch._on_events
        asyncio.get_running_loop().add_reader(watch._epoll.fileno(), self)

    def __call__(self) -> None:
        self.count += 1
        self._handle()


async def a_while() -> None:
    for _ in range(20):
        await asyncio.sleep(0.002)


def test_a_reset_is_told_once_though_nobody_reads(loop):
    async def main():
        watch, told = ResetWatch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs):
            watch.add(theirs, lambda: told.append(1))
            ours.sendall(b"unread")
            await a_while()
            assert told == []
            reset(ours)
            await soon(lambda: told)
            await a_while()
            assert told == [1]
            watch.remove(theirs)
        watch.close()

    run(main(), loop)


def test_a_reset_that_has_already_come_is_told(loop):
    async def main():
        watch, told = ResetWatch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs):
            reset(ours)
            watch.add(theirs, lambda: told.append(1))
            await soon(lambda: told)
            watch.remove(theirs)
        watch.close()

    run(main(), loop)


def test_orderly_ends_are_not_told_and_do_not_spin(loop):
    async def main():
        watch, told = ResetWatch(asyncio.get_running_loop()), []
        turns = Turns(watch)
        with tcp_pair() as (ours, theirs):
            watch.add(theirs, lambda: told.append(1))
            ours.shutdown(socket.SHUT_WR)
            await a_while()
            theirs.shutdown(socket.SHUT_WR)  # both directions: a hang-up for ever
            await a_while()
            assert told == []
            assert turns.count <= 4
            watch.remove(theirs)
        watch.close()

    run(main(), loop)


def test_a_reset_after_an_orderly_end_is_told(loop):
    async def main():
        watch, told = ResetWatch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs):
            watch.add(theirs, lambda: told.append(1))
            ours.shutdown(socket.SHUT_WR)
            await a_while()
            reset(ours)
            await soon(lambda: told)
            watch.remove(theirs)
        watch.close()

    run(main(), loop)


def test_what_was_removed_is_not_told_even_if_its_number_is_used_again(loop):
    async def main():
        watch, told = ResetWatch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs):
            watch.add(theirs, lambda: told.append("first"))
            watch.remove(theirs)
            watch.remove(theirs)
            number = theirs.fileno()
            with tcp_pair() as (other, successor):
                theirs.close()
                os.dup2(successor.fileno(), number)
                taken = socket.socket(fileno=number)
                watch.add(taken, lambda: told.append("second"))
                reset(ours)
                await a_while()
                assert told == []
                reset(other)
                await soon(lambda: told)
                watch.remove(taken)
                taken.close()
        assert told == ["second"]
        watch.close()

    run(main(), loop)


def test_what_was_forgotten_and_closed_is_not_told_even_if_its_number_is_used_again(loop):
    async def main():
        watch, told = ResetWatch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs), tcp_pair() as (other, successor):
            number = theirs.fileno()
            watch.add(theirs, lambda: told.append("first"))
            reset(ours)  # and before the loop hears of it …
            watch.forget(theirs)
            theirs.close()
            watch.forget(theirs)
            os.dup2(successor.fileno(), number)
            with socket.socket(fileno=number) as taken:
                watch.add(taken, lambda: told.append("second"))
                await a_while()
                assert told == []
                reset(other)
                await soon(lambda: told)
                await a_while()
                watch.forget(taken)
        assert told == ["second"]
        assert repr(watch) == "<ResetWatch sockets=0>"
        watch.close()

    run(main(), loop)


def test_a_socket_that_changes_hands_is_told_to_its_new_owner(loop):
    async def main():
        watch, told = ResetWatch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs):
            watch.add(theirs, lambda: told.append("first"))
            watch.remove(theirs)
            watch.add(theirs, lambda: told.append("second"))
            reset(ours)
            await soon(lambda: told)
            watch.remove(theirs)
        assert told == ["second"]
        watch.close()

    run(main(), loop)


def test_resets_at_the_same_time_and_one_that_ends_the_other(loop):
    """Both sockets of a connection may be reset at once: the first told closes both."""

    async def main():
        watch, told = ResetWatch(asyncio.get_running_loop()), []
        with tcp_pair() as (first, one), tcp_pair() as (second, two):

            def end(name):
                told.append(name)
                for sock in (one, two):
                    watch.remove(sock)
                    sock.close()

            watch.add(one, lambda: end("one"))
            watch.add(two, lambda: end("two"))
            reset(first)
            reset(second)
            await soon(lambda: told)
            await a_while()
            assert len(told) == 1
        assert repr(watch) == "<ResetWatch sockets=0>"
        watch.close()

    run(main(), loop)


def test_many_at_once_are_all_told(loop):
    async def main():
        watch, told = ResetWatch(asyncio.get_running_loop()), set()
        pairs = []
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        for _ in range(300):
            ours = socket.create_connection(listener.getsockname())
            pairs.append((ours, listener.accept()[0]))
        for number, (_, theirs) in enumerate(pairs):
            watch.add(theirs, lambda number=number: told.add(number))
        for ours, _ in pairs:
            reset(ours)
        await soon(lambda: len(told) == 300)
        for _, theirs in pairs:
            watch.remove(theirs)
            theirs.close()
        listener.close()
        watch.close()

    run(main(), loop)


def test_a_callback_that_fails_costs_the_others_nothing(loop):
    async def main():
        running, told, failures = asyncio.get_running_loop(), [], []
        running.set_exception_handler(lambda _, context: failures.append(context["exception"]))
        watch = ResetWatch(running)

        def told_and_failing():
            told.append(1)
            raise RuntimeError

        with tcp_pair() as (one, watched), tcp_pair() as (other, watched_too):
            watch.add(watched, told_and_failing)
            watch.add(watched_too, told_and_failing)
            reset(one)
            reset(other)
            await soon(lambda: len(told) == 2)
            assert [type(failure) for failure in failures] == [RuntimeError] * 2
            watch.remove(watched)
            watch.remove(watched_too)
        watch.close()

    run(main(), loop)
