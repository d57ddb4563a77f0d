"""A stack that runs: its processes, its ports, what CPU time and memory they take.

Used by run.py and the suites, which get one for each stack. It starts and watches; it measures nothing by itself.
"""

import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from bench.processes import Child, ProcessError, free_port
from bench.stacks import Stack


class Places(dict[str, str]):
    """What `{name}` stands for in a stack's arguments and files: a free port, found when it is first named."""

    def __missing__(self, name: str) -> str:
        self[name] = str(free_port())
        return self[name]


@dataclass(slots=True)
class Running:
    """One stack: started by `start`, ended by `stop`. ``folder`` is its own, for files and output."""

    stack: Stack
    folder: Path
    generator: tuple[str, ...]
    target: int
    children: list[Child] = field(default_factory=list)
    places: Places = field(default_factory=Places)
    listening: list[tuple[str, float]] = field(default_factory=list)  # role, seconds from exec

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def name(self) -> str:
        """The stack's."""
        return self.stack.name

    @property
    def entries(self) -> list[int]:
        """The ports where applications enter."""
        return [int(self.places[entry]) for entry in self.stack.entries]

    def start(self) -> None:
        """Start all programs, each when the one before listens. Raises ProcessError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.stack.secure:
            make_certificate(self.folder)
        self.places |= {"target": str(self.target), "dir": str(self.folder)}
        for name, text in self.stack.files.items():
            (self.folder / name).write_text(text.format_map(self.places))
        try:
            for program in self.stack.programs:
                began = time.perf_counter()
                child = Child(
                    program.role,
                    [*self._arguments(program.argv)],
                    {name: value.format_map(self.places) for name, value in program.env.items()},
                    self.folder / f"{len(self.children)}-{program.role}.log",
                    forks=program.forks,
                )
                self.children.append(child)
                child.wait_until_listening(int(self.places[program.port]))
                self.listening.append((program.role, time.perf_counter() - began))
        except (OSError, ProcessError):
            self.stop()
            raise

    def _arguments(self, argv: Iterable[str]) -> Iterable[str]:
        for argument in argv:
            if argument == "{load}":
                yield from self.generator
            else:
                yield argument.format_map(self.places)

    def check(self) -> None:
        """Raise ProcessError if one of the processes has ended."""
        for child in self.children:
            child.check()

    def stop(self) -> None:
        """End all processes."""
        for child in reversed(self.children):
            child.stop()

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far, by role."""
        return self._by_role("cpu_seconds")

    def anonymous_kib(self) -> dict[str, float]:
        """Memory, by role."""
        return self._by_role("anonymous_kib")

    def _by_role(self, measure: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for child in self.children:
            if child.role != "line":
                found[child.role] = found.get(child.role, 0.0) + getattr(child, measure)()
        return found


def make_certificate(folder: Path) -> None:
    """A key and a certificate for 127.0.0.1 that signs itself: cert.pem, key.pem, and both.pem for HAProxy."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    (folder / "both.pem").write_bytes(certificate.read_bytes() + key.read_bytes())
