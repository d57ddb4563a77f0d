"""What a stack must get right before a figure of it means anything: every byte, and who has ended.

Called by run.py once for each stack, in a thread of its own, before the load generator's target takes over the port.
A target of its own stands behind the stack meanwhile: it sees what arrives there.
"""

import hashlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from bench.processes import LOOPBACK

INTEGRITY_BYTES = (8 << 20) + 4321
HALF_CLOSE_BYTES = 1 << 20
PATIENCE_SECONDS = 10.0
# Whoever reacts to an end by ending the other direction has done so by then.
PAUSE_SECONDS = 0.3


@dataclass(frozen=True, slots=True)
class Verdict:
    """``integrity`` is "yes" or what was wrong; the half-closes are "yes", "partly" or "no"."""

    integrity: str
    client_ends_first: str
    target_ends_first: str

    def problem(self) -> str | None:
        """Why a stack that must pass has not."""
        if self.integrity != "yes":
            return f"bytes: {self.integrity}"
        for who, kept in (("client", self.client_ends_first), ("target", self.target_ends_first)):
            if kept != "yes":
                return f"when the {who} ends first, what the other still sends arrives: {kept}"
        return None


def judge(entry: int, target: int) -> Verdict:
    """Try the stack between two ports of this machine."""
    with _Target(target) as far:
        return Verdict(
            integrity=_attempt(lambda: _try_integrity(entry)),
            client_ends_first=_attempt(lambda: _try_client_first(entry)),
            target_ends_first=_attempt(lambda: _try_target_first(entry, far)),
        )


def _attempt(trial: Callable[[], str]) -> str:
    try:
        return trial()
    except OSError as error:
        return "no" if isinstance(error, _EarlyEndError | ConnectionError) else str(error) or "no"


# --- the near side --------------------------------------------------------------------------------------------------


def _dial(port: int, letter: bytes) -> socket.socket:
    connection = socket.create_connection((LOOPBACK, port), PATIENCE_SECONDS)
    connection.sendall(letter)
    return connection


def _try_integrity(entry: int) -> str:
    """Random bytes both ways at the same time; both ends compare SHA-256."""
    with _dial(entry, b"i") as connection:
        sent, received = _exchange(connection)
        if _receive(connection, 64) == received + sent:
            return "yes"
        return "what arrived is not what was sent"


def _try_client_first(entry: int) -> str:
    with _dial(entry, b"c") as connection:
        connection.sendall(os.urandom(HALF_CLOSE_BYTES))
        connection.shutdown(socket.SHUT_WR)
        return _share(_drain(connection))


def _try_target_first(entry: int, far: "_Target") -> str:
    with _dial(entry, b"t") as connection:
        if _drain(connection) < HALF_CLOSE_BYTES:
            return "no"
        time.sleep(PAUSE_SECONDS)
        with suppress(ConnectionError):  # the answer is at the far side
            connection.sendall(os.urandom(HALF_CLOSE_BYTES))
            connection.shutdown(socket.SHUT_WR)
        try:
            return _share(far.arrived.get(timeout=PATIENCE_SECONDS))
        except queue.Empty:
            return "no"


def _share(count: int) -> str:
    if count == HALF_CLOSE_BYTES:
        return "yes"
    return "partly" if count else "no"


# --- the far side ---------------------------------------------------------------------------------------------------


class _Target:
    """Behind the stack: does what a connection's first byte asks."""

    def __init__(self, port: int) -> None:
        self.arrived: queue.Queue[int] = queue.Queue()
        self._listener = socket.create_server((LOOPBACK, port), backlog=128)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE_SECONDS)
        with connection, suppress(OSError):
            letter = connection.recv(1)
            if letter == b"i":
                sent, received = _exchange(connection)
                connection.sendall(sent + received)
            elif letter == b"c":
                if _drain(connection) == HALF_CLOSE_BYTES:
                    time.sleep(PAUSE_SECONDS)
                    connection.sendall(os.urandom(HALF_CLOSE_BYTES))
            elif letter == b"t":
                connection.sendall(os.urandom(HALF_CLOSE_BYTES))
                connection.shutdown(socket.SHUT_WR)
                self.arrived.put(_drain(connection))


# --- both -----------------------------------------------------------------------------------------------------------


class _EarlyEndError(OSError):
    """The connection ended within what was expected."""


def _exchange(connection: socket.socket) -> tuple[bytes, bytes]:
    """Send and receive at the same time; the SHA-256 of both."""
    payload = os.urandom(INTEGRITY_BYTES)
    digest = hashlib.sha256()

    def send() -> None:
        at, size = 0, 1
        with suppress(OSError):  # the receiving side tells
            while at < len(payload):
                connection.sendall(payload[at : at + size])
                at, size = at + size, size * 7 % 300007  # pieces of many sizes, the same in every run

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    left = INTEGRITY_BYTES
    while left:
        part = connection.recv(min(left, 1 << 16))
        if not part:
            raise _EarlyEndError
        digest.update(part)
        left -= len(part)
    sender.join(PATIENCE_SECONDS)
    return hashlib.sha256(payload).digest(), digest.digest()


def _receive(connection: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise _EarlyEndError
        parts += part
    return parts


def _drain(connection: socket.socket) -> int:
    """How many bytes come until the end; a reset or silence ends them, too."""
    count = 0
    with suppress(OSError):
        while part := connection.recv(1 << 16):
            count += len(part)
    return count
