"""Where log lines go: a sink writes whole lines, and never lets its caller feel that it cannot.

Used by logs.py (standard error) and log_file.py (a rotating file). A line that cannot be written is dropped and
counted, not kept: memory is for tunnels. A sink must not raise, and must not wait for long.
"""

import fcntl
import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Protocol

COMPLAINT_INTERVAL_SECONDS = 60.0
PATIENCE_SECONDS = 0.1  # for a reader of standard error that has fallen behind; none until it reads again
STANDARD_ERROR = 2
PIPE_BYTES = 1 << 20


class LineFormat(Protocol):
    """Makes a line of the sink's own, so that what it says looks like all else in the log."""

    def __call__(self, level: str, event: str, **fields: object) -> bytes:
        """Return the encoded line, with its line feed."""
        ...


class Sink:
    """Writes lines whole, from any thread; drops, counts and complains where that fails."""

    _most = 1
    """Lines go together that have so many bytes at most."""

    def __init__(self, format_line: LineFormat, clock: Callable[[], float] = time.time) -> None:
        self._format_line = format_line
        self._clock = clock
        # Reentrant: a finalizer that runs in the middle of a write may log (a ResourceWarning does).
        self._lock = threading.RLock()
        self._dropped = 0
        self._complained_at: float | None = None

    def write(self, *lines: bytes) -> None:
        """Write the lines, or drop them; once writing works again, say how many were dropped."""
        self.write_all(lines)

    def write_all(self, lines: Iterable[bytes]) -> None:
        """The same for lines that are made meanwhile: who reads them should not have to take all at once."""
        with self._lock:
            for some in self._group(lines):
                try:
                    if self._dropped:
                        self._put(self._format_line("warning", "log_lines_dropped", lines=self._dropped))
                        self._dropped = 0
                    self._put(b"".join(some))
                except OSError as error:
                    self._dropped += len(some)
                    self._complain("log_write_failed", error)

    def reopen(self) -> None:
        """Take up the sink anew (SIGHUP): nothing to do for one without a name."""

    def close(self) -> None:
        """Let go of what the sink holds: nothing, where the process owns it."""

    def _group(self, lines: Iterable[bytes]) -> Iterator[list[bytes]]:
        """Lines that can be written with one call of the system."""
        some: list[bytes] = []
        size = 0
        for line in lines:
            if some and size + len(line) > self._most:
                yield some
                some, size = [], 0
            some.append(line)
            size += len(line)
        if some:
            yield some

    def _put(self, line: bytes) -> None:
        """Write the line (or several) whole, or raise OSError."""
        raise NotImplementedError

    def _complain(self, event: str, error: OSError) -> None:
        """Tell standard error, at most once a minute, whatever the wall clock does meanwhile."""
        now = self._clock()
        if self._complained_at is not None and abs(now - self._complained_at) < COMPLAINT_INTERVAL_SECONDS:
            return
        self._complained_at = now
        line = self._format_line("error", event, error=error, dropped=self._dropped, sink=repr(self))
        StandardErrorSink(self._format_line).write(line)


class StandardErrorSink(Sink):
    """Standard error, which may be closed, or a pipe that nobody reads."""

    _most = select.PIPE_BUF
    _is_torn = False  # a line of more than PIPE_BUF bytes may get stuck half-way: the next one begins anew

    def __repr__(self) -> str:
        return f"<StandardErrorSink dropped={self._dropped}>"

    def _put(self, line: bytes) -> None:
        rest = line = b"\n" + line if self._is_torn else line
        patience = 0 if self._dropped else PATIENCE_SECONDS
        try:
            while rest:
                rest = rest[_write_standard_error(rest, patience) :]
        except OSError:
            self._is_torn = self._is_torn or len(rest) < len(line)
            raise
        self._is_torn = False

    def _complain(self, event: str, error: OSError) -> None:
        """Say nothing: there is nowhere left to say it."""


def widen_standard_error() -> None:
    """Let a pipe hold a mebibyte, if the system allows it: with its 64 KiB it is full after 150 lines (pipe(7))."""
    with suppress(OSError):  # it is no pipe, or this user has too many
        fcntl.fcntl(STANDARD_ERROR, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _write_standard_error(line: bytes, patience_seconds: float) -> int:
    """Write what it takes of the line; raise OSError where it takes nothing for longer than the patience.

    A pipe that is writable takes PIPE_BUF bytes without blocking (pipe(7)), so the descriptor, which other
    processes may share, need not be made non-blocking.
    """
    if not select.select([], [STANDARD_ERROR], [], patience_seconds)[1]:
        raise BlockingIOError("nobody reads standard error")
    return os.write(STANDARD_ERROR, line[: select.PIPE_BUF])
