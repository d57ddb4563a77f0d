"""Dialling: a host and a port to a connected socket, whichever of the host's addresses answers first (RFC 8305)."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

from sokken.errors import SokkenError
from sokken.protocol.address import Address
from sokken.telemetry.trail import NO_TRAIL, Stage, Trail
from sokken.transport.channel import EXHAUSTED, prepare, wait_ready
from sokken.transport.eager import become_task
from sokken.transport.resolve import Found, Resolver, read_literal

HAPPY_EYEBALLS_SECONDS: Final = 0.25  # RFC 8305 section 8


class DialFailure(StrEnum):
    """Why a dial failed, from the dialler's point of view."""

    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    EXHAUSTED = "exhausted"


class DialError(SokkenError):
    """A dial failed; ``detail`` says what to whom."""

    def __init__(self, failure: DialFailure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


Check = Callable[[Sequence[Found]], Sequence[Found]]
"""Which of the addresses may be dialled; raises if none may."""


async def dial(
    resolver: Resolver,
    address: Address,
    seconds: float,
    check: Check | None = None,
    on_wait: Callable[[asyncio.Timeout], object] | None = None,
    trail: Trail = NO_TRAIL,
) -> socket.socket:
    """Connect within ``seconds``, names included; the socket is prepared for a relay. Raises DialError.

    What passes ``check`` is what is connected to: the name is not looked up again. ``on_wait`` is told once if it
    must be waited for, and by what it can be ended early; an address of this host is connected to at once, and so
    without a wait (eager.py).
    """
    sock: socket.socket | None = None
    try:
        if found := read_literal(address.host, address.port):
            trail.enter(Stage.TCP)
            [one] = found if check is None else check(found)
            sock = _begin(one)
            if _is_connected(sock):
                return sock
        await become_task()
        async with asyncio.timeout(seconds) as patience:
            if on_wait is not None:
                on_wait(patience)
            return await (_connect_to(resolver, address, check, trail) if sock is None else _end(sock))
    except TimeoutError:
        raise DialError(DialFailure.TIMEOUT, f"{address} did not answer within {seconds:g} s") from None
    except OSError as error:
        raise DialError(_classify(error), f"{address}: {_describe(error)}") from None


async def _connect_to(resolver: Resolver, address: Address, check: Check | None, trail: Trail) -> socket.socket:
    trail.enter(Stage.DNS)
    try:
        found = await resolver.resolve(address.host, address.port)
    except OSError as error:
        raise DialError(DialFailure.DNS, f"{address.host} does not resolve: {_describe(error)}") from None
    trail.enter(Stage.TCP)
    if check is not None:
        found = check(found)
    return await (_end(_begin(found[0])) if len(found) == 1 else _connect_first(found))


def _begin(found: Found) -> socket.socket:
    sock = socket.socket(found[0], socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        prepare(sock)
        with contextlib.suppress(BlockingIOError):
            sock.connect(found[4])
    except BaseException:
        sock.close()
        raise
    return sock


def _is_connected(sock: socket.socket) -> bool:
    """Whether there is a peer already."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


async def _end(sock: socket.socket) -> socket.socket:
    """Wait until what was begun has succeeded, or failed."""
    try:
        await wait_ready(asyncio.get_running_loop(), sock, to_write=True)
        if problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(problem, os.strerror(problem))  # noqa: TRY301 -- one place closes it
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_first(found: Sequence[Found]) -> socket.socket:
    from aiohappyeyeballs import start_connection  # noqa: PLC0415 -- only names with several addresses need it

    sock = await start_connection(
        found, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS, interleave=1, loop=asyncio.get_running_loop()
    )
    prepare(sock)
    return sock


def _classify(error: OSError) -> DialFailure:
    if error.errno == errno.ECONNREFUSED:
        return DialFailure.REFUSED
    return DialFailure.EXHAUSTED if error.errno in EXHAUSTED else DialFailure.UNREACHABLE


def _describe(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    if error.errno:
        return os.strerror(error.errno).lower()
    return str(error)
