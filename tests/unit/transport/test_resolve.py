import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from sokken.transport.resolve import MAX_NAMES, Resolver, look_up, read_literal
from tests.support.loops import LOOPS, run, soon
from tests.support.targets import PATIENCE

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def found(host: str, port: int):
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]


class Names:
    """A resolver of the system's as tests want it: it answers a name when it is let."""

    def __init__(self, *, hung: tuple[str, ...] = (), wrong: dict[str, Exception] | None = None) -> None:
        self.asked: Counter[str] = Counter()
        self.gates = {name: threading.Event() for name in hung}
        self.wrong = wrong or {}

    def __call__(self, host, port):
        self.asked[host] += 1
        if host in self.gates:
            assert self.gates[host].wait(PATIENCE)
        if host in self.wrong:
            raise self.wrong[host]
        return found("192.0.2.1", port)

    def release(self) -> None:
        for gate in self.gates.values():
            gate.set()


def test_an_ip_address_is_not_looked_up(loop):
    def refuse(host, port):
        raise AssertionError("asked")

    async def main():
        resolver = Resolver(asyncio.get_running_loop(), refuse)
        assert [f[4] for f in await resolver.resolve("127.0.0.1", 22)] == [("127.0.0.1", 22)]
        assert [f[4] for f in await resolver.resolve("::1", 22)] == [("::1", 22, 0, 0)]
        assert (await resolver.resolve("fe80::1%lo", 22))[0][4][3] == socket.if_nametoindex("lo")

    run(main(), loop)


def test_only_ip_addresses_are_literals(loop):
    assert read_literal("127.0.0.1", 1)
    for name in ("localhost", "a" * 300, "a..b", "é.test", "256.0.0.1.", ""):
        assert read_literal(name, 1) == () or not name


def test_names_are_asked_of_the_system(loop):
    async def main():
        answers = await Resolver(asyncio.get_running_loop()).resolve("localhost", 22)
        assert {answer[4][1] for answer in answers} == {22}
        assert list(answers) == list(look_up("localhost", 22))
        with pytest.raises(socket.gaierror):
            await Resolver(asyncio.get_running_loop()).resolve("nowhere.invalid", 22)

    run(main(), loop)


def test_look_ups_in_flight_are_shared_and_answers_are_not_kept(loop):
    async def main():
        names = Names(hung=("a.test",))
        resolver = Resolver(asyncio.get_running_loop(), names)
        async with asyncio.TaskGroup() as tasks:
            asking = [tasks.create_task(resolver.resolve("a.test", 22)) for _ in range(50)]
            await soon(lambda: names.asked["a.test"])
            asking += [tasks.create_task(resolver.resolve("a.test", 22)) for _ in range(50)]
            other = tasks.create_task(resolver.resolve("a.test", 23))
            await soon(lambda: names.asked["a.test"] == 2)
            assert repr(resolver) == "<Resolver in_flight=2>"
            names.release()
        assert all(task.result() == found("192.0.2.1", 22) for task in asking)
        assert other.result() == found("192.0.2.1", 23)
        assert names.asked["a.test"] == 2
        await resolver.resolve("a.test", 22)
        assert names.asked["a.test"] == 3
        assert repr(resolver) == "<Resolver in_flight=0>"

    run(main(), loop)


def test_everybody_who_asked_is_told_that_a_name_does_not_resolve(loop):
    async def main():
        wrong = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        names = Names(hung=("a.test",), wrong={"a.test": wrong})
        resolver = Resolver(asyncio.get_running_loop(), names)
        asking = [asyncio.ensure_future(resolver.resolve("a.test", 22)) for _ in range(5)]
        await soon(lambda: names.asked["a.test"])
        names.release()
        assert await asyncio.gather(*asking, return_exceptions=True) == [wrong] * 5
        del names.wrong["a.test"]
        assert await resolver.resolve("a.test", 22) == found("192.0.2.1", 22)

    run(main(), loop)


def test_only_so_many_names_are_looked_up_at_once(loop):
    async def main():
        hung = [f"a{number}.test" for number in range(MAX_NAMES)]
        names = Names(hung=hung)
        resolver = Resolver(asyncio.get_running_loop(), names)
        asking = [asyncio.ensure_future(resolver.resolve(name, 22)) for name in hung]
        await soon(lambda: len(names.asked) == MAX_NAMES)
        with pytest.raises(OSError, match="too many names are being looked up"):
            await resolver.resolve("b.test", 22)
        shared = asyncio.ensure_future(resolver.resolve(hung[0], 22))
        names.release()
        await asyncio.gather(*asking, shared)
        assert await resolver.resolve("b.test", 22)

    run(main(), loop)


def test_what_is_no_name_at_all_is_an_error_like_others(loop):
    async def main():
        with pytest.raises(OSError, match="label"):
            await Resolver(asyncio.get_running_loop()).resolve("a" * 64 + ".test", 22)

    run(main(), loop)


def test_an_unexpected_error_reaches_who_asked(loop):
    async def main():
        resolver = Resolver(asyncio.get_running_loop(), Names(wrong={"a.test": RuntimeError("a bug")}))
        with pytest.raises(RuntimeError, match="a bug"):
            await resolver.resolve("a.test", 22)
        assert repr(resolver) == "<Resolver in_flight=0>"

    run(main(), loop)


def test_a_name_that_hangs_keeps_no_other_waiting(loop):
    async def main():
        hung = tuple(f"hung{number}.test" for number in range(40))
        names = Names(hung=hung)
        resolver = Resolver(asyncio.get_running_loop(), names)
        asking = [asyncio.ensure_future(resolver.resolve(name, 22)) for name in hung]
        started = time.monotonic()
        assert await resolver.resolve("a.test", 22) == found("192.0.2.1", 22)
        assert time.monotonic() - started < 2
        assert not any(task.done() for task in asking)
        names.release()
        await asyncio.gather(*asking)

    run(main(), loop)


def test_who_gives_up_takes_the_answer_from_nobody(loop):
    async def main():
        names = Names(hung=("a.test",))
        resolver = Resolver(asyncio.get_running_loop(), names)
        first, second = (asyncio.ensure_future(resolver.resolve("a.test", 22)) for _ in range(2))
        await soon(lambda: names.asked["a.test"])
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        third = asyncio.ensure_future(resolver.resolve("a.test", 22))
        await asyncio.sleep(0)
        names.release()
        assert await second == await third == found("192.0.2.1", 22)
        assert names.asked["a.test"] == 1

    run(main(), loop)


@pytest.mark.parametrize("wrong", [{}, {"a.test": socket.gaierror("no")}, {"a.test": RuntimeError("a bug")}])
def test_an_answer_that_nobody_waits_for_is_forgotten(loop, wrong):
    async def main():
        names = Names(hung=("a.test",), wrong=wrong)
        resolver = Resolver(asyncio.get_running_loop(), names)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await resolver.resolve("a.test", 22)
        names.release()
        await soon(lambda: repr(resolver) == "<Resolver in_flight=0>")

    run(main(), loop)


def test_an_answer_after_the_loop_has_ended_is_dropped(loop):
    names, before = Names(hung=("a.test",)), set(threading.enumerate())

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await Resolver(asyncio.get_running_loop(), names).resolve("a.test", 22)

    run(main(), loop)
    thread = next(thread for thread in threading.enumerate() if thread not in before and "a.test" in thread.name)
    names.release()
    thread.join(PATIENCE)  # an exception in a thread would fail the test
    assert not thread.is_alive()


def test_a_hung_look_up_does_not_delay_the_exit(loop):
    program = """
import asyncio, sys, time, uvloop
from sokken.transport.resolve import Resolver

async def main():
    resolver = Resolver(asyncio.get_running_loop(), lambda host, port: time.sleep(60))
    try:
        async with asyncio.timeout(0.05):
            await resolver.resolve("hung.test", 22)
    except TimeoutError:
        print("gave up")

factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[sys.argv[1]]
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program, loop], check=True, capture_output=True, timeout=PATIENCE)
    assert (done.stdout, done.stderr) == (b"gave up\n", b"")
    assert time.monotonic() - started < 10
