import asyncio
import os
import socket

import pytest

from sokken.transport.watch import Watch
from tests.support.loops import LOOPS, run, soon, tcp_pair
from tests.support.targets import reset

pytestmark = pytest.mark.parametrize("loop", LOOPS)


class Turns:
    """Counts how often the watch was woken."""

    def __init__(self, watch: Watch) -> None:
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
        watch, told = Watch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs):
            watch.errors(theirs, lambda: told.append(1))
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
        watch, told = Watch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs):
            reset(ours)
            watch.errors(theirs, lambda: told.append(1))
            await soon(lambda: told)
            watch.remove(theirs)
        watch.close()

    run(main(), loop)


def test_orderly_ends_are_not_told_and_do_not_spin(loop):
    async def main():
        watch, told = Watch(asyncio.get_running_loop()), []
        turns = Turns(watch)
        with tcp_pair() as (ours, theirs):
            watch.errors(theirs, lambda: told.append(1))
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
        watch, told = Watch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs):
            watch.errors(theirs, lambda: told.append(1))
            ours.shutdown(socket.SHUT_WR)
            await a_while()
            reset(ours)
            await soon(lambda: told)
            watch.remove(theirs)
        watch.close()

    run(main(), loop)


def test_what_was_removed_is_not_told_even_if_its_number_is_used_again(loop):
    async def main():
        watch, told = Watch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs):
            watch.errors(theirs, lambda: told.append("first"))
            watch.remove(theirs)
            watch.remove(theirs)
            number = theirs.fileno()
            with tcp_pair() as (other, successor):
                theirs.close()
                os.dup2(successor.fileno(), number)
                taken = socket.socket(fileno=number)
                watch.errors(taken, lambda: told.append("second"))
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
        watch, told = Watch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs), tcp_pair() as (other, successor):
            number = theirs.fileno()
            watch.errors(theirs, lambda: told.append("first"))
            reset(ours)  # and before the loop hears of it …
            watch.forget(theirs)
            theirs.close()
            watch.forget(theirs)
            os.dup2(successor.fileno(), number)
            with socket.socket(fileno=number) as taken:
                watch.errors(taken, lambda: told.append("second"))
                await a_while()
                assert told == []
                reset(other)
                await soon(lambda: told)
                await a_while()
                watch.forget(taken)
        assert told == ["second"]
        assert repr(watch) == "<Watch sockets=0>"
        watch.close()

    run(main(), loop)


def test_a_socket_that_changes_hands_is_told_to_its_new_owner(loop):
    async def main():
        watch, told = Watch(asyncio.get_running_loop()), []
        with tcp_pair() as (ours, theirs):
            watch.errors(theirs, lambda: told.append("first"))
            watch.remove(theirs)
            watch.errors(theirs, lambda: told.append("second"))
            reset(ours)
            await soon(lambda: told)
            watch.remove(theirs)
        assert told == ["second"]
        watch.close()

    run(main(), loop)


def test_resets_at_the_same_time_and_one_that_ends_the_other(loop):
    """Both sockets of a connection may be reset at once: the first told closes both."""

    async def main():
        watch, told = Watch(asyncio.get_running_loop()), []
        with tcp_pair() as (first, one), tcp_pair() as (second, two):

            def end(name):
                told.append(name)
                for sock in (one, two):
                    watch.remove(sock)
                    sock.close()

            watch.errors(one, lambda: end("one"))
            watch.errors(two, lambda: end("two"))
            reset(first)
            reset(second)
            await soon(lambda: told)
            await a_while()
            assert len(told) == 1
        assert repr(watch) == "<Watch sockets=0>"
        watch.close()

    run(main(), loop)


def test_many_at_once_are_all_told(loop):
    async def main():
        watch, told = Watch(asyncio.get_running_loop()), set()
        pairs = []
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        for _ in range(300):
            ours = socket.create_connection(listener.getsockname())
            pairs.append((ours, listener.accept()[0]))
        for number, (_, theirs) in enumerate(pairs):
            watch.errors(theirs, lambda number=number: told.add(number))
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
        watch = Watch(running)

        def told_and_failing():
            told.append(1)
            raise RuntimeError

        with tcp_pair() as (one, watched), tcp_pair() as (other, watched_too):
            watch.errors(watched, told_and_failing)
            watch.errors(watched_too, told_and_failing)
            reset(one)
            reset(other)
            await soon(lambda: len(told) == 2)
            assert [type(failure) for failure in failures] == [RuntimeError] * 2
            watch.remove(watched)
            watch.remove(watched_too)
        watch.close()

    run(main(), loop)


def test_a_socket_is_read_while_somebody_wants_to(loop):
    async def main():
        watch, told = Watch(asyncio.get_running_loop()), []
        turns = Turns(watch)
        with tcp_pair() as (ours, theirs):
            watch.read(theirs, lambda: told.append(theirs.recv(1)))
            ours.sendall(b"ab")
            await soon(lambda: told == [b"a", b"b"])
            watch.read(theirs, None)
            ours.sendall(b"c")
            before = turns.count
            await a_while()
            assert (told, turns.count) == ([b"a", b"b"], before)
            watch.read(theirs, lambda: told.append(theirs.recv(1)))
            await soon(lambda: told == [b"a", b"b", b"c"])
            watch.remove(theirs)
        watch.close()

    run(main(), loop)


def test_a_socket_is_written_while_somebody_wants_to(loop):
    async def main():
        watch, told = Watch(asyncio.get_running_loop()), []
        with tcp_pair() as (_, theirs):
            watch.read(theirs, lambda: told.append("read"))
            watch.write(theirs, lambda: told.append("written"))
            await soon(lambda: told)
            watch.write(theirs, None)
            count = len(told)
            await a_while()
            assert told == ["written"] * count
            watch.remove(theirs)
        watch.close()

    run(main(), loop)


def test_without_a_callback_for_errors_who_reads_finds_them(loop):
    async def main():
        watch, told = Watch(asyncio.get_running_loop()), []

        def read():
            try:
                theirs.recv(1)
            except OSError as error:
                told.append(type(error))
                watch.remove(theirs)

        with tcp_pair() as (ours, theirs):
            watch.read(theirs, read)
            reset(ours)
            await soon(lambda: told)
        assert told == [ConnectionResetError]
        watch.close()

    run(main(), loop)


def test_an_error_is_told_instead_of_what_can_be_read_and_then_not_again(loop):
    async def main():
        watch, told = Watch(asyncio.get_running_loop()), []

        def on_error():
            told.append("error")
            watch.read(theirs, None)

        with tcp_pair() as (ours, theirs):
            watch.read(theirs, lambda: told.append("read"))
            watch.errors(theirs, on_error)
            reset(ours)
            await soon(lambda: told)
            turns = Turns(watch)
            await a_while()
            assert told == ["error"]
            assert turns.count <= 2
            watch.remove(theirs)
        watch.close()

    run(main(), loop)


def test_who_is_closed_by_another_ones_callback_hears_no_more(loop):
    async def main():
        watch, told = Watch(asyncio.get_running_loop()), []
        with tcp_pair() as (first, one), tcp_pair() as (second, two):

            def end(name):
                told.append(name)
                for sock in (one, two):
                    watch.forget(sock)
                    sock.close()

            watch.read(one, lambda: end("one"))
            watch.read(two, lambda: end("two"))
            first.sendall(b"x")
            second.sendall(b"x")
            await soon(lambda: told)
            await a_while()
            assert len(told) == 1
        watch.close()

    run(main(), loop)


def test_a_socket_that_was_closed_without_a_word_does_not_deafen_who_gets_its_number(loop):
    async def main():
        watch, told = Watch(asyncio.get_running_loop()), []
        with tcp_pair() as (_, theirs), tcp_pair() as (other, successor):
            number = theirs.fileno()
            watch.read(theirs, lambda: told.append("first"))
            theirs.close()
            os.dup2(successor.fileno(), number)
            with socket.socket(fileno=number) as taken:
                watch.read(taken, lambda: told.append(taken.recv(1)))
                other.sendall(b"x")
                await soon(lambda: told)
                watch.forget(taken)
        assert told == [b"x"]
        watch.close()

    run(main(), loop)


@pytest.mark.parametrize("kind", ["readable", "writable"])
def test_a_wait_ends_when_the_socket_is_ready_and_leaves_it_to_the_next(loop, kind):
    async def main():
        watch = Watch(asyncio.get_running_loop())
        with tcp_pair() as (ours, theirs):
            waiting = asyncio.ensure_future(getattr(watch, kind)(theirs))
            if kind == "readable":
                await a_while()
                assert not waiting.done()
                ours.sendall(b"x")
            await waiting
            assert repr(watch) == "<Watch sockets=1>"
            turns = Turns(watch)
            await a_while()  # whoever takes it over takes his time
            assert turns.count <= 2
            told = []
            watch.read(theirs, lambda: told.append(theirs.recv(1)))
            ours.sendall(b"x")
            await soon(lambda: told)
            watch.remove(theirs)
        watch.close()

    run(main(), loop)


def test_a_wait_that_is_cancelled_leaves_nothing_behind(loop):
    async def main():
        watch = Watch(asyncio.get_running_loop())
        with tcp_pair() as (_, theirs):
            waiting = asyncio.ensure_future(watch.readable(theirs))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert repr(watch) == "<Watch sockets=0>"
        watch.close()

    run(main(), loop)


def test_what_is_watched_at_the_end_is_closed(loop):
    async def main():
        watch = Watch(asyncio.get_running_loop())
        with tcp_pair() as (_, theirs):
            watch.read(theirs, lambda: None)
            watch.close()
            assert theirs.fileno() < 0

    run(main(), loop)
