"""Into HTTP: the one way in for everything that a server accepts.

A channel's first bytes are read here, within 16 KiB and 10 s. A request for an upgrade goes with its channel to who
upgrades; the head of any other is fed to aiohttp through a transport of ours, and exactly that. So aiohttp serves
HTTP, the sockets stay ours, and TLS or the PROXY protocol fit underneath without a second path.
One request a connection: every answer closes it.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from sokken.protocol.handshake import MAX_HEAD_BYTES, Request, format_refusal, head_end, parse_request, suspect_head
from sokken.protocol.identity import CONNECTION_ID
from sokken.protocol.outcomes import Reason, Refusal
from sokken.telemetry.logs import get_logger
from sokken.transport.channel import Channel, close_cleanly
from sokken.transport.connections import new_connection_id
from sokken.transport.leave import LEAVE_SECONDS, Leave
from sokken.transport.plane import KIB, Plane

HEAD_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 30.0
"""How long an answer waits for a reader that takes nothing of it."""
_HIGH_WATER: Final = 64 * KIB

log = get_logger("http")

ProtocolFactory = Callable[[], asyncio.Protocol]
Take = Callable[[Channel, str, bytes], object]
"""Takes a connection over: the channel, its peer, and what came behind the head."""
Upgrade = Callable[[Request], Take | None]
"""Who takes the connection of a request over; None if it is no request for an upgrade."""


class HeadReader:
    """Reads one request's head from a channel, then passes both on: to ``upgrade``, else as an ``HttpTransport``."""

    __slots__ = ("_buffer", "_channel", "_factory", "_is_done", "_is_waiting", "_peer", "_plane", "_upgrade", "due")

    def __init__(
        self, plane: Plane, channel: Channel, peer: str, factory: ProtocolFactory, upgrade: Upgrade | None = None
    ) -> None:
        self._plane = plane
        self._channel = channel
        self._peer = peer
        self._factory = factory
        self._upgrade = upgrade
        self._buffer = b""
        self.due = 0
        self._is_done = self._is_waiting = False
        self._on_readable()  # it is often here already
        if not self._is_done:
            self._is_waiting = True
            plane.wheel.wake(self, plane.wheel.refresh() + HEAD_SECONDS)
            plane.watch.read(channel, self._on_readable)

    def __repr__(self) -> str:
        return f"<HeadReader {self._peer} {len(self._buffer)} bytes>"

    def on_timer(self, now: float) -> None:  # noqa: ARG002 -- the wheel's signature
        """The time for the head is over."""
        if self._buffer:
            self._refuse(408, f"the request's head did not end within {HEAD_SECONDS:g} s")
        else:
            self._forget()

    def _on_readable(self) -> None:
        while self._read_some():
            pass

    def _read_some(self) -> bool:
        """Whether there may be more to read."""
        known = len(self._buffer)
        view = self._plane.inbound_view[: MAX_HEAD_BYTES + 1 - known]
        try:
            count = self._channel.recv_into(view)
        except BlockingIOError:
            return False
        except OSError:
            self._forget()
            return False
        self._buffer += view[:count]
        if count:
            return not self._decide(known)
        if known:
            self._refuse(400, "the connection ended within the request's head")
        else:
            self._forget()
        return False

    def _decide(self, known: int) -> bool:
        """Whether what was read decides what becomes of the connection."""
        end = head_end(self._buffer, known)
        if 0 <= end <= MAX_HEAD_BYTES and self._upgrade is not None and self._hand_over_upgrade(end, self._upgrade):
            return True
        if problem := suspect_head(self._buffer, known):
            self._refuse(400, problem)
        elif 0 <= end <= MAX_HEAD_BYTES:
            self._hand_over(end)
        elif len(self._buffer) > MAX_HEAD_BYTES:
            self._refuse(431, f"the request's head has more than {MAX_HEAD_BYTES} bytes")
        else:
            return False
        return True

    def _hand_over_upgrade(self, end: int, upgrade: Upgrade) -> bool:
        request = parse_request(self._buffer[:end])
        take = None if request is None else upgrade(request)
        if take is None:
            return False
        self._release()
        take(self._channel, self._peer, self._buffer[end:])
        return True

    def _hand_over(self, end: int) -> None:
        self._release()
        protocol = self._factory()
        transport = HttpTransport(self._plane, self._channel, self._peer, protocol)
        protocol.connection_made(transport)
        protocol.data_received(self._buffer[:end])

    def _refuse(self, status: int, detail: str) -> None:
        self._release()
        connection_id = new_connection_id()
        log.warning("bad_request", connection_id=connection_id, peer=self._peer, status=status, detail=detail)
        refusal = Refusal(Reason.BAD_REQUEST, detail, status=status)
        Leave(self._plane, self._channel, format_refusal(refusal, {CONNECTION_ID: connection_id}))

    def _forget(self) -> None:
        """Close without a word: a port scan, a probe of TCP, a browser's spare connection."""
        log.debug("connection_without_request", peer=self._peer)
        self._release()
        close_cleanly(self._channel)

    def _release(self) -> None:
        self._is_done = True
        if self._is_waiting:
            self._plane.wheel.forget(self)
            self._plane.watch.remove(self._channel)


class HttpTransport(asyncio.Transport):
    """What aiohttp sees of a channel: it can answer one request on it."""

    def __init__(self, plane: Plane, channel: Channel, peer: str, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._plane = plane
        self._channel: Channel | None = channel
        self._peer = peer
        self._protocol = protocol
        self._pending = b""
        self._is_paused = False
        self.due = 0
        plane.watch.errors(channel, self._on_error)

    def __repr__(self) -> str:
        state = "closed" if self._channel is None else "open"
        return f"<HttpTransport {self._peer} {state} pending={len(self._pending)}>"

    # asyncio.Transport: what aiohttp uses of it

    def get_extra_info(self, name: str, default: object = None) -> object:
        """``peername`` as text, and the socket."""
        found = {"peername": self._peer, "socket": self._channel}
        return found.get(name, default)

    def is_closing(self) -> bool:
        """Whether nothing more can be written."""
        return self._channel is None

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The side of aiohttp."""
        return self._protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, and keep what does not go now."""
        if self._channel is None:
            return
        if not self._pending:
            try:
                data = data[self._channel.send(data) :]
            except BlockingIOError:
                pass
            except OSError as error:
                self._lose(error)
                return
            if not data:
                return
            self._plane.watch.write(self._channel, self._on_writable)
            self._plane.wheel.wake(self, self._plane.wheel.refresh() + ANSWER_SECONDS)
        self._pending += data
        if len(self._pending) > _HIGH_WATER and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """Send what is pending, then end in order."""
        if self._channel is None:
            return
        seconds = ANSWER_SECONDS if self._pending else LEAVE_SECONDS
        Leave(self._plane, self._release(self._channel), self._pending, wait=seconds)
        self._plane.loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Reset the connection."""
        self._lose(None)

    def pause_reading(self) -> None:
        """Nothing is read behind the head anyway."""

    def resume_reading(self) -> None:
        """Nothing is read behind the head anyway."""

    def _on_writable(self) -> None:
        if self._channel is None:
            return
        try:
            sent = self._channel.send(self._pending)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        self._pending = self._pending[sent:]
        if self._pending:
            self._plane.wheel.wake(self, self._plane.wheel.refresh() + ANSWER_SECONDS)
        else:
            self._plane.wheel.forget(self)
            self._plane.watch.write(self._channel, None)
        if self._is_paused and len(self._pending) <= _HIGH_WATER // 4:
            self._is_paused = False
            self._protocol.resume_writing()

    def on_timer(self, now: float) -> None:  # noqa: ARG002 -- the wheel's signature
        """Whoever reads so slowly that nothing goes does not get the rest."""
        self._lose(ConnectionResetError(f"the client took nothing for {ANSWER_SECONDS:g} s"))

    def _on_error(self) -> None:
        self._lose(ConnectionResetError("the client has reset the connection"))

    def _lose(self, error: Exception | None) -> None:
        if self._channel is None:
            return
        self._release(self._channel).close()
        self._plane.loop.call_soon(self._protocol.connection_lost, error)

    def _release(self, channel: Channel) -> Channel:
        self._plane.wheel.forget(self)
        self._plane.watch.remove(channel)
        self._channel = None
        return channel
