"""Coroutines that most often need not wait: they are run at once, and are a task only from their first wait on.

A task costs an object and a turn of the event loop before it does anything. Python has eager tasks from 3.12 on
(asyncio.eager_task_factory), for all of a loop or for none; this is for one coroutine, on every Python.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any


def start(tasks: asyncio.TaskGroup, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
    """Run it up to its end, or up to ``become_task``: what is left is one of ``tasks``, and is returned.

    It must not wait for anything before that (asyncio then raises RuntimeError in it), and has no current task.
    """
    try:
        coroutine.send(None)
    except StopIteration:
        return None
    return tasks.create_task(coroutine)


async def become_task() -> None:
    """From here on it may wait. In what is a task already, this is a turn of the loop."""
    await asyncio.sleep(0)
