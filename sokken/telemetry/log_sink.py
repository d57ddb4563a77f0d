"""Where log lines go: a sink writes whole lines and never lets its caller feel that it cannot.

Used by logs.py (standard error) and log_file.py (a rotating file). A line that cannot be written is dropped and
counted; it is not kept, because memory is for tunnels. A sink must not raise and must not wait for long.
"""

import os
import select
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

COMPLAINT_INTERVAL_SECONDS = 60.0
PATIENCE_SECONDS = 0.1  # for a reader of standard error that has fallen behind, once until it reads again
STDERR = 2
PIPE_BUF = select.PIPE_BUF  # a pipe that is writable takes this much without blocking (pipe(7))


class LineFormat(Protocol):
    """Makes a line of the sink's own, so that what it says looks like all else in the log."""

    def __call__(self, level: str, event: str, **fields: object) -> bytes:
        """Return the encoded line, with its line feed."""
        ...


class Sink(ABC):
    """Writes lines one at a time from any thread; drops, counts and complains where that fails."""

    def __init__(self, format_line: LineFormat, clock: Callable[[], float] = time.time) -> None:
        self._format_line = format_line
        self._clock = clock
        # Reentrant: a finalizer that runs in the middle of a write may log (a ResourceWarning does).
        self._lock = threading.RLock()
        self._dropped = 0
        self._complained_at: float | None = None

    @abstractmethod
    def _put(self, line: bytes) -> None:
        """Write the line whole, or leave no part of it and raise OSError."""

    def write(self, line: bytes) -> None:
        """Write one line, or drop it; once writing works again, say how many were dropped."""
        with self._lock:
            try:
                if self._dropped:
                    self._put(self._format_line("warning", "log_lines_dropped", lines=self._dropped))
                    self._dropped = 0
                self._put(line)
            except OSError as error:
                self._dropped += 1
                self._complain("log_write_failed", error, dropped=self._dropped)

    def reopen(self) -> None:
        """Take up the sink anew (SIGHUP); nothing to do unless it has a name in a file system."""

    def _complain(self, event: str, error: OSError, **fields: object) -> None:
        """Tell standard error, at most once a minute, whatever the wall clock does meanwhile."""
        now = self._clock()
        if self._complained_at is not None and abs(now - self._complained_at) < COMPLAINT_INTERVAL_SECONDS:
            return
        self._complained_at = now
        with suppress(OSError):
            write_stderr(self._format_line("error", event, error=error, **fields), patience_seconds=0)


class StandardErrorSink(Sink):
    """Standard error, which may be closed, full, or read by nobody."""

    def _put(self, line: bytes) -> None:
        write_stderr(line, patience_seconds=0 if self._dropped else PATIENCE_SECONDS)

    def _complain(self, event: str, error: OSError, **fields: object) -> None:
        """Say nothing: there is nowhere left to say it."""


def write_stderr(line: bytes, patience_seconds: float) -> None:
    """Write the line to standard error; raises OSError where that would block for longer than the patience."""
    while line:
        if not select.select([], [STDERR], [], patience_seconds)[1]:
            raise BlockingIOError("standard error is not being read")
        line = line[os.write(STDERR, line[:PIPE_BUF]) :]
