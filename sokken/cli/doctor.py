"""``sokken doctor``: why a tunnel does not work, step by step, in words or as JSON.

Called by dispatch. It reads the arguments, has the doctor look, and shows the findings as they come.
"""

import json
import sys
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from sokken.cli.flags import HELP, read_seconds, take_flags
from sokken.cli.options import parse_command_line
from sokken.doctor.report import Finding, Report, Verdict, format_finding
from sokken.errors import ConfigurationError, UsageError
from sokken.protocol.address import (
    URL_EXAMPLE,
    Address,
    AddressError,
    Forward,
    parse_forward,
    parse_listen_address,
    parse_server_url,
)
from sokken.settings import ClientSettings, InvalidSettings, load
from sokken.telemetry.console import wants_colour

HELP_TEXT: Final = """\
Usage: sokken doctor [OPTION]... [URL | [NAME=]LISTEN_ADDR=URL | LISTEN_ADDR URL]...

Walks the way of a tunnel as the client would go it, and says in words what is wrong and what to change: names, TCP,
proxy, TLS, HTTP, WebSocket, credentials, target, half-close, pings, idle times and speed. Without arguments it looks
at every forward of SOKKEN_FORWARDS. Settings are those of the client, as options (sokken client --help) or variables.

  -timeout SECONDS        how long each step may take (default 12)
  -idle SECONDS           how long to hold a tunnel over which nothing moves, 0 not at all (default 5)
  -echo                   the target sends back what it gets: test half-close and speed through it
  -json                   write one JSON document

  sokken doctor wss://machine-b.example/tunnel/127.0.0.1:22
  sokken doctor -idle 120 -ca-file ca.pem 127.0.0.1:2222 wss://machine-b.example/tunnel/127.0.0.1:22

Exit codes: 0 all is well (there may be warnings), 1 a step failed, 2 malformed arguments or variables, 3 missing ones.
"""
WELL: Final = 0
ILL: Final = 1
_ERASE: Final = "\r\033[K"
_UNNAMED: Final = Address("", 0)


def doctor(words: Sequence[str]) -> int:
    """Run ``doctor`` with the words behind it; returns the exit code. Raises UsageError and ConfigurationError."""
    flags, others = take_flags(words, {"timeout": "12", "idle": "60"}, ["json", "echo"])
    if HELP.intersection(others):
        print(HELP_TEXT, end="")
        return WELL
    step_seconds = read_seconds("timeout", flags.get("timeout", "12"), 0.1)
    idle_seconds = read_seconds("idle", flags.get("idle", "5"), 0)
    settings = _load(others)
    from sokken.doctor.program import run
    from sokken.doctor.walk import Options

    output: Output = JsonOutput() if "json" in flags else TextOutput()
    options = Options(step_seconds, idle_seconds, echoes="echo" in flags)
    reports = run(settings, options, output.begin, output.progress)
    output.end(reports)
    return ILL if any(report.has_failed for report in reports) else WELL


def _load(words: Sequence[str]) -> ClientSettings:
    """The client's settings, with what is to be examined as its forwards."""
    line = parse_command_line(["client", *words])
    if line.problems:  # else the value of an unknown option would be told as a bad address
        raise UsageError(line.problems[0].text)
    forwards = parse_forwards(line.arguments)
    given = {"api_addr": _UNNAMED, **line.options, **({"forwards": forwards} if forwards else {})}
    try:
        return load(ClientSettings, given).settings
    except InvalidSettings as error:
        if not error.is_missing:
            raise UsageError(str(error)) from error
        if error.problems[0].setting == "forwards":
            problem = f"there is nothing to look at: give a URL, for example sokken doctor {URL_EXAMPLE}"
            raise UsageError(f"{problem}, or set SOKKEN_FORWARDS") from error
        raise ConfigurationError(str(error)) from error


def parse_forwards(words: Sequence[str]) -> tuple[Forward, ...]:
    """Parse URLs, forwards, and pairs of LISTEN_ADDR and URL, in any order; raises UsageError.

    What has no listen address gets the one that stands for none.
    """
    forwards = []
    rest = iter(words)
    try:
        for word in rest:
            before, is_url, _ = word.partition("://")
            if is_url and "=" in before:
                forwards.append(parse_forward(word))
            elif is_url:
                forwards.append(Forward(str(_UNNAMED), _UNNAMED, parse_server_url(word)))
            else:
                forwards.append(_parse_pair(word, next(rest, "")))
    except AddressError as error:
        raise UsageError(str(error)) from None
    return tuple(forwards)


def _parse_pair(text: str, url: str) -> Forward:
    listen = parse_listen_address(text)
    if "://" not in url:
        raise UsageError(f"{text!r} is followed by its URL, for example {URL_EXAMPLE} (API_ADDR is left out)")
    return Forward(str(listen), listen, parse_server_url(url))


class Output(Protocol):
    """Where findings go."""

    def begin(self, report: Report) -> Callable[[Finding], object]:
        """Begin with one URL."""

    def progress(self, text: str) -> object:
        """Say that something takes long."""

    def end(self, reports: Sequence[Report]) -> None:
        """All are there."""


class TextOutput:
    """A line for each finding as it is made, in colour on a terminal."""

    def __init__(self) -> None:
        self._colour = wants_colour(sys.stdout.fileno())
        self._has_progress = sys.stdout.isatty() and sys.stderr.isatty()

    def begin(self, report: Report) -> Callable[[Finding], object]:
        """Write whose findings follow."""
        print(f"{report.name}: {report.url}" if report.name else report.url, flush=True)
        return self._tell

    def progress(self, text: str) -> None:
        """Write it where the next finding will stand."""
        if self._has_progress:
            print(f"{_ERASE}  ... {text}", end="", file=sys.stderr, flush=True)

    def end(self, reports: Sequence[Report]) -> None:
        """Write the sum of it."""
        for report in reports:
            worst = [finding.step for finding in report.findings if finding.verdict is Verdict.FAILED]
            warned = [finding.step for finding in report.findings if finding.verdict is Verdict.WARNING]
            what = f"failed: {', '.join(worst)}" if worst else "the tunnel works"
            print(f"{report.url}: {what}{', with warnings: ' * bool(warned)}{', '.join(warned)}")

    def _tell(self, finding: Finding) -> None:
        if self._has_progress:
            print(_ERASE, end="", file=sys.stderr, flush=True)
        print(format_finding(finding, colour=self._colour), flush=True)


class JsonOutput:
    """One document at the end."""

    def begin(self, report: Report) -> Callable[[Finding], object]:  # noqa: ARG002 -- as TextOutput
        """Write nothing yet."""
        return lambda finding: None  # noqa: ARG005 -- as above

    def progress(self, text: str) -> None:
        """Write nothing."""

    def end(self, reports: Sequence[Report]) -> None:
        """Write everything."""
        is_well = not any(report.has_failed for report in reports)
        print(json.dumps({"ok": is_well, "tunnels": [report.as_json() for report in reports]}, indent=2))
