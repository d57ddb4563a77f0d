"""The life of a process, the same for every program: start, serve, unready, drain, end.

A program gives the steps; the order and the times are here (docs/protocol.md "Drain"). It must not know what is
being served.
"""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from sokken.errors import ConfigurationError
from sokken.telemetry import logs
from sokken.transport.connections import Connections

FAREWELL_SECONDS: Final = 3.0
"""What the Close frames and resets of a missed deadline may take."""

_COLLECT_AFTER: Final = 10_000

log = logs.get_logger("lifecycle")


class DrainSettings(Protocol):
    """The two times of a drain, in seconds."""

    @property
    def endpoint_delay_seconds(self) -> float:
        """Between the signal and the drain everything goes on: balancers notice late."""

    @property
    def drain_timeout_seconds(self) -> float:
        """How long connections may go on."""


class Signals:
    """SIGTERM and SIGINT ask for a drain, a second one ends the process at once; SIGHUP reopens the log."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asked = asyncio.Event()
        self.asked_at: float | None = None
        """When the process was asked to end (monotonic)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, logs.reopen)

    @property
    def is_leaving(self) -> bool:
        """Whether the process was asked to end."""
        return self._asked.is_set()

    async def wait(self) -> None:
        """Until the process is asked to end."""
        await self._asked.wait()

    def _on_signal(self, number: int) -> None:
        if self._asked.is_set():
            log.warning("forced_exit", signal=signal.Signals(number).name)
            os._exit(1)  # every socket resets on close: nobody takes this for an end
        log.info("leaving", signal=signal.Signals(number).name)
        self.asked_at = time.monotonic()
        self._asked.set()


async def drain(settings: DrainSettings, connections: Connections, close_door: Callable[[], None]) -> None:
    """End all connections: let them finish, then end the rest. Call it once the process was asked to end."""
    await asyncio.sleep(settings.endpoint_delay_seconds)
    log.info("draining", connections=len(connections), seconds=settings.drain_timeout_seconds)
    close_door()
    connections.drain_ends_at = time.monotonic() + settings.drain_timeout_seconds
    connections.go_away()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(settings.drain_timeout_seconds):
            await connections.wait_empty()
    if len(connections):
        log.warning("drain_deadline", connections=len(connections))
        connections.end_drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await connections.wait_empty()
    log.info("drained", connections=len(connections))


def raise_descriptor_limit() -> None:
    """Allow as many descriptors as the system lets this process have: each connection takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def freeze_startup() -> None:
    """Take what start-up made out of all later garbage collections; call it once, before connections come.

    Modules and settings stay to the end, and each full collection would look through all of them again. A
    connection makes some hundred objects: the default threshold of 700 would collect every few connections.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def run(main: Callable[[], Coroutine[Any, Any, int]], event_loop: str) -> int:
    """Run a program's main on the loop that the setting names; returns its exit code."""
    with asyncio.Runner(loop_factory=_loop_factory(event_loop)) as runner:
        logs.install_exception_hooks(runner.get_loop())
        with logs.batching(runner.get_loop()):
            return runner.run(main())


def _loop_factory(event_loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if event_loop == "asyncio":
        return None
    try:
        import uvloop  # noqa: PLC0415 -- optional
    except ImportError:
        if event_loop == "uvloop":
            message = "SOKKEN_EVENT_LOOP is uvloop, which is not installed; install sokken[fast], or set it to auto"
            raise ConfigurationError(message) from None
        return None
    return uvloop.new_event_loop
