"""Drives the load generator: compiles load.c where there is a C compiler, and talks with its processes.

Used by the suites. A `Load` prints "ready" when it is, begins when it is told to, and answers with one JSON object.
"""

import hashlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

from bench.processes import ROOT, popen

Facts = dict[str, Any]

STEP_SECONDS = 30.0
OUT_OF_TIME = "the suite's time was over"

_SOURCE = ROOT / "bench" / "load.c"
_FALLBACK = ROOT / "bench" / "load.py"
_CACHE = ROOT / "build" / "bench"


class LoadError(Exception):
    """A measurement that failed, and why."""


def build_generator() -> tuple[str, ...]:
    """The command of the load generator, compiled if need be."""
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if compiler is None:
        return (sys.executable, str(_FALLBACK))
    digest = hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]
    program = _CACHE / f"load-{digest}"
    if not program.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        argv = [compiler, "-O2", "-pthread", "-o", str(program), str(_SOURCE), "-lm"]
        subprocess.run(argv, check=True)
    return (str(program),)


def is_compiled(generator: tuple[str, ...]) -> bool:
    """Whether it is the one in C."""
    return len(generator) == 1


class Load:
    """One run of the load generator. A step takes `STEP_SECONDS` at most, and ends by ``deadline`` (monotonic)."""

    def __init__(self, generator: tuple[str, ...], *arguments: object, deadline: float) -> None:
        self._deadline = deadline
        self._buffer = b""
        self._process = popen(
            [*generator, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def wait_ready(self) -> None:
        """Return once its connections are up and warm."""
        line = self._read_line()
        if line != b"ready":
            raise LoadError(json.loads(line).get("error", "was not ready"))

    def go(self, command: str = "go") -> Facts:
        """Begin, and return what was measured."""
        if self._process.stdin is None:
            raise LoadError("the load generator has no input")
        try:
            self._process.stdin.write(command.encode() + b"\n")
        except BrokenPipeError:
            raise LoadError("the load generator ended early") from None
        facts: Facts = json.loads(self._read_line())
        if "error" in facts:
            raise LoadError(facts["error"])
        return facts

    def _read_line(self) -> bytes:
        pipe = self._process.stdout
        if pipe is None:
            raise LoadError("the load generator has no output")
        until = min(self._deadline, time.monotonic() + STEP_SECONDS)
        while b"\n" not in self._buffer:
            left = until - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise LoadError(f"no answer in {STEP_SECONDS:.0f} s" if until < self._deadline else OUT_OF_TIME)
            part = os.read(pipe.fileno(), 1 << 16)
            if not part:
                raise LoadError("the load generator ended early")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line
