"""One open WebSocket in the doctor's hands: frames out, events in, and how it ended.

Called by the walk in place of a relay, which has no use for its own pings' times. It answers the server's pings.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from sokken.doctor.judge_tunnel import Echo, End, Ending
from sokken.protocol.frames import (
    Close,
    Code,
    Decoder,
    Event,
    Notice,
    Opcode,
    Ping,
    Pong,
    Span,
    Violation,
    encode_close,
    encode_frame,
    encode_header,
)
from sokken.protocol.handshake import SUBPROTOCOL_V2
from sokken.protocol.session import EOF
from sokken.transport.channel import Channel, close_cleanly, wait_ready
from sokken.transport.plane import KIB, Plane

_BUFFER_BYTES: Final = 256 * KIB
_FAREWELL_SECONDS: Final = 1.0
_CHUNK_BYTES: Final = 512 * KIB


class _Tally:
    """How many bytes there were, and which."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = sha256()

    def add(self, data: bytes | memoryview) -> None:
        """Count more."""
        self.size += len(data)
        self._hash.update(data)

    def digest(self) -> bytes:
        """Of all of them, in order."""
        return self._hash.digest()


class Line:
    """A WebSocket over ``channel``; ``tail`` is what has come behind the answer that opened it."""

    def __init__(self, plane: Plane, channel: Channel, subprotocol: str, tail: bytes) -> None:
        self._plane = plane
        self._channel = channel
        self._decoder = Decoder(masked=False, notices=subprotocol == SUBPROTOCOL_V2, unmask=plane.unmask)
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._tail = tail
        self._writing = asyncio.Lock()
        self._has_notices = subprotocol == SUBPROTOCOL_V2
        self._has_ended = False
        self.ending: Ending | None = None
        self.target_has_ended = False

    def __repr__(self) -> str:
        return f"<Line {self.ending or 'open'}>"

    async def ping(self, seconds: float) -> float | None:
        """Seconds until a ping is answered; None if it is not within ``seconds``, or the line has ended."""
        payload, began = os.urandom(8), self._plane.loop.time()
        try:
            async with asyncio.timeout(seconds):
                await self._send_control(Opcode.PING, payload)
                while self.ending is None:
                    if Pong(payload) in await self.receive():
                        return self._plane.loop.time() - began
        except TimeoutError:
            pass
        return None

    async def hold(self, seconds: float, ping_every: float | None) -> float:
        """Let nothing move for ``seconds``, but pings if so wanted; gives how long that went well."""
        began = self._plane.loop.time()
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
                pinging = tasks.create_task(self._ping_on(ping_every)) if ping_every else None
                while self.ending is None:
                    await self.receive()
                if pinging is not None:
                    pinging.cancel()
        except TimeoutError:
            pass
        return self._plane.loop.time() - began

    async def send_back(self, seconds: float, size: int | None, message_bytes: int) -> Echo:
        """Send ``size`` bytes, or as many as go within half of ``seconds``, end, and compare what comes back."""
        loop, sent, received = self._plane.loop, _Tally(), _Tally()
        began = loop.time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(self._send_on(sent, size, began + seconds / 2, message_bytes))
                while self.ending is None and not self.target_has_ended:
                    for event in await self.receive():
                        if isinstance(event, Span):
                            received.add(event.payload)
                sending.cancel()
        has_ended, is_same = self.target_has_ended, sent.digest() == received.digest()
        ending = None if has_ended else self.ending
        return Echo(sent.size, received.size, is_same, has_ended, loop.time() - began, ending)

    async def _send_on(self, sent: "_Tally", size: int | None, until: float, message_bytes: int) -> None:
        chunk = os.urandom(min(message_bytes, _CHUNK_BYTES, size or _CHUNK_BYTES))
        while sent.size < size if size is not None else self._plane.loop.time() < until:
            part = chunk if size is None else chunk[: size - sent.size]
            sent.add(part)
            if not await self._send_message(part):
                return
            await asyncio.sleep(0)  # what comes back is read meanwhile
        await self._finish()

    async def receive(self) -> list[Event]:
        """What has come, once something has; nothing when the line has ended. Spans hold until the next call."""
        try:
            count = await self._fill()
        except OSError:
            count = 0
        if not count:
            self._end(Ending(End.CUT))
            return []
        events = self._decoder.decode(self._buffer, 0, count)
        for event in events:
            match event:
                case Ping(payload):
                    await self._send_control(Opcode.PONG, payload)
                case Notice(text):
                    self._notice(text)
                case Close(code, reason):
                    self._end(Ending(End.CLOSED, reason, code))
                case Violation(_, detail):
                    self._end(Ending(End.VIOLATION, detail))
        return events

    async def close(self) -> None:
        """End in order, so that no log tells of a loss, as far as the target ends, too, within a moment."""
        try:
            if self._has_notices:
                await self._finish()
                await self._read_while(lambda: not self.target_has_ended)
            await self._send(encode_close(Code.NORMAL, "", self._plane.keys()))
            await self._read_while(lambda: True)
        finally:
            close_cleanly(self._channel)

    async def _read_while(self, is_wanted: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while self.ending is None and is_wanted():
                    await self.receive()

    async def _finish(self) -> None:
        """End this end's direction, once."""
        if not self._has_ended:
            self._has_ended = True
            await self._send_control(Opcode.TEXT, EOF.encode())

    async def _ping_on(self, every: float) -> None:
        while True:
            await asyncio.sleep(every)
            await self._send_control(Opcode.PING, b"")

    def _notice(self, text: str) -> None:
        verb, _, argument = text.partition(" ")
        if verb == EOF:
            self.target_has_ended = True
        elif verb == "abort":
            self._end(Ending(End.ABORTED, argument))

    def _end(self, ending: Ending) -> None:
        self.ending = self.ending or ending

    async def _fill(self) -> int:
        if self._tail:
            count = min(len(self._tail), _BUFFER_BYTES)
            self._buffer[:count], self._tail = self._tail[:count], self._tail[count:]
            return count
        while True:
            try:
                return self._channel.recv_into(self._view)
            except BlockingIOError:
                await wait_ready(self._plane.loop, self._channel)

    async def _send_message(self, payload: bytes) -> bool:
        key, masked = self._plane.keys(), bytearray(payload)
        self._plane.mask(masked, 0, len(masked), key)
        return await self._send(encode_header(Opcode.BINARY, len(masked), key) + masked)

    async def _send_control(self, opcode: Opcode, payload: bytes) -> None:
        await self._send(encode_frame(opcode, payload, self._plane.keys()))

    async def _send(self, data: bytes) -> bool:
        """Send all of it; False if that failed, and reading tells why."""
        async with self._writing:
            view = memoryview(data)
            try:
                while view:
                    try:
                        view = view[self._channel.send(view) :]
                    except BlockingIOError:
                        await wait_ready(self._plane.loop, self._channel, to_write=True)
            except OSError:
                return False
        return True
