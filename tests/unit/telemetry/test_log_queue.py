"""Lines that wait for company: in order, not for long, and none is lost that somebody has to know of."""

import asyncio
import json
import os
import signal
import threading
import time

import pytest

from sokken.telemetry import logs
from sokken.telemetry.log_queue import BATCH_LINES, BATCH_SECONDS, LineQueue
from tests.support.loops import LOOPS, run, soon

every_loop = pytest.mark.parametrize("loop", LOOPS)
log = logs.get_logger("sokken.test")


class Finished:
    """Takes what a queue has finished."""

    def __init__(self):
        self.events = []
        self.told_at = []
        self.queue = LineQueue(self)

    def __call__(self, lines):
        for _, _, line, told_at in lines:
            self.events.append(line["event"])
            self.told_at.append(told_at)

    def tell(self, event, level="info"):
        self.queue.put("output", level, {"event": event})

    def attach(self):
        self.queue.attach(asyncio.get_running_loop())


@pytest.fixture
def finished():
    return Finished()


def test_without_a_loop_nothing_waits(finished):
    finished.tell(1)
    assert finished.events == [1]


@every_loop
@pytest.mark.parametrize("level", ["debug", "info"])
def test_what_is_only_told_waits_a_moment_and_keeps_its_time(loop, finished, level):
    async def main():
        finished.attach()
        before, began = time.time(), time.monotonic()
        finished.tell(1, level)
        finished.tell(2, level)
        told = time.time()
        assert finished.events == []
        await soon(lambda: finished.events)
        assert BATCH_SECONDS * 0.9 <= time.monotonic() - began < 1
        assert finished.events == [1, 2]
        assert all(before <= at <= told for at in finished.told_at)
        finished.tell(3, level)  # the next ones have their own moment
        assert finished.events == [1, 2]
        await soon(lambda: finished.events == [1, 2, 3])
        finished.queue.detach()

    run(main(), loop)


@every_loop
@pytest.mark.parametrize("level", ["warning", "error", "critical"])
def test_what_warns_is_written_at_once_behind_all_that_came_before(loop, finished, level):
    async def main():
        finished.attach()
        finished.tell(1, "debug")
        finished.tell(2)
        finished.tell(3, level)
        assert finished.events == [1, 2, 3]
        finished.queue.detach()

    run(main(), loop)


@every_loop
def test_many_do_not_wait(loop, finished):
    async def main():
        finished.attach()
        for number in range(BATCH_LINES - 1):
            finished.tell(number)
        assert finished.events == []
        finished.tell(BATCH_LINES - 1)
        assert finished.events == list(range(BATCH_LINES))
        finished.queue.detach()

    run(main(), loop)


@every_loop
def test_what_another_thread_tells_is_written_at_once_behind_all_that_came_before(loop, finished):
    async def main():
        finished.attach()
        finished.tell("of the loop")
        await asyncio.to_thread(finished.tell, "of another")
        assert finished.events == ["of the loop", "of another"]
        finished.queue.detach()

    run(main(), loop)


@every_loop
def test_threads_at_the_same_time_lose_nothing_and_each_keeps_its_order(loop, finished):
    def tell(name):
        for number in range(500):
            finished.tell((name, number))

    async def main():
        finished.attach()
        threads = [threading.Thread(target=tell, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        tell("loop")
        for thread in threads:
            await asyncio.to_thread(thread.join)
        finished.queue.detach()

    run(main(), loop)
    for name in ("a", "b", "loop"):
        assert [number for whose, number in finished.events if whose == name] == list(range(500))


@every_loop
def test_at_the_end_what_waits_is_written_and_nothing_waits_any_more(loop, finished):
    async def main():
        finished.attach()
        finished.tell(1)
        finished.queue.detach()
        assert finished.events == [1]
        finished.tell(2)
        assert finished.events == [1, 2]

    run(main(), loop)


@every_loop
def test_the_next_loop_has_a_timer_of_its_own(loop, finished):
    """That of a loop that has ended never comes."""

    async def main(event):
        finished.attach()
        finished.tell(event)
        assert event not in finished.events
        if event == 2:
            await soon(lambda: 2 in finished.events)
        finished.queue.detach()

    run(main(1), loop)
    run(main(2), loop)
    assert finished.events == [1, 2]


@pytest.mark.parametrize("level", ["info", "warning"])
def test_a_line_that_is_told_while_another_is_finished_comes_last(level):
    """A finalizer may run at any moment, and log."""

    class Telling(Finished):
        def __call__(self, lines):
            if lines[0][2]["event"] == 1:
                self.tell("of a finalizer", level)
            super().__call__(lines)

    finished = Telling()

    async def main():
        finished.attach()
        for event in (1, 2, 3):
            finished.tell(event)
        finished.queue.detach()

    run(main())
    assert finished.events == [1, 2, 3, "of a finalizer"]


def test_it_shows_itself(finished):
    assert repr(finished.queue) == "<LineQueue lines=0>"


# Within a process


@every_loop
def test_lines_before_within_and_after_a_loop_are_in_order(loop, lines):
    async def main():
        with logs.batching(asyncio.get_running_loop()):
            log.info("within")
            assert [line["event"] for line in lines()] == ["before"]
        assert [line["event"] for line in lines()] == ["before", "within"]

    log.info("before")
    run(main(), loop)
    log.info("after")
    assert [line["event"] for line in lines()] == ["before", "within", "after"]


@every_loop
def test_a_loop_that_fails_loses_nothing(loop, lines):
    async def main():
        with logs.batching(asyncio.get_running_loop()):
            log.info("within")
            raise KeyError

    with pytest.raises(KeyError):
        run(main(), loop)
    assert [line["event"] for line in lines()] == ["within"]


@every_loop
def test_what_waits_when_the_log_is_opened_anew_is_written_first(loop, lines, tmp_path):
    """In the file that was moved away, or, where that was noticed before, in its successor."""
    moved = tmp_path / "moved.log"

    async def main():
        with logs.batching(asyncio.get_running_loop()):
            log.info("before")
            (tmp_path / "sokken.log").rename(moved)
            logs.reopen()
            log.info("after")

    run(main(), loop)
    events = [json.loads(line)["event"] for line in moved.read_text().splitlines()]
    assert [*events, *(line["event"] for line in lines())] == ["before", "after"]


@every_loop
def test_who_configures_anew_leaves_what_waits_where_it_was_told(loop, log_to, tmp_path):
    lines = log_to()

    async def main():
        with logs.batching(asyncio.get_running_loop()):
            log.info("before")
            log_to(log_file=tmp_path / "other.log")
            log.info("after")

    run(main(), loop)
    assert [line["event"] for line in lines()] == ["before"]
    assert '"after"' in (tmp_path / "other.log").read_text()


PROGRAM = """
import asyncio, os, signal
from sokken.lifecycle import Signals, run

async def main():
    signals = Signals(asyncio.get_running_loop())
    log.info("one")
    log.info("two")
    {ending}
    return 0

configure(log_file=Path(sys.argv[1]))
try:
    code = run(main, sys.argv[2])
except KeyError:
    code = 7
log.info("after")
sys.exit(code)
"""


@every_loop
@pytest.mark.parametrize(
    ("ending", "code", "events"),
    [
        ("pass", 0, ["one", "two", "after"]),
        ("raise KeyError", 7, ["one", "two", "after"]),
        (
            "for _ in range(2): os.kill(os.getpid(), signal.SIGTERM); await asyncio.sleep(0.2)",
            1,
            ["one", "two", "leaving", "forced_exit"],
        ),
    ],
    ids=["return", "failure", "forced exit"],
)
def test_however_a_program_ends_what_it_told_is_written(run_program, tmp_path, loop, ending, code, events):
    path = tmp_path / "sokken.log"
    done = run_program(PROGRAM.format(ending=ending), path, loop)
    assert (done.code, done.error) == (code, "")
    told = [line.partition('"event":"')[2].partition('"')[0] for line in path.read_text().splitlines()]
    assert told == events


@every_loop
def test_who_is_killed_loses_only_the_last_moment(start_program, tmp_path, loop):
    path = tmp_path / "sokken.log"
    ending = "await asyncio.sleep(0.5); print(flush=True); await asyncio.sleep(60)"
    program = start_program(PROGRAM.format(ending=ending), path, loop)
    program.stdout.readline()
    os.kill(program.pid, signal.SIGKILL)
    program.wait()
    assert [f'"{event}"' in path.read_text() for event in ("one", "two")] == [True, True]
