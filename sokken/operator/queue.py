"""Which Tunnel is worked on next: each at most once at a time, and later after each failure.

``Schedule`` decides, without a clock or chance of its own; ``work`` runs so many workers on it. Rung by kopf, by the
informers, and by the clock; it does not know what the work is.
"""

import asyncio
import contextlib
import heapq
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from sokken.operator.cluster.cache import Key

FIRST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 300.0


@dataclass(slots=True)
class Entry:
    """What is known of one key. Times are those of the caller's clock; ``due`` None: nothing is to be done."""

    due: float | None = None
    is_worked_on: bool = False
    failures: int = 0
    edition: object = None
    """Which object it is and what it is to be, as last rung with: its uid and generation."""
    has_new_edition: bool = False
    """It has become another while it was worked on."""


def retry_delay(failures: int, uniform: float) -> float:
    """Draw the delay after so many failures in a row, in seconds; ``uniform`` is random in 0..1 (full jitter)."""
    return uniform * min(MOST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 30))


class Schedule:
    """The keys, and when each is due."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._heap: list[tuple[float, Key]] = []
        self.rung: Callable[[], None] = lambda: None
        """Called when something may be due sooner than before."""

    def __repr__(self) -> str:
        return f"<Schedule {len(self._entries)} working={self.working}>"

    def depth(self, now: float) -> int:
        """How many are due, and wait for a worker."""
        due = (entry.due for entry in self._entries.values() if not entry.is_worked_on)
        return sum(moment is not None and moment <= now for moment in due)

    @property
    def working(self) -> int:
        """How many are being worked on."""
        return sum(entry.is_worked_on for entry in self._entries.values())

    def ring(self, key: Key, now: float, delay: float = 0.0, edition: object = None) -> None:
        """There may be something to do, in ``delay`` seconds.

        After a failure only another edition of the object brings the next attempt forward: the failure itself may
        have been what rang.
        """
        entry = self._entries.setdefault(key, Entry())
        due = now + delay
        if edition is not None and edition != entry.edition:
            entry.edition, entry.failures, entry.has_new_edition = edition, 0, entry.is_worked_on
            self._plan(key, entry, due)
        elif (entry.is_worked_on or not entry.failures) and (entry.due is None or due < entry.due):
            self._plan(key, entry, due)

    def take(self, now: float) -> Key | None:
        """The key that has been due for longest, which is then worked on; None if there is none."""
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            entry = self._entries.get(key)
            if entry is None or entry.is_worked_on or entry.due != due:
                continue  # it was planned anew since
            entry.due, entry.is_worked_on, entry.has_new_edition = None, True, False
            return key
        return None

    def next_due(self) -> float | None:
        """When ``take`` may find the next one."""
        return self._heap[0][0] if self._heap else None

    def succeed(self, key: Key, now: float, again_in: float | None = None) -> None:
        """The work on it is done; it is to be looked at again after so many seconds, if any."""
        entry = self._entries[key]
        entry.is_worked_on, entry.failures = False, 0
        if again_in is not None:
            due = now + again_in
            entry.due = due if entry.due is None else min(due, entry.due)
        self._settle(key, entry)

    def fail(self, key: Key, now: float, uniform: float, at_least: float = 0.0) -> float:
        """The work on it has failed; after how many seconds it is tried again, ``at_least`` so many."""
        entry = self._entries[key]
        entry.is_worked_on = False
        entry.failures += 1
        delay = 0.0 if entry.has_new_edition else max(at_least, retry_delay(entry.failures, uniform))
        self._plan(key, entry, now + delay)
        return delay

    def forget(self, key: Key) -> None:
        """There is no such object any more, unless it was rung for since."""
        entry = self._entries[key]
        entry.is_worked_on, entry.failures, entry.edition = False, 0, None
        self._settle(key, entry)

    def _settle(self, key: Key, entry: Entry) -> None:
        """What was rung for while it was worked on is due."""
        if entry.due is not None:
            self._plan(key, entry, entry.due)
        elif entry.edition is None:
            del self._entries[key]

    def _plan(self, key: Key, entry: Entry, due: float) -> None:
        entry.due = due
        if not entry.is_worked_on:
            heapq.heappush(self._heap, (due, key))
            self.rung()


class Workers:
    """So many workers on a schedule."""

    def __init__(self, schedule: Schedule, count: int, do: Callable[[Key], Awaitable[None]]) -> None:
        """``do`` works on a key, and tells the schedule how that went; an exception of it ends all of them."""
        self._schedule = schedule
        self._count = count
        self._do = do
        self._woken = asyncio.Event()
        self._is_closing = False
        schedule.rung = self._woken.set

    async def run(self) -> None:
        """Work until ``close``."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._count):
                tasks.create_task(self._work())

    def close(self) -> None:
        """Begin nothing more: ``run`` ends with what has been begun."""
        self._is_closing = True
        self._woken.set()

    async def _work(self) -> None:
        while not self._is_closing:
            key = self._schedule.take(time.monotonic())
            if key is None:
                await self._wait()
            else:
                await self._do(key)

    async def _wait(self) -> None:
        """Until somebody rings, or the next one is due."""
        self._woken.clear()
        due = self._schedule.next_due()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if due is None else max(0.0, due - time.monotonic())):
                await self._woken.wait()
