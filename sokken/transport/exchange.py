"""One HTTP request on a channel and the head of its answer: all the HTTP that a client's tunnels need.

A general HTTP client costs more per connection than everything else in an upgrade, and, with TLS, would keep the
socket (docs/architecture.md).
"""

import asyncio
import contextlib
import socket
from typing import Final

from sokken.protocol.handshake import MAX_HEAD_BYTES, Answer, HandshakeError, head_end, parse_answer
from sokken.transport.channel import Channel, TlsChannel
from sokken.transport.nested_tls import NestedTlsChannel
from sokken.transport.plane import Plane

BODY_SECONDS: Final = 1.0
MAX_BODY_BYTES: Final = 16384
_SWITCHING: Final = 101
_OK: Final = 200


async def exchange(plane: Plane, channel: Channel, request: bytes) -> tuple[Answer, bytes]:
    """Send ``request``, read the head of the answer; gives it, and what came behind it.

    Raises HandshakeError for what is no HTTP answer, and OSError when the connection ends before there is one.
    After a 101 the channel stays watched, for whoever takes it over.
    """
    is_handed_over = False
    try:
        await _send(plane, channel, request)
        rest = b""
        while True:
            head, rest = await _receive_head(plane, channel, rest)
            answer = parse_answer(head)
            is_handed_over = answer.status == _SWITCHING
            if answer.status >= _OK or is_handed_over:  # others are interim (RFC 9110 section 15.2)
                return answer, rest
    finally:
        if not is_handed_over:
            plane.watch.remove(channel)


def send_at_once(channel: Channel, request: bytes) -> bytes:
    """Send what goes without waiting; gives the rest, which ``exchange`` sends."""
    try:
        return request[channel.send(request) :]
    except BlockingIOError:
        return request


async def read_body(plane: Plane, channel: Channel, answer: Answer, start: bytes) -> bytes:
    """What comes of a refusal's body within a second: it only explains, so less will do."""
    length = answer.headers.get("content-length", "")
    is_small = length.isascii() and length.isdecimal() and len(length) <= len(str(MAX_BODY_BYTES))
    size = min(int(length), MAX_BODY_BYTES) if is_small else MAX_BODY_BYTES
    body = start
    try:
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(BODY_SECONDS):
                while len(body) < size and (more := await _receive(plane, channel, size - len(body))):
                    body += more
    finally:
        plane.watch.remove(channel)
    return body[:size]


async def _receive_head(plane: Plane, channel: Channel, buffer: bytes) -> tuple[bytes, bytes]:
    known = 0
    while (end := head_end(buffer, known)) < 0:
        known = len(buffer)
        if known > MAX_HEAD_BYTES:
            raise HandshakeError(f"the answer's head has more than {MAX_HEAD_BYTES} bytes")
        more = await _receive(plane, channel, MAX_HEAD_BYTES)
        if not more:
            advice = "" if isinstance(channel, TlsChannel | NestedTlsChannel) else "; if it expects TLS, use wss://"
            raise ConnectionResetError(f"it ended before there was an answer{advice}")
        buffer += more
    return buffer[:end], buffer[end:]


async def _send(plane: Plane, channel: Channel, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[channel.send(view) :]
        except BlockingIOError:
            await plane.watch.writable(channel)


async def _receive(plane: Plane, channel: Channel, size: int) -> bytes:
    if type(channel) is socket.socket:  # an answer takes time; TLS may hold bytes that raise no event
        await plane.watch.readable(channel)
    while True:
        try:
            count = channel.recv_into(plane.inbound_view[:size])
        except BlockingIOError:
            await plane.watch.readable(channel)
        else:
            return bytes(plane.inbound_view[:count])
