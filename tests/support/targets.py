"""Targets and applications: the plain TCP programs at the two ends of a tunnel."""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

PATIENCE = 20.0

T = TypeVar("T")


@contextmanager
def target(
    handle: Callable[[socket.socket], None], host: str = "127.0.0.1", port: int = 0
) -> Iterator[tuple[str, int]]:
    """A listening TCP program; ``handle`` runs on a thread for each connection, which is closed after it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    sockets: set[socket.socket] = set()
    threads: list[threading.Thread] = []

    def serve(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            handle(sock)
        sockets.discard(sock)

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE)
            sockets.add(sock)
            thread = threading.Thread(target=serve, args=(sock,), daemon=True)
            thread.start()
            threads.append(thread)

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[:2]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(PATIENCE)
        for sock in list(sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(PATIENCE)


def echo(sock: socket.socket) -> None:
    """Send back what comes, then end."""
    while data := sock.recv(65536):
        sock.sendall(data)


def count(sock: socket.socket) -> None:
    """Read to the end, then say how much it was: needs half-close."""
    total = 0
    while data := sock.recv(65536):
        total += len(data)
    sock.sendall(b"%d" % total)


def connect(address: tuple[str, int]) -> socket.socket:
    """As applications do that block: a reset that follows at once is told by what they do next, not by connect()."""
    sock = socket.create_connection(address, None)
    sock.settimeout(PATIENCE)
    return sock


def receive_all(sock: socket.socket) -> bytes:
    """Everything up to the end; ConnectionResetError if it is no clean end."""
    parts = []
    while data := sock.recv(65536):
        parts.append(data)
    return b"".join(parts)


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, f"the connection ended after {len(data)} of {size} bytes"
        data += part
    return bytes(data)


def reset(sock: socket.socket) -> None:
    """Close with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def was_reset(sock: socket.socket) -> bool:
    """Whether the connection ends with a reset rather than a clean end; drops what comes before."""
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


def is_reset(sock: socket.socket, seconds: float = PATIENCE) -> bool:
    """Whether the connection is reset, also behind bytes or an end that were not read; reads nothing."""
    poll = select.poll()
    poll.register(sock, 0)  # errors and hang-ups are always told (poll(2)); an end of both directions is no error
    return any(events & select.POLLERR for _, events in poll.poll(seconds * 1000))


def wait_until_writable_stalls(sock: socket.socket, chunk: bytes = bytes(65536), seconds: float = 1.0) -> int:
    """Write until nothing more is taken for a while; how many bytes went."""
    sock.setblocking(False)
    total = 0
    while select.select([], [sock], [], seconds)[1]:
        with contextlib.suppress(BlockingIOError):
            total += sock.send(chunk)
    sock.settimeout(PATIENCE)
    return total


def eventually(condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What ``condition`` gives, once that is true."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{condition} did not become true within {seconds:g} s"
        time.sleep(0.02)
    return result
