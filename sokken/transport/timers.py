"""One coarse clock and one timer wheel for all connections of a loop.

A timer per connection would cost a heap operation for every change; here it is a set operation, and the clock is
an attribute that the relay may read for every chunk. Resolution is one tick (a second); due times are rounded up.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Final, Protocol

TICK_SECONDS: Final = 1.0


class Timed(Protocol):
    """Something that wants to be woken; ``due`` belongs to the wheel."""

    due: int

    def on_timer(self, now: float) -> None:
        """Called once ``now`` (seconds, monotonic) has reached the time asked for."""


class Wheel:
    """Wakes its entries; ticks only while it has any. ``clock`` gives monotonic seconds."""

    __slots__ = ("_buckets", "_clock", "_handle", "_loop", "_next", "now")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] | None = None) -> None:
        self._loop = loop
        self._clock = clock or loop.time
        self._buckets: dict[int, set[Timed]] = {}
        self._handle: asyncio.TimerHandle | None = None
        self.now = self._clock()
        self._next = math.floor(self.now / TICK_SECONDS)

    def __repr__(self) -> str:
        return f"<Wheel now={self.now:.0f} entries={sum(map(len, self._buckets.values()))}>"

    def wake(self, entry: Timed, at: float) -> None:
        """Wake ``entry`` at ``at``, and no longer at the time asked for before."""
        self.forget(entry)
        if self._handle is None:
            self.now = self._clock()
            self._next = math.floor(self.now / TICK_SECONDS)
            self._handle = self._loop.call_later(TICK_SECONDS, self._tick)
        entry.due = max(math.ceil(at / TICK_SECONDS), self._next + 1)
        self._buckets.setdefault(entry.due, set()).add(entry)

    def forget(self, entry: Timed) -> None:
        """Do not wake ``entry`` any more."""
        bucket = self._buckets.get(entry.due)
        if bucket is not None:
            bucket.discard(entry)
            if not bucket:
                del self._buckets[entry.due]
        entry.due = 0

    def refresh(self) -> float:
        """Set ``now`` to the clock, for a caller that needs it exact after the wheel stood still."""
        self.now = self._clock()
        return self.now

    def advance(self) -> None:
        """Wake everything that is due at the clock's time."""
        self.now = self._clock()
        last = math.floor(self.now / TICK_SECONDS)
        due = sorted(tick for tick in self._buckets if tick <= last)
        self._next = max(self._next, last)
        for tick in due:
            for entry in self._buckets.pop(tick, ()):
                if entry.due == tick:  # else another entry's turn has changed that
                    entry.due = 0
                    self._wake(entry)

    def _wake(self, entry: Timed) -> None:
        try:
            entry.on_timer(self.now)
        except Exception as error:  # noqa: BLE001 -- one entry's fault must not cost the others their turn
            context = {"message": "a timer failed", "exception": error, "entry": repr(entry)}
            self._loop.call_exception_handler(context)

    def _tick(self) -> None:
        self._handle = None
        try:
            self.advance()
        finally:
            if self._buckets and self._handle is None:
                self._handle = self._loop.call_later(TICK_SECONDS, self._tick)
