"""What a program says of itself: `/statusz`, and the upper half of the page.

The programs give what they know (``Program``); this is its one shape. Secrets are masked by the settings' own
catalogue, as `sokken check-config` shows them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from sokken import __version__
from sokken.admin.health import NotReady
from sokken.admin.sampling import Sweep
from sokken.transport.connections import Connections

_MILLISECONDS: Final = 3


class Reloaded(Protocol):
    """A file that is followed (transport/files.py)."""

    changed_at: float

    @property
    def what(self) -> str:
        """Its setting."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where it is."""

    @property
    def result(self) -> str:
        """How the last reading went."""

    @property
    def problem(self) -> str:
        """Why it cannot be used as it is now."""

    @property
    def missing(self) -> Sequence[Path]:
        """Which of its paths lead nowhere."""


class Check(Protocol):
    """What a client knows of one of its servers (client/check.py)."""

    has_passed: bool
    problem: str | None
    outcome: str | None
    asked_at: float | None

    @property
    def server(self) -> str:
        """The URL."""


class DrainTimes(Protocol):
    """The times of a drain, in seconds (lifecycle.py)."""

    @property
    def endpoint_delay_seconds(self) -> float:
        """Before it."""

    @property
    def drain_timeout_seconds(self) -> float:
        """For it."""


@dataclass(frozen=True, slots=True)
class Program:
    """What there is to tell of a running program."""

    role: str
    settings: Sequence[Mapping[str, object]]
    """As ``shown_settings`` of the settings' catalogue has them."""
    connections: Connections
    not_ready: NotReady
    leaving_since: Callable[[], float | None]
    drain: DrainTimes
    files: Sequence[Reloaded] = ()
    checks: Sequence[Check] = ()
    started_at: float = field(default_factory=time.time)
    """Seconds since the epoch; ages are counted on ``started``, which no clock's correction moves."""
    started: float = field(default_factory=time.monotonic)


def describe_program(program: Program, sweep: Sweep, *, needs_token: bool) -> dict[str, object]:
    """The document without the settings. Times are seconds; rates are null on the first look in a while."""
    now = time.monotonic()
    reason = program.not_ready()
    return {
        "role": program.role,
        "version": __version__,
        "started_at": datetime.fromtimestamp(program.started_at, UTC).isoformat(timespec="seconds"),
        "uptime_s": _seconds(now - program.started),
        "state": "serving" if program.leaving_since() is None else "draining",
        "ready": reason is None,
        "not_ready": reason,
        "drain": _describe_drain(program, now),
        "connections": _describe_connections(program.connections, sweep),
        "outcomes": _by_number(program.connections.ended.outcomes),
        "failures": _by_number(program.connections.failed),
        "servers": [_describe_check(check, now) for check in program.checks],
        "files": [_describe_file(file, now) for file in program.files],
        "token_required": needs_token,
    }


def _describe_connections(connections: Connections, sweep: Sweep) -> dict[str, object]:
    return {
        "now": len(connections),
        "limit": connections.limit,
        "connecting": sweep.connecting,
        "half_closed": sweep.half_closed,
        "opened": connections.opened,
        "ended": sum(connections.ended.outcomes.values()),
        "failed": sum(connections.failed.values()),
        "bytes_up": sweep.bytes_up,
        "bytes_down": sweep.bytes_down,
        "rate_up": None if sweep.rate_up is None else round(sweep.rate_up, 1),
        "rate_down": None if sweep.rate_down is None else round(sweep.rate_down, 1),
    }


def _describe_drain(program: Program, now: float) -> dict[str, object] | None:
    """``begins_in_s`` counts down the delay before it, ``remaining_s`` what connections have left."""
    since = program.leaving_since()
    if since is None:
        return None
    begins = since + program.drain.endpoint_delay_seconds
    deadline = begins + program.drain.drain_timeout_seconds
    return {
        "asked_at": _wall(since, now),
        "begins_in_s": _seconds(max(0.0, begins - now)),
        "deadline": _wall(deadline, now),
        "remaining_s": _seconds(max(0.0, deadline - now)),
    }


def _describe_check(check: Check, now: float) -> dict[str, object]:
    return {
        "server": check.server,
        "passed": check.problem is None,
        "has_passed": check.has_passed,
        "outcome": check.outcome,
        "problem": check.problem,
        "asked_s_ago": None if check.asked_at is None else _seconds(now - check.asked_at),
    }


def _describe_file(file: Reloaded, now: float) -> dict[str, object]:
    return {
        "setting": file.what,
        "files": [str(path) for path in file.paths],
        "result": file.result,
        "problem": file.problem or None,
        "missing": [str(path) for path in file.missing],
        "changed_s_ago": _seconds(now - file.changed_at),
    }


def _by_number(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first."""
    return {str(name): counts[name] for name in sorted(counts, key=counts.__getitem__, reverse=True)}


def _seconds(seconds: float) -> float:
    return round(seconds, _MILLISECONDS)


def _wall(moment: float, now: float) -> str:
    return datetime.fromtimestamp(time.time() + moment - now, UTC).isoformat(timespec="seconds")
