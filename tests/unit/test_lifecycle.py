import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from sokken import lifecycle
from sokken.errors import ConfigurationError
from sokken.lifecycle import Signals, drain, raise_descriptor_limit
from sokken.telemetry import logs
from sokken.transport.connections import Connection, Connections
from tests.support.loops import LOOPS, run, soon
from tests.support.targets import PATIENCE

every_loop = pytest.mark.parametrize("loop", LOOPS)


@dataclass(frozen=True)
class Settings:
    endpoint_delay_seconds: float = 0
    drain_timeout_seconds: float = PATIENCE


def events(lines):
    return [line["event"] for line in lines]


# Signals


@contextlib.contextmanager
def signals_of_tests():
    """What a signal does is the process's own: it is put back."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@every_loop
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_for_the_end(loop, number):
    async def main():
        signals = Signals(asyncio.get_running_loop())
        before = time.monotonic()
        assert signals.asked_at is None
        waiting = asyncio.ensure_future(signals.wait())
        await asyncio.sleep(0.01)
        assert not signals.is_leaving
        assert not waiting.done()
        os.kill(os.getpid(), number)
        await waiting
        assert signals.is_leaving
        assert before <= signals.asked_at <= time.monotonic()

    with signals_of_tests(), capture_logs() as lines:
        run(main(), loop)
    assert lines == [{"event": "leaving", "log_level": "info", "signal": number.name}]


@every_loop
def test_a_hang_up_opens_the_log_anew_and_ends_nothing(loop, monkeypatch):
    opened = []
    monkeypatch.setattr(logs, "reopen", lambda: opened.append(1))

    async def main():
        signals = Signals(asyncio.get_running_loop())
        os.kill(os.getpid(), signal.SIGHUP)
        await soon(lambda: opened)
        assert not signals.is_leaving

    with signals_of_tests():
        run(main(), loop)


@every_loop
def test_a_second_signal_ends_the_process_at_once(loop):
    program = """
import asyncio, os, signal, sys, uvloop
from sokken.lifecycle import Signals, run

async def main():
    signals = Signals(asyncio.get_running_loop())
    os.kill(os.getpid(), signal.SIGTERM)
    await signals.wait()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(60)
    return 0

sys.exit(run(main, sys.argv[1]))
"""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, loop], check=False, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert time.monotonic() - started < 10
    for text in ('"event":"leaving"', '"event":"forced_exit"', '"signal":"SIGINT"'):
        assert text in done.stderr
    assert "Traceback" not in done.stderr


# Draining


def admit(connections: Connections, give_up=None) -> Connection:
    connection = Connection(connections, "id", None, "peer", None, {}, give_up=give_up)
    connections.admit(connection)
    return connection


def test_a_drain_without_connections_is_over_at_once():
    async def main():
        doors = []
        await drain(Settings(), Connections(10), lambda: doors.append("closed"))
        assert doors == ["closed"]

    with capture_logs() as lines:
        run(main())
    assert events(lines) == ["draining", "drained"]


def test_a_drain_waits_for_the_delay_and_then_for_the_last_connection():
    async def main():
        connections, doors = Connections(10), []
        connection = admit(connections, lambda: doors.append("given up"))

        def close_door():
            assert not connections.is_draining  # who comes through it now is told as well
            doors.append("closed")

        draining = asyncio.ensure_future(drain(Settings(endpoint_delay_seconds=0.1), connections, close_door))
        await asyncio.sleep(0.05)
        assert (doors, connections.is_draining) == ([], False)
        await soon(lambda: doors == ["closed"])
        await soon(lambda: connections.is_draining)
        assert not draining.done()
        connections.release(connection)
        await draining
        assert doors == ["closed"]

    with capture_logs() as lines:
        run(main())
    assert [(line["event"], line.get("connections")) for line in lines] == [("draining", 1), ("drained", 0)]
    assert lines[0]["seconds"] == PATIENCE


def test_at_the_deadline_the_rest_is_ended():
    async def main():
        connections = Connections(10)
        for _ in range(3):
            connection = admit(connections)
            connection.give_up = lambda connection=connection: connections.release(connection)
        await drain(Settings(drain_timeout_seconds=0.05), connections, lambda: None)
        assert len(connections) == 0

    with capture_logs() as lines:
        run(main())
    assert [(line["event"], line["connections"]) for line in lines] == [
        ("draining", 3),
        ("drain_deadline", 3),
        ("drained", 0),
    ]


def test_what_cannot_be_ended_does_not_keep_the_process(monkeypatch):
    monkeypatch.setattr(lifecycle, "FAREWELL_SECONDS", 0.05)

    async def main():
        connections = Connections(10)
        admit(connections, lambda: None)
        started = time.monotonic()
        await drain(Settings(drain_timeout_seconds=0.05), connections, lambda: None)
        assert time.monotonic() - started < 5

    with capture_logs() as lines:
        run(main())
    assert [(line["event"], line["connections"]) for line in lines][-1] == ("drained", 1)


# Running


async def which_loop():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.fixture
def hooks():
    """The hooks for exceptions are the process's own: they are put back."""
    before = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    sys.excepthook, threading.excepthook, sys.unraisablehook = before


@pytest.mark.parametrize(("setting", "found"), [("asyncio", "asyncio"), ("uvloop", "uvloop"), ("auto", "uvloop")])
def test_the_event_loop_is_the_one_that_is_asked_for(hooks, setting, found):
    assert lifecycle.run(which_loop, setting) == found


def test_without_uvloop(hooks, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)  # as if it were not installed
    assert lifecycle.run(which_loop, "auto") == "asyncio"
    assert lifecycle.run(which_loop, "asyncio") == "asyncio"
    with pytest.raises(ConfigurationError) as caught:
        lifecycle.run(which_loop, "uvloop")
    assert str(caught.value) == (
        "SOKKEN_EVENT_LOOP is uvloop, which is not installed; install sokken[fast], or set it to auto"
    )


@pytest.mark.parametrize("setting", ["asyncio", "uvloop"])
def test_what_fails_behind_everybodys_back_is_one_line(hooks, setting):
    async def main():
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(0.01)
        return 0

    with capture_logs() as lines:
        assert lifecycle.run(main, setting) == 0
    [line] = lines
    assert (line["event"], line["where"]) == ("unhandled_exception", "event_loop")
    assert isinstance(line["exc_info"], ZeroDivisionError)


def test_descriptors_up_to_what_the_system_allows():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        lower = min(soft, hard) - 1 if hard != resource.RLIM_INFINITY else soft
        resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
        raise_descriptor_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_limit_that_cannot_be_raised_stays(monkeypatch):
    def refuse(*_):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 2))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()
