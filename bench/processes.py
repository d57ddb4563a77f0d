"""Child processes: started with the harness, watched through /proc, and ended with it, however it ends.

Used by generator.py and run.py. It knows nothing of what the processes do.
"""

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LOOPBACK = "127.0.0.1"
ROOT = Path(__file__).resolve().parent.parent
LISTEN_SECONDS = 15.0
# Below the ports that connect() takes by itself (net.ipv4.ip_local_port_range), so that none is taken in between.
_PORTS = iter(range(18000, 32000))
_TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class ProcessError(Exception):
    """A process did not start, or has ended; str() says which and with what last words."""


def free_port() -> int:
    """A loopback port on which nothing listens."""
    for port in _PORTS:
        try:
            socket.create_server((LOOPBACK, port)).close()
        except OSError:
            continue
        return port
    raise ProcessError("no free port left between 18000 and 32000")


def _die_with_parent() -> None:
    # prctl(2): the kernel sends this when the harness is gone, even by SIGKILL.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def popen(argv: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own, so that Ctrl-C is the harness's to handle."""
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        argv,
        preexec_fn=_die_with_parent,  # noqa: PLW1509 -- before the harness starts any thread
        process_group=0,
        **options,
    )


class Child:
    """One program of a stack; its output goes to ``log``."""

    def __init__(self, role: str, argv: Sequence[str], env: Mapping[str, str], log: Path, *, forks: bool) -> None:
        self.role = role
        self.argv = argv
        self.forks = forks
        self.log = log
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SOKKEN_")}
        with log.open("wb") as output:
            self.process = popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**clean, **env}, cwd=ROOT
            )

    def __repr__(self) -> str:
        return f"<Child {self.role} {self.process.pid} {shlex.join(self.argv)}>"

    def check(self) -> None:
        """Raise ProcessError if it has ended."""
        code = self.process.poll()
        if code is not None:
            raise ProcessError(f"the {self.role} ended with {code}: {self.last_words() or 'no word'}")

    def last_words(self) -> str:
        """The end of its output, in one line."""
        lines = self.log.read_text(errors="replace").splitlines()
        return " / ".join(lines[-2:])[-300:]

    def wait_until_listening(self, port: int) -> None:
        """Return once the port can be connected to."""
        deadline = time.monotonic() + LISTEN_SECONDS
        while True:
            self.check()
            try:
                socket.create_connection((LOOPBACK, port), 1).close()
            except OSError:
                if time.monotonic() > deadline:
                    raise ProcessError(f"the {self.role} did not listen within {LISTEN_SECONDS:.0f} s") from None
                time.sleep(0.001)
            else:
                return

    def stop(self) -> None:
        """Kill it and what it has forked."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def cpu_seconds(self) -> float:
        """CPU time so far, user and system."""
        if not self.forks:
            return sum(_scheduled_ns(self.process.pid)) / 1e9
        # A child's time is in its own stat while it lives and in its parent's afterwards: no schedstat there, but
        # the kernel scales these ticks to the scheduler's exact sum, and so they are off by one tick at most.
        return sum(_ticks(pid) for pid in family(self.process.pid)) * _TICK_SECONDS

    def anonymous_kib(self) -> int:
        """Memory of its own, without files. What processes share since a fork counts once."""
        pids = family(self.process.pid) if self.forks else (self.process.pid,)
        return sum(map(_anonymous_kib, pids))


def _tasks(pid: int) -> list[str]:
    """The threads of a process; none once it has ended."""
    try:
        return [task.name for task in Path(f"/proc/{pid}/task").iterdir()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _scheduled_ns(pid: int) -> Iterator[int]:
    for task in _tasks(pid):
        yield int((_read(f"/proc/{pid}/task/{task}/schedstat") or "0").split()[0])


def _ticks(pid: int) -> int:
    # proc(5): the name may hold anything, so count after its bracket: utime, stime, cutime, cstime.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def _anonymous_kib(pid: int) -> int:
    rollup = _read(f"/proc/{pid}/smaps_rollup").splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Pss_Anon:"))


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for parent in found:
        for task in _tasks(parent):
            found += map(int, _read(f"/proc/{parent}/task/{task}/children").split())
    return found
