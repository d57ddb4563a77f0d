"""Log lines that can wait for a moment: they are finished many at a time.

Called by logs.py for every line. A line that is made between two connections costs four times as much as one that
is made behind another: the connections push its code and data out of the processor's caches, and the other way
round (docs/performance.md). So what is only told waits until there are many, or for BATCH_SECONDS; what warns is
written at once, behind all that came before. Nothing here decides what a line holds.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

BATCH_SECONDS: Final = 0.05
BATCH_LINES: Final = 256

Told = tuple[Any, str, dict[str, Any], float]
"""A line: whose it is, its level, its fields, and when it was told (seconds since the epoch)."""
Finish = Callable[[Sequence[Told]], None]
"""Makes and writes lines."""

_CAN_WAIT: Final = frozenset({"debug", "info"})


class LineQueue:
    """Keeps lines in their order, from any thread; only those of its loop's thread wait."""

    def __init__(self, finish: Finish) -> None:
        self._finish = finish
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._lines: list[Told] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_flushing = False
        # Reentrant: to finish a line may run a finalizer, which may log.
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"<LineQueue lines={len(self._lines)}>"

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let lines of this thread wait while ``loop`` runs in it."""
        self._loop, self._thread = loop, threading.get_ident()

    def detach(self) -> None:
        """Write what waits, and let nothing wait any more."""
        self._loop = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

    def put(self, output: object, level: str, line: dict[str, Any]) -> None:
        """Take a line, to be finished now or within BATCH_SECONDS."""
        with self._lock:
            self._lines.append((output, level, line, time.time()))
            loop = self._loop
            if (
                loop is None
                or level not in _CAN_WAIT
                or self._thread != threading.get_ident()
                or len(self._lines) >= BATCH_LINES
            ):
                self.flush()
            elif self._timer is None:
                self._timer = loop.call_later(BATCH_SECONDS, self._on_timer)

    def flush(self) -> None:
        """Finish all that wait."""
        with self._lock:
            if self._is_flushing:
                return  # a line that was told while another is finished: its turn comes
            self._is_flushing = True
            try:
                while self._lines:
                    lines, self._lines = self._lines, []
                    self._finish(lines)
            finally:
                self._is_flushing = False

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()
