"""Files that change while the program runs: certificates, keys, tokens, policies.

They are polled by content, because Kubernetes swaps a directory's symlink (``..data``), which no watch on the file
itself sees. The last good content stays in force when the new one is broken. It must never log what is in a file.
"""

import asyncio
import os
import stat
import time
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from sokken.errors import ConfigurationError
from sokken.telemetry.logs import get_logger

MAX_FILE_BYTES: Final = 16 * 1024 * 1024

T = TypeVar("T")

log = get_logger("files")


class Watched(Protocol):
    """Something that can be looked at again."""

    def look(self) -> bool:
        """Whether something new is in force now."""


class WatchedFile(Generic[T]):
    """A file as a value: ``parse`` makes it of the content, and raises ValueError or OSError if it cannot.

    ``what`` names the file in messages (its setting). ``beside`` are files that are only good together with it, as a
    key with its certificate: ``parse`` gets their contents too. A message of ``parse`` must not quote a secret.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[..., T],
        what: str,
        *,
        beside: Sequence[Path] = (),
        is_required: bool = True,
    ) -> None:
        """Read it; raises ConfigurationError if that fails, unless it is not required (yet)."""
        self._paths = (path, *beside)
        self._parse = parse
        self._what = what
        self._seen: object = None
        self.changed_at = time.monotonic()
        """When it was last found to be another."""
        self._good: tuple[T] | None = None
        self.read_at: float | None = None
        """When the content in force was read, Unix time."""
        self.problem = ""
        """Why the file as it is now cannot be used."""
        self.missing: tuple[Path, ...] = ()
        """Which of its paths lead nowhere."""
        if not self._read():
            if is_required:
                raise ConfigurationError(self.problem)
            self._log_result()

    def __repr__(self) -> str:
        return f"<WatchedFile {self._what} {self._paths[0]} {self.problem or 'good'}>"

    @property
    def what(self) -> str:
        """The setting that names it."""
        return self._what

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where it is, and where what belongs to it is."""
        return self._paths

    @property
    def result(self) -> str:
        """How the last reading went: ``loaded``, ``kept_last_good``, or ``unavailable``: there was no good one yet."""
        if not self.problem:
            return "loaded"
        return "unavailable" if self._good is None else "kept_last_good"

    @property
    def kind(self) -> str:
        """Which of the files it is, in a word: ``tokens`` of SOKKEN_TOKENS_FILE."""
        return self._what.removeprefix("SOKKEN_").removesuffix("_FILE").lower()

    @property
    def value(self) -> T:
        """The last good one; raises ConfigurationError while there was none."""
        if self._good is None:
            raise ConfigurationError(self.problem)
        return self._good[0]

    def look(self) -> bool:
        """Read it again; whether there is a new value. A broken one is logged once, and the last good one kept."""
        seen = self._seen
        is_good = self._read()
        if self._seen == seen:
            return False
        self.changed_at = time.monotonic()
        self._log_result()
        return is_good

    def _read(self) -> bool:
        """Whether the files as they are now are good."""
        try:
            contents = [_read_file(path) for path in self._paths]
        except OSError as error:
            self.missing = tuple(path for path in self._paths if not os.path.exists(path))  # noqa: PTH110 -- never raises
            return self._keep(error, seen=(error.errno, error.filename, self.missing))
        self.missing = ()
        seen = tuple(sha256(content).digest() for content in contents)
        if seen == self._seen:
            return not self.problem
        try:
            self._good = (self._parse(*contents),)
        except (OSError, ValueError) as error:
            return self._keep(error, seen)
        self._seen, self.problem, self.read_at = seen, "", time.time()
        return True

    def _keep(self, error: OSError | ValueError, seen: object) -> bool:
        self._seen = seen
        problem = error.strerror.lower() if isinstance(error, OSError) and error.strerror else str(error)
        path = getattr(error, "filename", None) or self._paths[0]
        self.problem = f"{self._what}: cannot use {path}: {problem}"
        return False

    def _log_result(self) -> None:
        files = [str(path) for path in self._paths]
        if not self.problem:
            log.info("reload", setting=self._what, files=files, result=self.result)
        else:
            log.error("reload", setting=self._what, files=files, result=self.result, detail=self.problem)


async def watch(files: Iterable[Watched], interval: float) -> None:
    """Look at the files every ``interval`` seconds, for ever."""
    files = tuple(files)
    while True:
        await asyncio.sleep(interval)
        for file in files:
            file.look()


def _read_file(path: Path) -> bytes:
    with open(path, "rb", opener=_open_at_once) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(None, "it is no regular file", str(path))
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise OSError(None, f"it has more than {MAX_FILE_BYTES} bytes", str(path))
    return content


def _open_at_once(path: str, flags: int) -> int:
    """Without waiting for a writer: a pipe has no content that could be read again."""
    return os.open(path, flags | os.O_NONBLOCK)
