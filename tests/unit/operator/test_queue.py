import asyncio
import time
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sokken.operator.queue import Schedule, Workers, retry_delay
from tests.support.loops import run, soon

A, B = ("team", "a"), ("team", "b")


def test_each_is_taken_once_however_often_it_was_rung_for():
    schedule = Schedule()
    for _ in range(3):
        schedule.ring(A, 1.0)
    assert schedule.depth(1.0) == 1
    assert schedule.take(1.0) == A
    assert schedule.take(1.0) is None
    assert (schedule.depth(1.0), schedule.working) == (0, 1)


def test_those_who_wait_longest_come_first():
    schedule = Schedule()
    schedule.ring(B, 2.0)
    schedule.ring(A, 1.0)
    assert [schedule.take(3.0), schedule.take(3.0)] == [A, B]


def test_one_that_is_worked_on_is_taken_again_only_afterwards():
    schedule = Schedule()
    schedule.ring(A, 1.0)
    schedule.take(1.0)
    schedule.ring(A, 2.0)
    assert schedule.take(2.0) is None
    schedule.succeed(A, 3.0)
    assert schedule.take(3.0) == A
    schedule.succeed(A, 4.0)
    assert schedule.take(1e9) is None


def test_the_sooner_of_two_rings_counts():
    schedule = Schedule()
    schedule.ring(A, 1.0, delay=10)
    schedule.ring(A, 1.0, delay=5)
    schedule.ring(A, 1.0, delay=20)
    assert schedule.next_due() == 6.0
    assert (schedule.take(5.9), schedule.take(6.0), schedule.take(1e9)) == (None, A, None)


def test_who_succeeds_may_want_to_come_again():
    schedule = Schedule()
    schedule.ring(A, 1.0)
    schedule.take(1.0)
    schedule.succeed(A, 2.0, again_in=30)
    assert (schedule.take(31.9), schedule.take(32.0)) == (None, A)
    schedule.ring(A, 33.0)
    schedule.succeed(A, 33.0, again_in=30)
    assert schedule.take(33.0) == A


def test_failures_wait_longer_and_longer_and_no_bell_of_their_own_doing_brings_them_forward():
    schedule, now = Schedule(), 0.0
    schedule.ring(A, now, edition=1)
    for expected in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]:
        assert schedule.take(now) == A
        assert schedule.fail(A, now, uniform=1.0) == expected
        schedule.ring(A, now)
        schedule.ring(A, now, edition=1)
        now += expected
        assert schedule.take(now - 0.1) is None
    assert schedule.take(now) == A
    schedule.succeed(A, now)
    schedule.ring(A, now)
    assert schedule.take(now) == A
    assert schedule.fail(A, now, uniform=1.0) == 1


def test_a_bell_while_a_retry_is_under_way_is_heard():
    schedule = Schedule()
    schedule.ring(A, 0.0)
    schedule.take(0.0)
    schedule.fail(A, 0.0, uniform=1.0)
    schedule.take(1.0)
    schedule.ring(A, 1.5)
    schedule.succeed(A, 2.0)
    assert schedule.take(2.0) == A


def test_another_edition_is_tried_at_once():
    schedule = Schedule()
    schedule.ring(A, 0.0, edition=("uid", 1))
    schedule.take(0.0)
    schedule.fail(A, 0.0, uniform=1.0, at_least=300)
    schedule.ring(A, 1.0, edition=("uid", 2))
    assert schedule.take(1.0) == A
    assert schedule.fail(A, 1.0, uniform=1.0) == 1


def test_also_one_that_came_while_the_one_before_was_failing():
    schedule = Schedule()
    schedule.ring(A, 0.0, edition=1)
    schedule.take(0.0)
    schedule.ring(A, 0.5, edition=2)
    assert schedule.fail(A, 1.0, uniform=1.0, at_least=300) == 0
    assert schedule.take(1.0) == A
    assert schedule.fail(A, 1.0, uniform=1.0, at_least=300) == 300


def test_who_was_told_to_wait_waits():
    schedule = Schedule()
    schedule.ring(A, 0.0)
    schedule.take(0.0)
    assert schedule.fail(A, 0.0, uniform=0.0, at_least=7) == 7
    assert (schedule.take(6.9), schedule.take(7.0)) == (None, A)


def test_what_is_gone_is_forgotten_unless_it_came_back():
    schedule = Schedule()
    schedule.ring(A, 0.0, edition=1)
    schedule.take(0.0)
    schedule.ring(A, 0.0, edition=2)
    schedule.forget(A)
    assert schedule.take(0.0) == A
    schedule.forget(A)
    assert schedule._entries == {}
    assert schedule.take(1e9) is None


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_the_delay_has_its_bounds(failures, uniform):
    assert 0 <= retry_delay(failures, uniform) <= 300


moves = st.lists(
    st.tuples(st.sampled_from(["ring", "take", "succeed", "fail", "forget", "later"]), st.sampled_from([A, B])),
    max_size=40,
)


@given(moves)
@example([(move, A) for move in ("ring", "take", "fail", "later", "take", "ring", "succeed")])
def test_nothing_that_was_rung_for_is_lost_and_nothing_is_taken_twice(story):
    schedule, now = Schedule(), 0.0
    wanted, working = set(), set()
    for move, key in story:
        if move == "ring":
            schedule.ring(key, now)
            wanted.add(key)
        elif move == "later":
            now += 1000
        elif move == "take":
            taken = schedule.take(now)
            if taken:
                assert taken not in working
                working.add(taken)
                wanted.discard(taken)
        elif key in working:
            working.discard(key)
            if move == "fail":
                schedule.fail(key, now, 0.5)
                wanted.add(key)
            elif move == "succeed":
                schedule.succeed(key, now)
            else:
                schedule.forget(key)
    for key in working:
        schedule.succeed(key, now)
    found = set()
    while key := schedule.take(now + 1000):
        found.add(key)
    assert found == wanted


async def ended(task):
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_workers_share_the_keys_and_never_one():
    async def main():
        schedule, done, at_once = Schedule(), [], []

        async def do(key):
            assert schedule.working <= 3
            at_once.append(schedule.working)
            await asyncio.sleep(0.01)
            done.append(key)
            schedule.succeed(key, time.monotonic())

        workers = Workers(schedule, 3, do)
        task = asyncio.ensure_future(workers.run())
        for number in range(20):
            schedule.ring(("team", str(number)), time.monotonic())
        await soon(lambda: len(done) == 20)
        assert len(set(done)) == 20
        assert max(at_once) == 3
        schedule.ring(A, time.monotonic(), delay=0.05)
        await soon(lambda: len(done) == 21)
        await ended(task)

    run(main())


def test_at_the_end_what_was_begun_is_finished_and_nothing_else_is_begun():
    async def main():
        schedule, done, may_go_on = Schedule(), [], asyncio.Event()

        async def do(key):
            await may_go_on.wait()
            done.append(key)
            schedule.succeed(key, time.monotonic())

        workers = Workers(schedule, 2, do)
        task = asyncio.ensure_future(workers.run())
        for number in range(9):
            schedule.ring(("team", str(number)), time.monotonic())
        await soon(lambda: schedule.working == 2)
        workers.close()
        may_go_on.set()
        await task
        assert len(done) == 2

    run(main())


def test_idle_workers_end_at_once():
    async def main():
        workers = Workers(Schedule(), 8, None)
        task = asyncio.ensure_future(workers.run())
        await asyncio.sleep(0)
        workers.close()
        await task

    run(main())


def test_a_fault_in_the_work_ends_it_all():
    async def main():
        schedule = Schedule()

        async def do(_key):
            raise RuntimeError("a fault")

        schedule.ring(A, 0.0)
        with pytest.raises(ExceptionGroup):
            await Workers(schedule, 2, do).run()

    run(main())
