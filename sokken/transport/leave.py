"""The last moments of a socket after an answer or a Close: nothing that was sent may be lost.

Closing a socket that has unread input resets it, and the reset overtakes the answer. So: flush, shut down writing,
read and drop a little, then close. Used by the relay, and by the server after it has refused a request.
"""

import contextlib
import socket
from collections.abc import Callable
from typing import Final

from sokken.transport.channel import Channel, close_cleanly
from sokken.transport.plane import KIB, Plane

LEAVE_SECONDS: Final = 1.0
DROP_BYTES: Final = 64 * KIB


class Leave:
    """Takes a channel over, with the bytes that are still to be sent on it; calls ``done`` when it is closed.

    ``wait`` in seconds bounds the flush and what follows it together.
    """

    __slots__ = ("_channel", "_done", "_dropped", "_pending", "_plane", "due")

    def __init__(
        self,
        plane: Plane,
        channel: Channel,
        pending: bytes | memoryview = b"",
        done: Callable[[], None] | None = None,
        wait: float = LEAVE_SECONDS,
    ) -> None:
        self._plane = plane
        self._channel = channel
        self._pending = memoryview(pending)
        self._done = done
        self._dropped = 0
        self.due = 0
        plane.wheel.wake(self, plane.wheel.refresh() + wait)
        if self._pending:
            plane.watch.write(channel, self._flush)
        else:
            self._shut_down()

    def __repr__(self) -> str:
        return f"<Leave pending={len(self._pending)} dropped={self._dropped}>"

    def on_timer(self, now: float) -> None:  # noqa: ARG002 -- the wheel's signature
        """The time is over; what could not be flushed by now is lost, and the reset says so."""
        self._close(clean=not self._pending)

    def _flush(self) -> None:
        try:
            sent = self._channel.send(self._pending)
        except BlockingIOError:
            return
        except OSError:
            self._close(clean=False)
            return
        self._pending = self._pending[sent:]
        if not self._pending:
            self._plane.watch.write(self._channel, None)
            self._shut_down()

    def _shut_down(self) -> None:
        try:
            self._channel.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(clean=False)
            return
        self._plane.watch.read(self._channel, self._drop)

    def _drop(self) -> None:
        while self._dropped < DROP_BYTES:
            try:
                count = self._channel.recv_into(self._plane.inbound_view[:DROP_BYTES])
            except BlockingIOError:
                return
            except OSError:
                break
            if not count:
                break
            self._dropped += count
        self._close(clean=True)

    def _close(self, *, clean: bool) -> None:
        channel, done = self._channel, self._done
        self._done = None
        if channel.fileno() < 0:
            return
        self._plane.wheel.forget(self)
        self._plane.watch.forget(channel)
        with contextlib.suppress(OSError):
            close_cleanly(channel) if clean else channel.close()
        if done is not None:
            done()
