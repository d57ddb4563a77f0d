"""Where one workload happens: its folder, its size, its time, and how programs are run there.

Every workload's module gets a `Site` from run.py. Nothing here knows a particular program.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Child, popen

MIB = 1 << 20
START_SECONDS = 30.0
_CHUNK = 8 << 20
# Where programs are, on PATH or not. Debian keeps PostgreSQL's own by version: the newest first.
_POSTGRESQL = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), key=lambda path: (len(path), path))
_FOLDERS = os.pathsep.join([*reversed(_POSTGRESQL), os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


class WorkloadError(Exception):
    """Why there is no figure, in one line."""


def find(program: str) -> str:
    """Its path. Raises WorkloadError."""
    path = shutil.which(program, path=_FOLDERS)
    if path is None:
        raise WorkloadError(f"{program} is not installed; `make bench-programs` installs it")
    return path


def wait_until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    """Return once it is so. Raises WorkloadError if that takes longer."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise WorkloadError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(0.01)


def wait_until_listening(child: Child, port: int) -> None:
    """Return once something listens on that port in the child's network namespace. Connects to nothing."""
    wait_until(lambda: _is_listening(child, port), f"the start of {child.role}")


def _is_listening(child: Child, port: int) -> bool:
    child.check()
    # proc(5): the second field is the local address and port, the fourth the state; 0A is TCP_LISTEN.
    tables = (Path(f"/proc/{child.process.pid}/net/{name}") for name in ("tcp", "tcp6"))
    fields = (line.split() for table in tables if table.exists() for line in table.read_text().splitlines())
    return any(field[3] == "0A" and field[1].endswith(f":{port:04X}") for field in fields)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done."""

    big_bytes: int
    small_files: int
    small_bytes: int
    repository_files: int
    repository_file_bytes: int
    seconds: int  # of what is measured for a time
    pgbench_scale: int
    cap_share: float  # of a workload's longest time


FULL = Scale(1 << 30, 2000, 8 << 10, 4000, 25 << 10, 8, 16, 1.0)
QUICK = Scale(32 << 20, 100, 8 << 10, 200, 25 << 10, 1, 1, 0.25)


@dataclass(frozen=True, slots=True)
class RandomFile:
    """What is sent, so that what arrives can be compared."""

    path: Path
    size: int
    digest: bytes

    def expect_in(self, copy: Path) -> None:
        """Raise WorkloadError if the copy differs."""
        try:
            with copy.open("rb") as file:
                same = hashlib.file_digest(file, "sha256").digest() == self.digest
        except OSError as error:
            raise WorkloadError(f"what was sent has not arrived: {error.strerror}") from None
        if not same:
            raise WorkloadError("what arrived is not what was sent")


@dataclass(frozen=True, slots=True)
class Site:
    """``deadline`` is in monotonic seconds."""

    folder: Path
    scale: Scale
    deadline: float

    def run(
        self,
        *command: object,
        seconds: float = 60.0,
        env: Mapping[str, str] | None = None,
        stdin: Path = Path(os.devnull),
    ) -> str:
        """Run a program to its end; what it wrote. Raises WorkloadError if it fails, or takes longer than that."""
        left = min(seconds, self.deadline - time.monotonic())
        if left <= 0:
            raise WorkloadError("no time was left for it")
        # Nothing of whoever runs the bench: no agent, no pager, no configuration.
        clean = {"PATH": _FOLDERS, "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        with stdin.open("rb") as source:
            process = popen(
                [str(part) for part in command],
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**clean, **(env or {})},
                cwd=self.folder,
            )
        with process:
            try:
                output, errors = process.communicate(timeout=left)
            except subprocess.TimeoutExpired:
                raise WorkloadError(f"{_name(command)} was not done after {left:.0f} s") from None
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode != 0:
            words = " / ".join((errors or output).decode(errors="replace").strip().splitlines()[-3:])[-300:]
            said = words.replace(str(self.folder), "…") or "no word"
            raise WorkloadError(f"{_name(command)} ended with {process.returncode}: {said}")
        return output.decode(errors="replace")

    def timed(self, *command: object, seconds: float = 60.0, env: Mapping[str, str] | None = None) -> float:
        """Run a program to its end; how long it took."""
        began = time.perf_counter()
        self.run(*command, seconds=seconds, env=env)
        return time.perf_counter() - began

    @contextmanager
    def serve(
        self, role: str, *command: object, port: int | None = None, ending: signal.Signals = signal.SIGKILL
    ) -> Iterator[Child]:
        """Have a program in between; with a port, from when it listens there. Raises ProcessError, WorkloadError."""
        child = Child(role, [str(part) for part in command], {}, self.folder / f"{role}.log", forks=True)
        try:
            if port is not None:
                wait_until_listening(child, port)
            yield child
        finally:
            if child.process.poll() is None:
                child.process.send_signal(ending)
                with suppress(subprocess.TimeoutExpired):
                    child.process.wait(10)
            child.stop()

    def random_file(self, name: str, size: int) -> RandomFile:
        """Make one in the folder."""
        path, digest = self.folder / name, hashlib.sha256()
        with path.open("wb") as file:
            for at in range(0, size, _CHUNK):
                part = os.urandom(min(_CHUNK, size - at))
                digest.update(part)
                file.write(part)
        return RandomFile(path, size, digest.digest())


def _name(command: Sequence[object]) -> str:
    """Of the program that matters: a prefix that enters a namespace ends with `--`."""
    parts = [str(part) for part in command]
    return Path(parts[parts.index("--") + 1] if parts[0].endswith("nsenter") else parts[0]).name
