"""Programs of the system: found, or missed with a clear word; started on a free port, waited for, ended."""

import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.targets import eventually

PATIENCE = 60.0  # seconds; for programs that do real work
_SYSTEM = ("/usr/sbin", "/sbin")  # where daemons are, on PATH or not
_BELOW_EPHEMERAL = range(12000, 32000)  # no connection of another program takes its own port from here


def installed(name: str, also: Sequence[str] = ()) -> str:
    """The path of a program; the test fails if it is not there. ``also`` are folders off PATH to look in."""
    folders = os.pathsep.join([*also, os.environ.get("PATH", os.defpath), *_SYSTEM])
    path = shutil.which(name, path=folders)
    if path is None:
        pytest.fail(f"{name} is not installed; `make test-programs` installs what the tests need", pytrace=False)
    return path


def run(*command: object, seconds: float = PATIENCE, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, and give its exit code and what it wrote; no input unless told."""
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": seconds}
    if "input" not in options:
        settings["stdin"] = subprocess.DEVNULL
    return subprocess.run([str(part) for part in command], check=False, **(settings | options))


def succeed(*command: object, **options: Any) -> str:
    """Run a program that must succeed; what it wrote to its standard output."""
    done = run(*command, **options)
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
    return done.stdout


def free_port(host: str = "127.0.0.1") -> int:
    """A port where nothing listens, for programs that cannot choose one themselves."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in random.sample(_BELOW_EPHEMERAL, 100):
        with closing(socket.socket(family)) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((host, port))
            except OSError:
                continue
            return port
    raise AssertionError("no port is free")


def is_listening(where: tuple[str, int]) -> bool:
    try:
        socket.create_connection(where, 1).close()
    except OSError:
        return False
    return True


@contextmanager
def service(
    *command: object, where: tuple[str, int], log: Path, ending: signal.Signals = signal.SIGTERM, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that listens at ``where``, with what it says in ``log``; ended by ``ending``."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            **options,
        )
    try:
        eventually(lambda: process.poll() is not None or is_listening(where), PATIENCE)
        assert process.poll() is None, f"{command} ended with {process.returncode}: {log.read_text(errors='replace')}"
        yield process
    finally:
        end(process, ending)


def end(process: subprocess.Popen[Any], ending: signal.Signals = signal.SIGTERM) -> None:
    """End a process, in order if it lets itself."""
    if process.poll() is None:
        process.send_signal(ending)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
