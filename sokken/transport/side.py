"""One of a relay's two sockets: whether it is read, and what is held for it because it did not take it.

Used by the relay for the local side and for the peer. It moves bytes and keeps the accounts; what they mean, and
what an error means, is the relay's business: OSError passes through.
"""

import fcntl
import termios
from collections.abc import Callable
from typing import Final

from sokken.transport.channel import Channel, TlsChannel, close_cleanly
from sokken.transport.nested_tls import NestedTlsChannel
from sokken.transport.plane import Plane

_MOST_PIECES: Final = 512  # below the kernel's IOV_MAX
_TLS: Final = (TlsChannel, NestedTlsChannel)


class Side:
    """A connected socket under a relay. Nothing is read while ``is_reading`` is false."""

    __slots__ = ("_is_tls", "_plane", "channel", "has_failed", "held", "is_open", "is_reading")

    def __init__(self, plane: Plane, channel: Channel) -> None:
        self._plane = plane
        self._is_tls = isinstance(channel, _TLS)
        self.channel = channel
        self.held: memoryview | None = None
        """What waits until the socket takes it."""
        self.is_open = True
        self.is_reading = False
        self.has_failed = False
        """An error was reported; what came before it may still be there to be read."""

    def __repr__(self) -> str:
        if not self.is_open:
            return "closed"
        return f"{'reading' if self.is_reading else 'paused'}, holding {len(self.held or b'')}"

    @property
    def has_decrypted(self) -> bool:
        """Whether TLS holds bytes that raise no event."""
        return self._is_tls and self.channel.pending() > 0  # type: ignore[attr-defined]

    @property
    def is_clogged(self) -> bool:
        """Whether something waits here or in the kernel: the other end has not taken all of it (tcp(7), SIOCOUTQ)."""
        if self.held is not None:
            return True
        queued = fcntl.ioctl(self.channel.fileno(), termios.TIOCOUTQ, bytes(4))
        return any(queued)

    def watch(self, on_error: Callable[[], None]) -> None:
        """Report errors also while nothing is read or written. Called after ``read``: it is one call then."""
        self._plane.watch.errors(self.channel, on_error)

    def send(self, data: bytes | memoryview, on_writable: Callable[[], None]) -> bool:
        """Send, and hold what does not go; False if something is held. ``on_writable`` must call ``flush``."""
        if self.held is not None:
            self._hold(b"".join((self.held, data)))
            return False
        try:
            sent = self.channel.send(data)
        except BlockingIOError:
            sent = 0
        return sent == len(data) or self._wait(bytes(data[sent:]), on_writable)

    def send_pieces(self, pieces: list[memoryview], size: int, on_writable: Callable[[], None]) -> bool:
        """Send several pieces, ``size`` bytes together, as ``send`` does one. Not over TLS."""
        if self.held is not None:
            self._hold(b"".join((self.held, *pieces)))
            return False
        try:
            sent = self.channel.sendmsg(pieces[:_MOST_PIECES])
        except BlockingIOError:
            sent = 0
        return sent == size or self._wait(b"".join(pieces)[sent:], on_writable)

    def flush(self) -> bool:
        """Send what is held; whether all of it has gone."""
        if self.held is None:
            return True
        try:
            sent = self.channel.send(self.held)
        except BlockingIOError:
            return False
        self._plane.parked -= sent
        if sent < len(self.held):
            self.held = self.held[sent:]
            return False
        self.held = None
        self._plane.watch.write(self.channel, None)
        return True

    def drop(self) -> None:
        """Forget what is held."""
        if self.held is not None:
            self._plane.parked -= len(self.held)
            self.held = None
            self._plane.watch.write(self.channel, None)

    def read(self, on_readable: Callable[[], object], *, is_wanted: bool) -> None:
        """Begin or stop to read, if that is a change."""
        if is_wanted is self.is_reading:
            return
        self.is_reading = is_wanted
        if not is_wanted:
            self._plane.watch.read(self.channel, None)
            return
        self._plane.watch.read(self.channel, on_readable)
        if self._is_tls:
            # What TLS has decrypted already raises no event.
            self._plane.loop.call_soon(on_readable)

    def detach(self) -> Channel:
        """Give the socket up; the relay has nothing to do with it any more."""
        self._leave()
        self._plane.watch.remove(self.channel)
        return self.channel

    def close(self, *, clean: bool) -> None:
        """Close the socket, with what is still in the kernel delivered, or with a reset."""
        self._leave()
        self._plane.watch.forget(self.channel)
        close_cleanly(self.channel) if clean else self.channel.close()

    def _leave(self) -> None:
        if self.held is not None:
            self._plane.parked -= len(self.held)
            self.held = None
        self.is_reading = self.is_open = False

    def _wait(self, rest: bytes, on_writable: Callable[[], None]) -> bool:
        self._hold(rest)
        self._plane.watch.write(self.channel, on_writable)
        return False

    def _hold(self, rest: bytes) -> None:
        self._plane.parked += len(rest) - len(self.held or b"")
        self.held = memoryview(rest)
