import asyncio
import random
import time
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from sokken.client.check import ServerCheck, describe_missing
from sokken.client.connect import ConnectError
from sokken.protocol.address import parse_server_url
from tests.support.loops import run, soon

URL = parse_server_url("ws://machine-b:8000/tunnel/127.0.0.1:22")


@pytest.fixture(autouse=True)
def _haste(monkeypatch):
    """Delays are drawn at random; these are short."""
    monkeypatch.setattr(random, "random", lambda: 0.01)


def refused(detail: str) -> ConnectError:
    return ConnectError("server_unreachable", detail, retry=True)


class Servers:
    """Stands for the connector: says what the test wants to each question, and the last of it for ever."""

    def __init__(self, *answers: Exception | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def check(self, url) -> None:
        assert url == URL
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer


@asynccontextmanager
async def checking(servers: Servers, interval: float = 3600):
    check = ServerCheck(servers, URL, interval)
    task = asyncio.ensure_future(check.run())
    try:
        yield check
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def told(lines):
    return [(line["event"], line["log_level"], line.get("detail")) for line in lines]


def test_it_asks_until_it_hears_yes_and_then_rests():
    async def main():
        servers = Servers(refused("no"), refused("no"), None)
        async with checking(servers) as check:
            assert (check.has_passed, check.problem, check.asked_at) == (False, "not asked yet", None)
            assert check.server == str(URL)
            await soon(lambda: check.outcome)
            assert check.outcome == "server_unreachable"
            await soon(lambda: check.has_passed)
            assert (check.outcome, check.asked_at) == (None, pytest.approx(time.monotonic(), abs=20))
            assert (servers.asked, check.problem) == (3, None)
            await asyncio.sleep(0.2)
            assert servers.asked == 3
            assert repr(check) == f"<ServerCheck {URL} passed>"

    run(main())


def test_only_changes_are_told():
    async def main():
        no, other = refused("connection refused"), refused("no route")
        servers = Servers(no, no, no, other, other, None, None, no, no, None)
        async with checking(servers, interval=0.01):
            await soon(lambda: len(servers.answers) == 1)
            await soon(lambda: servers.asked >= 12)

    with capture_logs() as lines:
        run(main())
    assert told(lines) == [
        ("server_check_failed", "warning", "connection refused"),
        ("server_check_failed", "warning", "no route"),
        ("server_check_passed", "info", None),
        ("server_check_failed", "warning", "connection refused"),
        ("server_check_passed", "info", None),
    ]
    assert {line["server"] for line in lines} == {str(URL)}
    assert lines[0]["outcome"] == "server_unreachable"


def test_one_yes_is_enough_for_ever():
    async def main():
        servers = Servers(None, refused("gone"))
        async with checking(servers, interval=0.01) as check:
            await soon(lambda: check.problem == "gone")
            assert check.has_passed
            assert describe_missing([check]) is None
            assert repr(check) == f"<ServerCheck {URL} gone>"

    run(main())


def test_a_fault_is_told_with_its_traceback_and_ends_nothing():
    async def main():
        fault = RuntimeError("a bug")
        servers = Servers(fault, fault, None)
        async with checking(servers) as check:
            await soon(lambda: check.problem)
            await soon(lambda: check.has_passed)

    with capture_logs() as lines:
        run(main())
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("server_check_failed", "error"),
        ("server_check_passed", "info"),
    ]
    assert lines[0]["exc_info"]
    assert lines[0]["outcome"] == "internal_error"


def test_it_ends_when_it_is_told_to():
    async def main():
        async with checking(Servers(None)) as check:
            await soon(lambda: check.has_passed)

    run(main())


@pytest.mark.parametrize(
    ("problems", "expected"),
    [
        ([], None),
        ([None, None], None),
        ([None, "connection refused"], "server check: connection refused"),
        (["not asked yet", "connection refused"], "server check: not asked yet"),
    ],
)
def test_what_is_missing(problems, expected):
    checks = []
    for problem in problems:
        check = ServerCheck(Servers(None), URL, 20)
        check.has_passed, check.problem = problem is None, problem
        checks.append(check)
    assert describe_missing(checks) == expected
