import asyncio

import pytest

from sokken.transport.eager import become_task, start
from tests.support.loops import LOOPS, run

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def test_what_need_not_wait_is_done_at_once(loop):
    async def main():
        done = []

        async def work() -> None:
            done.append(asyncio.current_task() is whole)

        whole = asyncio.current_task()
        async with asyncio.TaskGroup() as tasks:
            start(tasks, work())
            assert done == [True]  # it ran within its caller

    run(main(), loop)


def test_what_must_wait_is_a_task_of_the_group_from_there_on(loop):
    async def main():
        told, gate = [], asyncio.Event()

        async def work() -> None:
            told.append("begun")
            await become_task()
            async with asyncio.timeout(5):  # needs a task of its own
                await gate.wait()
            told.append("done")

        async with asyncio.TaskGroup() as tasks:
            start(tasks, work())
            assert told == ["begun"]
            gate.set()
        assert told == ["begun", "done"]

    run(main(), loop)


def test_an_error_before_the_first_wait_is_the_callers(loop):
    async def main():
        async def work() -> None:
            raise ValueError("at once")

        async with asyncio.TaskGroup() as tasks:
            with pytest.raises(ValueError, match="at once"):
                start(tasks, work())

    run(main(), loop)


def test_who_waits_without_becoming_a_task_is_told(loop):
    async def main():
        async def work() -> None:
            await asyncio.get_running_loop().create_future()

        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as tasks:
                start(tasks, work())
        assert caught.group_contains(RuntimeError)

    run(main(), loop)
