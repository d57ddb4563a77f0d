"""The log file: appended to, rotated by size and by age, and pruned, by the process that writes it.

Made by logs.py, one for a process; it assumes that no other process writes the same file. A full disk, a file
that was moved or deleted, a rotation that fails: none may reach a tunnel; each is told on standard error and
survived.
"""

import os
import re
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sokken.errors import ConfigurationError
from sokken.telemetry.log_sink import LineFormat, Sink

# Non-blocking for the sake of a named pipe or a terminal given as the file: tunnels wait for neither.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MODE = 0o640  # less the umask: peers' addresses are not for everyone
_ROTATED = r"-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}"
_FIRST_TIMESTAMP = re.compile(rb'\{"timestamp":"([0-9T:.-]{26}Z)"')


class RotatingFile(Sink):
    """A log file that is renamed to NAME-TIME.EXT (UTC) and begun anew when it is too large or too old.

    Its age counts from the timestamp of its first line, which survives restarts; where that cannot be read,
    from its last modification as found when it was opened.
    """

    _most = 65536

    def __init__(
        self,
        path: Path,
        format_line: LineFormat,
        *,
        max_bytes: int,
        max_age_seconds: float,
        keep: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the file, and make the directories it is to be in; keep 0 deletes what is rotated.

        Raises ConfigurationError when it cannot be opened for writing.
        """
        super().__init__(format_line, clock)
        self._path = path.absolute()  # whatever becomes of the working directory
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        self._keep = keep
        self._descriptor: int | None = None
        self._looked_at: int | None = None  # the second in which the path was last looked at
        self._failed_at: int | None = None  # the second in which a rotation last failed
        try:
            self._open()
        except OSError as error:
            raise ConfigurationError(
                f"-log-file {path}: cannot open it for writing: {error.strerror}; name a file in a directory "
                "that this user may write to, or leave the option out to log to standard error"
            ) from error

    def __repr__(self) -> str:
        return f"<RotatingFile {self._path} size={self._size} dropped={self._dropped}>"

    def reopen(self) -> None:
        """Open the path again; what was open stays in use when that fails."""
        with self._lock:
            self._open_or_complain()

    def close(self) -> None:
        """Close the file; a line written later is dropped."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None

    def _put(self, line: bytes) -> None:
        now = self._clock()
        if int(now) != self._looked_at:
            self._looked_at = int(now)
            self._look()
        if self._is_due(now, len(line)):
            self._rotate(now)
        if not self._size:
            self._begun_at = now
        self._append(line)
        self._size += len(line)

    def _append(self, line: bytes) -> None:
        """Write the line; what of it fitted on a full disk is taken back, so that every line stays whole."""
        if self._descriptor is None:
            raise OSError("the log file is closed")
        written = 0
        try:
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except OSError:
            if written:
                with suppress(OSError):  # a pipe cannot take anything back
                    os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size - written)
            raise

    def _look(self) -> None:
        """Notice, once a second, that the file was deleted, moved or truncated by someone else.

        An administrator who deletes the log of a full disk gets its space back without a signal.
        """
        with suppress(OSError):
            status = self._path.stat()
            if (status.st_dev, status.st_ino) == self._identity:
                self._size = status.st_size
                return
        self._open_or_complain()

    def _open_or_complain(self) -> None:
        try:
            self._open()
        except OSError as error:
            self._complain("log_open_failed", error)

    def _open(self) -> None:
        """Open the path and only then let go of what was open: without a free descriptor, logging goes on."""
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(self._path, _FLAGS, _MODE)
        former, self._descriptor = self._descriptor, descriptor
        if former is not None:
            os.close(former)
        status = os.fstat(descriptor)
        self._identity = (status.st_dev, status.st_ino)
        self._is_regular = stat.S_ISREG(status.st_mode)
        self._size = status.st_size if self._is_regular else 0
        self._begun_at = min(self._birth(status), self._clock())

    def _birth(self, status: os.stat_result) -> float:
        """Return when the file was begun, seconds since the epoch; file systems do not reliably say so."""
        try:
            with self._path.open("rb") as file:
                first = _FIRST_TIMESTAMP.match(file.read(64))
            return datetime.fromisoformat(first[1].decode()).timestamp() if first else status.st_mtime
        except (OSError, ValueError):
            return status.st_mtime

    def _is_due(self, now: float, more: int) -> bool:
        return (
            self._size > 0
            and (self._size + more > self._max_bytes or now - self._begun_at >= self._max_age_seconds)
            and self._is_regular
            and int(now) != self._failed_at
        )

    def _rotate(self, now: float) -> None:
        try:
            with suppress(FileNotFoundError):  # moved away in this very second
                self._path.rename(self._rotated_path(now))
            self._open()
            self._prune()
        except OSError as error:
            self._failed_at = int(now)
            self._complain("log_rotation_failed", error)

    def _rotated_path(self, now: float) -> Path:
        moment = datetime.fromtimestamp(now, UTC)
        while True:
            stamp = f"{moment:%Y-%m-%dT%H-%M-%S}.{moment.microsecond // 1000:03d}"
            path = self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}")
            if not path.exists():
                return path
            moment += timedelta(milliseconds=1)

    def _prune(self) -> None:
        """Delete the oldest rotated files beyond those to keep, and nothing that is not named as ours are."""
        pattern = re.compile(re.escape(self._path.stem) + _ROTATED + re.escape(self._path.suffix))
        rotated = sorted(path for path in self._path.parent.iterdir() if pattern.fullmatch(path.name))
        for path in rotated[: max(0, len(rotated) - self._keep)]:
            path.unlink(missing_ok=True)
