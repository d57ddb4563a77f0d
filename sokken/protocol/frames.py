"""WebSocket frames (RFC 6455 section 5): headers out, a streaming decoder in.

The decoder assembles nothing: it names the places in the caller's buffer where payload lies, as soon as it lies
there, and keeps at most a partial header or a partial control message between two calls. Called by the relay for
each read; it must not copy payload.
"""

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple

from sokken.protocol.masking import Unmask, mask, rotate, unmask

MAX_CONTROL_BYTES: Final = 125
"""Payload of a control frame (RFC 6455 section 5.5), and of a notice (docs/protocol.md)."""
MAX_HEADER_BYTES: Final = 14
NO_STATUS: Final = 1005
"""Close code of a Close frame without one (RFC 6455 section 7.4.1); never sent."""

_LENGTH_16: Final = Struct("!BBH")
_LENGTH_64: Final = Struct("!BBQ")
_FIN: Final = 0x80
_RSV: Final = 0x70
_MASKED: Final = 0x80


class Opcode(IntEnum):
    """RFC 6455 section 5.2; the rest is reserved."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Code(IntEnum):
    """Close codes in use (docs/protocol.md "Close codes")."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    INVALID_TEXT = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011


class Span(NamedTuple):
    """Payload of the byte stream, unmasked: a part of the caller's buffer, or a copy (masking.py)."""

    payload: memoryview


class Notice(NamedTuple):
    """A whole TEXT message."""

    text: str


class Ping(NamedTuple):
    """To be answered with the same payload."""

    payload: bytes


class Pong(NamedTuple):
    """The answer to a ping."""

    payload: bytes


class Close(NamedTuple):
    """The peer's Close; ``code`` is NO_STATUS when it gave none."""

    code: int
    reason: str


class Violation(NamedTuple):
    """The peer broke the protocol; nothing after it is decoded. ``code`` is the Close code to answer with."""

    code: Code
    detail: str


Event = Span | Notice | Ping | Pong | Close | Violation


class _BrokenFrameError(Exception):
    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(detail)
        self.violation = Violation(code, detail)


def encode_header(opcode: Opcode, size: int, key: bytes | None = None) -> bytes:
    """The header of a final frame with ``size`` bytes of payload, masked with ``key`` if there is one."""
    masked = 0 if key is None else _MASKED
    if size < 126:
        header = bytes((_FIN | opcode, masked | size))
    elif size < 65536:
        header = _LENGTH_16.pack(_FIN | opcode, masked | 126, size)
    else:
        header = _LENGTH_64.pack(_FIN | opcode, masked | 127, size)
    return header if key is None else header + key


def encode_frame(opcode: Opcode, payload: bytes, key: bytes | None = None) -> bytes:
    """A whole small frame."""
    header = encode_header(opcode, len(payload), key)
    if key is None:
        return header + payload
    masked = bytearray(payload)
    mask(masked, 0, len(masked), key)
    return header + masked


def encode_close(code: int, reason: str, key: bytes | None = None) -> bytes:
    """A Close frame; the reason is cut to what fits, never inside a character (RFC 6455 section 5.5.1)."""
    if code == NO_STATUS:
        return encode_frame(Opcode.CLOSE, b"", key)
    text = reason.encode()[: MAX_CONTROL_BYTES - 2].decode(errors="ignore").encode()
    return encode_frame(Opcode.CLOSE, code.to_bytes(2, "big") + text, key)


class Decoder:
    """Turns reads into events; frames and messages may be cut anywhere.

    ``masked`` says whether the peer must mask (a client) or must not (a server). ``notices`` says whether TEXT
    is known to this subprotocol: without it, a TEXT message is a violation with code 1003.
    """

    __slots__ = (
        "_control",
        "_dead",
        "_final",
        "_header",
        "_key",
        "_masked",
        "_message",
        "_notice",
        "_notices",
        "_opcode",
        "_remaining",
        "_unmask",
        "_whole",
    )

    def __init__(self, *, masked: bool, notices: bool, unmask: Unmask = unmask) -> None:
        self._unmask = unmask
        self._masked = masked
        self._notices = notices
        self._whole = _WHOLE if notices else _WHOLE_WITHOUT_NOTICES
        self._header = b""  # the bytes of a header that was cut
        self._control = b""  # the payload so far of a control frame that was cut
        self._notice = b""  # the payload so far of a notice
        self._message: Opcode | None = None  # the kind of a fragmented message that is open
        self._opcode = Opcode.BINARY  # the kind of the frame whose payload is awaited
        self._final = True
        self._key: bytes | None = None
        self._remaining = 0
        self._dead = False

    def __repr__(self) -> str:
        if self._dead:
            return "<Decoder dead>"
        # Between frames the kind of the last is nothing to tell: the short way does not keep it.
        return f"<Decoder {self._opcode.name} {self._remaining} to come>" if self._remaining else "<Decoder>"

    def decode(self, buffer: bytearray, start: int, stop: int) -> list[Event]:
        """Decode ``buffer[start:stop]``; masked payload may be unmasked in place.

        Returns events in the order of the wire. Spans are valid until the buffer is filled again. A Violation or
        a Close is the last event that this decoder ever gives (RFC 6455 section 5.5.1).
        """
        events: list[Event] = []
        try:
            while start < stop and not self._dead:
                if not self._remaining:
                    if end := self._decode_small(buffer, start, stop, events):
                        start = end
                        continue
                    start = self._decode_header(buffer, start, stop, events)
                else:
                    start = self._decode_payload(buffer, start, stop, events)
        except _BrokenFrameError as error:
            self._dead = True
            events.append(error.violation)
        return events

    def _decode_small(self, buffer: bytearray, start: int, stop: int, events: list[Event]) -> int:
        """A short way for what most reads are: a whole message of up to 125 bytes, nothing open before it.

        The end of its frame; 0, and nothing done, if it is anything else.
        """
        opcode = self._whole.get(buffer[start])
        at = start + (6 if self._masked else 2)
        if opcode is None or at >= stop or self._header or self._message is not None:
            return 0
        size = buffer[start + 1] - (_MASKED if self._masked else 0)
        end = at + size
        if not 0 < size <= MAX_CONTROL_BYTES or end > stop:
            return 0
        payload = self._take(buffer, at, end, bytes(buffer[at - 4 : at]) if self._masked else None)
        if opcode is Opcode.BINARY:
            events.append(Span(payload))
        elif opcode is Opcode.TEXT:
            events.append(Notice(_decode_text(bytes(payload), "a notice")))
        else:
            self._end_control(opcode, bytes(payload), events)
        return end

    def _decode_header(self, buffer: bytearray, start: int, stop: int, events: list[Event]) -> int:
        kept = len(self._header)
        head = self._header + buffer[start : min(stop, start + MAX_HEADER_BYTES - kept)] if kept else None
        source, at, end = (head, 0, len(head)) if head is not None else (buffer, start, stop)
        size = _header_size(source, at, end)
        if size > end - at:
            self._check_first(source[at])
            if end - at >= 2:
                self._check_second(source[at], source[at + 1])
            self._header = bytes(source[at:end])
            return stop
        self._header = b""
        self._check_first(source[at])
        self._check_second(source[at], source[at + 1])
        self._open_frame(source, at, size)
        if not self._remaining:
            self._end_frame(events)
        return start + size - kept

    def _check_first(self, first: int) -> None:
        if first & _RSV:
            raise _BrokenFrameError(Code.PROTOCOL_ERROR, "a reserved bit is set (no extension was agreed)")
        opcode = first & 0x0F
        if opcode not in _OPCODES:
            raise _BrokenFrameError(Code.PROTOCOL_ERROR, f"opcode {opcode} is reserved")
        if opcode >= Opcode.CLOSE:
            if not first & _FIN:
                raise _BrokenFrameError(Code.PROTOCOL_ERROR, "a control frame is fragmented")
        elif (opcode == Opcode.CONTINUATION) != (self._message is not None):
            detail = "a continuation without a start" if self._message is None else "a message inside a message"
            raise _BrokenFrameError(Code.PROTOCOL_ERROR, detail)
        elif opcode == Opcode.TEXT and not self._notices:
            raise _BrokenFrameError(Code.UNSUPPORTED, "TEXT has no meaning in this subprotocol")

    def _check_second(self, first: int, second: int) -> None:
        if bool(second & _MASKED) != self._masked:
            detail = "a client's frame is not masked" if self._masked else "a server's frame is masked"
            raise _BrokenFrameError(Code.PROTOCOL_ERROR, detail)
        if first & 0x0F >= Opcode.CLOSE and second & 0x7F > MAX_CONTROL_BYTES:
            raise _BrokenFrameError(Code.PROTOCOL_ERROR, "a control frame has more than 125 bytes")

    def _open_frame(self, source: bytes | bytearray, at: int, size: int) -> None:
        first, length = source[at], source[at + 1] & 0x7F
        if length == 126:
            length = source[at + 2] << 8 | source[at + 3]
        elif length == 127:
            length = int.from_bytes(source[at + 2 : at + 10], "big")
            if length >> 63:
                raise _BrokenFrameError(Code.PROTOCOL_ERROR, "a length has its top bit set")
        opcode = _OPCODES[first & 0x0F]
        self._final = bool(first & _FIN)
        if opcode < Opcode.CLOSE:
            if opcode == Opcode.CONTINUATION:
                opcode = self._message or opcode
            self._message = None if self._final else opcode
            if opcode == Opcode.TEXT and len(self._notice) + length > MAX_CONTROL_BYTES:
                raise _BrokenFrameError(Code.TOO_BIG, "a notice has more than 125 bytes")
        self._opcode = opcode
        self._key = bytes(source[at + size - 4 : at + size]) if self._masked else None
        self._remaining = length

    def _decode_payload(self, buffer: bytearray, start: int, stop: int, events: list[Event]) -> int:
        end = min(stop, start + self._remaining)
        payload = self._take(buffer, start, end, self._key)
        size = end - start
        self._remaining -= size
        if self._opcode is Opcode.BINARY:
            events.append(Span(payload))
        elif self._opcode is Opcode.TEXT:
            self._notice += payload
        else:
            self._control += payload
        if self._remaining:
            if self._key is not None:
                self._key = rotate(self._key, size)
        else:
            self._end_frame(events)
        return end

    def _take(self, buffer: bytearray, start: int, stop: int, key: bytes | None) -> memoryview:
        return memoryview(buffer)[start:stop] if key is None else self._unmask(buffer, start, stop, key)

    def _end_frame(self, events: list[Event]) -> None:
        if self._opcode is Opcode.BINARY:
            return
        if self._opcode is Opcode.TEXT:
            if self._final:
                text, self._notice = _decode_text(self._notice, "a notice"), b""
                events.append(Notice(text))
            return
        payload, self._control = self._control, b""
        self._end_control(self._opcode, payload, events)

    def _end_control(self, opcode: Opcode, payload: bytes, events: list[Event]) -> None:
        event = _CONTROL[opcode](payload)
        self._dead = isinstance(event, Close)
        events.append(event)


_OPCODES: Final = {int(opcode): opcode for opcode in Opcode}
_WHOLE: Final = {_FIN | opcode: opcode for opcode in Opcode if opcode is not Opcode.CONTINUATION}
"""By the first byte of their frame: messages that are whole in one."""
_WHOLE_WITHOUT_NOTICES: Final = {first: opcode for first, opcode in _WHOLE.items() if opcode is not Opcode.TEXT}


def _header_size(source: bytes | bytearray, at: int, end: int) -> int:
    if end - at < 2:
        return MAX_HEADER_BYTES
    second = source[at + 1]
    length = second & 0x7F
    extended = 8 if length == 127 else 2 if length == 126 else 0
    return 2 + extended + (4 if second & _MASKED else 0)


def _decode_text(payload: bytes, what: str) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise _BrokenFrameError(Code.INVALID_TEXT, f"{what} is not UTF-8") from None


def _decode_close(payload: bytes) -> Close:
    if not payload:
        return Close(NO_STATUS, "")
    if len(payload) == 1:
        raise _BrokenFrameError(Code.PROTOCOL_ERROR, "a Close of one byte")
    code = int.from_bytes(payload[:2], "big")
    # RFC 6455 section 7.4: below 1000 is unused, 1004 to 1006 and 1015 never travel, above 4999 is undefined.
    if not 1000 <= code < 5000 or code in {1004, 1005, 1006, 1015}:
        raise _BrokenFrameError(Code.PROTOCOL_ERROR, f"Close code {code} may not be sent")
    return Close(code, _decode_text(payload[2:], "a Close reason"))


_CONTROL: Final[dict[Opcode, Callable[[bytes], Ping | Pong | Close]]] = {
    Opcode.PING: Ping,
    Opcode.PONG: Pong,
    Opcode.CLOSE: _decode_close,
}
