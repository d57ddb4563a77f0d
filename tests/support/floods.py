"""Byte streams that can be stalled for as long as one likes, and told from one another to the byte."""

import random
import select
import socket
from collections.abc import Sequence

_PERIOD = 1_048_583  # a prime: no buffer's size divides it, so that a lost or repeated piece shows
_WRITE_BYTES = 16_384
_PATTERN = random.Random(6455).randbytes(_PERIOD) * 2
_LAPSE = 4099
_SMALL_BUFFER = 16384
_SEGMENT = 1400  # as on an Ethernet: the loopback's segments of 64 KiB have the kernel take megabytes at once
_MOST_BYTES = 64 * 1024 * 1024  # what the kernel could ever hold of one stream on its way
PATIENCE = 60.0


class Flood:
    """One direction of a connection: what ``writer`` is given, ``reader`` must get, and nothing else."""

    def __init__(self, number: int, writer: socket.socket, reader: socket.socket) -> None:
        self._start = number * _LAPSE
        self.writer = writer
        self.reader = reader
        self.written = self.read = 0
        writer.setblocking(False)
        reader.setblocking(False)

    def write(self) -> None:
        """As much as the socket takes now, of what comes next."""
        at = (self._start + self.written) % _PERIOD
        try:
            self.written += self.writer.send(memoryview(_PATTERN)[at : at + _WRITE_BYTES])
        except BlockingIOError:
            return

    def receive(self, size: int = _WRITE_BYTES) -> bool:
        """What is there now, at most ``size``, which must be what comes next; False at the end."""
        try:
            received = self.reader.recv(size)
        except BlockingIOError:
            return True
        at = (self._start + self.read) % _PERIOD
        assert received == memoryview(_PATTERN)[at : at + len(received)], f"wrong bytes after {self.read}"
        self.read += len(received)
        return bool(received)


def stall(floods: Sequence[Flood], quiet: float = 1.0) -> int:
    """Write until no connection takes anything for ``quiet`` seconds; how many bytes went."""
    before = sum(flood.written for flood in floods)
    by_fileno = {flood.writer.fileno(): flood for flood in floods}
    poll = select.poll()
    for fileno in by_fileno:
        poll.register(fileno, select.POLLOUT)
    while ready := poll.poll(quiet * 1000):
        for fileno, events in ready:
            assert not events & select.POLLERR, f"{by_fileno[fileno].writer} was reset while it was stalled"
            by_fileno[fileno].write()
            assert by_fileno[fileno].written < _MOST_BYTES, "somebody takes all that comes, and holds it"
    return sum(flood.written for flood in floods) - before


def deliver(floods: Sequence[Flood]) -> None:
    """Read every stream to its end, side by side: it must be exactly what was written."""
    open_ones = {flood.reader.fileno(): flood for flood in floods}
    poll = select.poll()
    for fileno, flood in open_ones.items():
        flood.writer.shutdown(socket.SHUT_WR)
        poll.register(fileno, select.POLLIN)
    while open_ones:
        ready = poll.poll(PATIENCE * 1000)
        assert ready, f"{len(open_ones)} streams stand still"
        for fileno, _ in ready:
            if not open_ones[fileno].receive():
                poll.unregister(fileno)
                del open_ones[fileno]
    assert [flood.read for flood in floods] == [flood.written for flood in floods]


def exchange(sock: socket.socket, size: int) -> None:
    """Send ``size`` bytes or a little more to an echo, and get them back meanwhile."""
    flood = Flood(0, sock, sock)
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLOUT)
    while flood.read < max(size, flood.written):
        ready = poll.poll(PATIENCE * 1000)
        assert ready, f"the echo stands still after {flood.read} bytes"
        if ready[0][1] & select.POLLOUT:
            flood.write()
            if flood.written >= size:
                poll.modify(sock, select.POLLIN)
        if ready[0][1] & select.POLLIN:
            assert flood.receive()


def make_small(sock: socket.socket) -> None:
    """Have the kernel hold little on this end's way, so that hundreds fit; call it before connect or accept."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SMALL_BUFFER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _SEGMENT)
