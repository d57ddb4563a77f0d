"""Listening sockets: bound at start, accepting in batches, pausing while the system has no descriptor left."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from sokken.errors import ConfigurationError
from sokken.protocol.address import Address
from sokken.telemetry.logs import get_logger
from sokken.transport.channel import EXHAUSTED, prepare

BACKLOG: Final = 1024
BATCH: Final = 16
PAUSE_SECONDS: Final = 0.25
DEFER_SECONDS: Final = 1

log = get_logger("listen")

OnAccept = Callable[[socket.socket, str], object]
"""Called with each accepted socket, prepared for a relay, and its peer's address as text."""


def bind(address: Address, what: str, *, defers: bool = False) -> list[socket.socket]:
    """Bind and listen on every address that ``address`` means; raises ConfigurationError.

    No host means all interfaces, IPv4 and IPv6. Port 0 takes a free port, the same for all of them. ``what`` names
    the address in errors. ``defers`` is for peers who speak first (not for every application does): the kernel
    keeps a connection back until it has bytes, or for a second, which saves waiting for them here.
    """
    try:
        sockets = _bind_everywhere(address.port) if not address.host else _bind_host(address)
    except socket.gaierror as error:
        problem = f"{address.host} does not resolve ({error.strerror}); name an address of this host, or none for all"
    except OSError as error:
        problem = _explain(error, address)
    else:
        if defers:
            _defer(sockets)
        return sockets
    raise ConfigurationError(f"{what}: cannot listen on {address}: {problem}")


def bound_address(sockets: Sequence[socket.socket], asked: Address) -> Address:
    """``asked`` with the port that was taken."""
    return Address(asked.host, sockets[0].getsockname()[1])


def is_loopback(sock: socket.socket) -> bool:
    """Whether only this host reaches a listening socket."""
    return ip_address(str(sock.getsockname()[0]).partition("%")[0]).is_loopback


def format_peer(address: tuple[str, int] | tuple[str, int, int, int]) -> str:
    """A socket address as ``host:port``; an IPv4 address that arrived on an IPv6 socket as what it is."""
    host = address[0]
    return str(Address(host.removeprefix("::ffff:") if "." in host else host, address[1]))


class Listener:
    """Accepts on some sockets until it is closed."""

    __slots__ = ("_loop", "_on_accept", "_resume", "sockets")

    def __init__(self, loop: asyncio.AbstractEventLoop, sockets: list[socket.socket], on_accept: OnAccept) -> None:
        self._loop = loop
        self._on_accept = on_accept
        self._resume: asyncio.TimerHandle | None = None
        self.sockets = sockets
        self._start()

    def __repr__(self) -> str:
        state = "closed" if not self.sockets else "paused" if self._resume else "accepting"
        return f"<Listener {state} {[sock.fileno() for sock in self.sockets]}>"

    def close(self) -> None:
        """Take what is in the accept queues, then listen no more."""
        for sock in self.sockets:
            for _ in range(BACKLOG // BATCH + 1):  # bounded: new ones may come as fast as they are taken
                if not self._accept(sock):
                    break
        self._stop()
        for sock in self.sockets:
            sock.close()
        self.sockets = []

    def _start(self) -> None:
        self._resume = None
        for sock in self.sockets:
            self._loop.add_reader(sock.fileno(), self._accept, sock)

    def _stop(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        for sock in self.sockets:
            self._loop.remove_reader(sock.fileno())

    def _accept(self, listening: socket.socket) -> bool:
        """Take up to a batch; False once there is nothing more to take."""
        for _ in range(BATCH):
            try:
                sock, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return False
            except OSError as error:
                if error.errno in EXHAUSTED:
                    self._pause(error)
                    return False
                continue  # that one connection has gone before it was taken (accept(2), "Error handling")
            sock.setblocking(False)  # noqa: FBT003 -- the standard library's signature
            self._on_accept(sock, format_peer(address))
        return True

    def _pause(self, error: OSError) -> None:
        """Wait for descriptors: connections stay in the accept queue, and nothing spins."""
        if self._resume is None:
            log.error("accept_paused", problem=os.strerror(error.errno or 0), seconds=PAUSE_SECONDS)
            self._stop()
            self._resume = self._loop.call_later(PAUSE_SECONDS, self._start)


def _bind_everywhere(port: int) -> list[socket.socket]:
    try:
        return [_listening(socket.AF_INET6, ("::", port), both=True)]
    except OSError as error:
        if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
            raise
        return [_listening(socket.AF_INET, ("0.0.0.0", port))]  # noqa: S104 -- this is what was asked for


def _bind_host(address: Address) -> list[socket.socket]:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, _, _, _, where in dict.fromkeys(found):
            sockets.append(_listening(family, (where[0], port, *where[2:])))
            port = sockets[0].getsockname()[1]
    except OSError as error:
        # A name such as localhost often has an IPv6 address that this host has not.
        if not sockets or error.errno != errno.EADDRNOTAVAIL:
            for sock in sockets:
                sock.close()
            raise
    return sockets


def _listening(family: int, where: tuple[object, ...], *, both: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        prepare(sock)  # what is accepted inherits it
        sock.bind(where)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _defer(sockets: Sequence[socket.socket]) -> None:
    for sock in sockets:
        with contextlib.suppress(OSError):  # not every kernel that calls itself Linux knows it
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)


def _explain(error: OSError, address: Address) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program listens there; stop it or choose another port (0 for a free one)"
        case errno.EACCES:
            return f"not allowed; ports below 1024 need a privilege, so choose a higher one than {address.port}"
        case errno.EADDRNOTAVAIL:
            return "this host has no such address; name one of its own, or none for all"
        case _:
            return os.strerror(error.errno).lower() if error.errno else str(error)
