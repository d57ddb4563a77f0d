"""Dialling: a host and a port to a connected socket, whichever of the host's addresses answers first (RFC 8305)."""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

from sokken.errors import SokkenError
from sokken.protocol.address import Address
from sokken.telemetry.trail import NO_TRAIL, Stage, Trail
from sokken.transport.channel import EXHAUSTED, prepare
from sokken.transport.resolve import Found, Resolver

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
    resolver: Resolver, address: Address, seconds: float, check: Check | None = None, trail: Trail = NO_TRAIL
) -> socket.socket:
    """Connect within ``seconds``, names included; the socket is prepared for a relay. Raises DialError.

    What passes ``check`` is what is connected to: the name is not looked up again.
    """
    try:
        async with asyncio.timeout(seconds):
            trail.enter(Stage.DNS)
            found = await _resolve(resolver, address)
            trail.enter(Stage.TCP)
            if check is not None:
                found = check(found)
            return await (_connect(found[0]) if len(found) == 1 else _connect_first(found))
    except TimeoutError:
        raise DialError(DialFailure.TIMEOUT, f"{address} did not answer within {seconds:g} s") from None
    except OSError as error:
        raise DialError(_classify(error), f"{address}: {_describe(error)}") from None


async def _resolve(resolver: Resolver, address: Address) -> Sequence[Found]:
    try:
        return await resolver.resolve(address.host, address.port)
    except OSError as error:
        raise DialError(DialFailure.DNS, f"{address.host} does not resolve: {_describe(error)}") from None


async def _connect(found: Found) -> socket.socket:
    sock = socket.socket(found[0], socket.SOCK_STREAM)
    try:
        prepare(sock)
        await asyncio.get_running_loop().sock_connect(sock, found[4])
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
