"""What the doctor says: one finding a step, for people (a line) and for machines (JSON).

Made by the judgements, shown by cli/doctor. Nothing here decides anything, and nothing in it is a secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

STEPS: Final = (
    "credentials",
    "dns",
    "tcp",
    "proxy",
    "tls",
    "http",
    "clock",
    "websocket",
    "auth",
    "target",
    "half-close",
    "ping",
    "idle",
    "speed",
)
"""In the order of the walk: each needs those before it."""


class Verdict(StrEnum):
    """What is thought of a step."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """One step: what was found, what to do about it ("" if nothing), and numbers for machines."""

    step: str
    verdict: Verdict
    found: str
    advice: str = ""
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """One tunnel's findings so far."""

    name: str
    url: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether a tunnel cannot work, or not as it should."""
        return any(finding.verdict is Verdict.FAILED for finding in self.findings)

    def as_json(self) -> dict[str, object]:
        """For ``-json``."""
        steps = [
            {
                "step": finding.step,
                "verdict": finding.verdict.value,
                "found": finding.found,
                **({"advice": finding.advice} if finding.advice else {}),
                **finding.values,
            }
            for finding in self.findings
        ]
        return {"name": self.name, "url": self.url, "ok": not self.has_failed, "steps": steps}


_COLOURS: Final = {Verdict.OK: "32", Verdict.WARNING: "33", Verdict.FAILED: "31", Verdict.SKIPPED: "2"}
_VERDICT_WIDTH: Final = max(map(len, Verdict))
_STEP_WIDTH: Final = max(map(len, STEPS))


def ok(step: str, found: str, **values: object) -> Finding:
    """All is well."""
    return Finding(step, Verdict.OK, found, values=values)


def warning(step: str, found: str, advice: str, **values: object) -> Finding:
    """It works, but."""
    return Finding(step, Verdict.WARNING, found, advice, values)


def failed(step: str, found: str, advice: str, **values: object) -> Finding:
    """It cannot work like this."""
    return Finding(step, Verdict.FAILED, found, advice, values)


def skipped(step: str, reason: str) -> Finding:
    """It was not looked at."""
    return Finding(step, Verdict.SKIPPED, reason)


def format_finding(finding: Finding, *, colour: bool) -> str:
    """One line, without its line feed: what was found -> what to change. What others have sent is escaped."""
    text = f"{finding.found} -> {finding.advice}" if finding.advice else finding.found
    verdict = f"{finding.verdict:<{_VERDICT_WIDTH}}"
    if colour:
        verdict = f"\x1b[{_COLOURS[finding.verdict]}m{verdict}\x1b[0m"
    return f"  {verdict}  {finding.step:<{_STEP_WIDTH}}  {escape(text)}"


def escape(text: str) -> str:
    """Make it one line that a terminal may show."""
    return "".join(c if c.isprintable() else "?" for c in text)


def format_seconds(seconds: float) -> str:
    """For people: ``0.4 ms``, ``12 ms``, ``3.2 s``."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def format_date(time: datetime) -> str:
    """For people, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M UTC")


def format_span(span: timedelta) -> str:
    """For people: ``3 days``, ``5 hours``, ``12 minutes``."""
    minutes = int(span.total_seconds() // 60)
    for unit, size in (("day", 1440), ("hour", 60)):
        if minutes >= size:
            count = minutes // size
            return f"{count} {unit}{'s' * (count != 1)}"
    return f"{minutes} minute{'s' * (minutes != 1)}"


def milliseconds(seconds: float) -> float:
    """For machines."""
    return round(seconds * 1000, 3)
