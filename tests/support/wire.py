"""WebSockets by hand over plain sockets: every frame and every head as one likes, right or wrong.

Shares nothing with sokken.protocol, so that a mistake there cannot hide here.
"""

import base64
import hashlib
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import Self

from tests.support.targets import PATIENCE, connect, reset

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    masked: bool,
    fin: bool = True,
    rsv: int = 0,
    length: int | None = None,
    width: int | None = None,
) -> bytes:
    """A frame. ``length`` is what its header claims, ``width`` (0, 2 or 8 bytes) how; both are right by default."""
    length = len(payload) if length is None else length
    if width is None:
        width = 0 if length < 126 else 2 if length < 65536 else 8
    short = {0: length, 2: 126, 8: 127}[width]
    header = bytes((fin << 7 | rsv << 4 | opcode, masked << 7 | short)) + length.to_bytes(8, "big")[8 - width :]
    if not masked:
        return header + payload
    key = os.urandom(4)
    return header + key + mask(payload, key)


def mask(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask (RFC 6455 section 5.3)."""
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")


def close_payload(code: int | None, reason: str = "") -> bytes:
    return b"" if code is None else struct.pack("!H", code) + reason.encode()


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes
    fin: bool
    masked: bool

    @property
    def code(self) -> int | None:
        """Of a Close; None if it has none."""
        assert self.opcode == CLOSE, self
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else None


class Wire:
    """One end of a WebSocket. ``masks`` says whether this end is a client."""

    def __init__(self, sock: socket.socket, rest: bytes = b"", *, masks: bool) -> None:
        self.sock = sock
        self.masks = masks
        self._rest = bytearray(rest)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, opcode: int, payload: bytes = b"", **odd: object) -> None:
        """A frame; ``odd`` as for ``frame``."""
        self.sock.sendall(frame(opcode, payload, **{"masked": self.masks, **odd}))

    def send_close(self, code: int | None, reason: str = "") -> None:
        self.send(CLOSE, close_payload(code, reason))

    def receive(self) -> Frame:
        """The next frame, which must be masked as RFC 6455 section 5.3 says, and have no extension's bits."""
        first, second = self._take(2)
        width = {126: 2, 127: 8}.get(second & 127, 0)
        size = int.from_bytes(self._take(width), "big") if width else second & 127
        key = self._take(4) if second & 128 else bytes(4)
        received = Frame(first & 15, mask(self._take(size), key), bool(first & 128), bool(second & 128))
        assert not first & 0x70
        assert received.masked is not self.masks
        return received

    def receive_bytes(self, size: int) -> bytes:
        """The payload of BINARY messages up to ``size``; nothing else may come between."""
        data = b""
        while len(data) < size:
            received = self.receive()
            assert received.opcode == BINARY, received
            data += received.payload
        assert len(data) == size
        return data

    def receive_end(self) -> None:
        """Nothing more may come, and the TCP connection must end in order; ends it from here, too."""
        assert not self._rest
        assert self.sock.recv(1) == b""
        self.sock.close()

    def receive_close(self, code: int | None) -> str:
        """The next frame must be this Close, then an orderly end; gives the reason."""
        received = self.receive()
        assert received.code == code
        self.receive_end()
        return received.payload[2:].decode()

    def reset(self) -> None:
        reset(self.sock)

    def _take(self, size: int) -> bytes:
        while len(self._rest) < size:
            part = self.sock.recv(65536)
            assert part, f"the connection ended within a frame: {bytes(self._rest)!r}"
            self._rest += part
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken


@dataclass
class Head:
    """The start line and the fields (names in lower case) of a request or an answer, and what came behind it."""

    start: str
    fields: dict[str, str]
    rest: bytes
    sock: socket.socket = field(repr=False)

    @property
    def status(self) -> int:
        return int(self.start.split(" ")[1])

    @property
    def method(self) -> str:
        return self.start.split(" ")[0]

    @property
    def path(self) -> str:
        return self.start.split(" ")[1]


def receive_head(sock: socket.socket) -> Head:
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            raise ConnectionError(f"the connection ended within a head: {data!r}")
        data += part
    head, _, rest = data.partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Head(start, fields, rest, sock)


def format_head(start: str, fields: dict[str, str]) -> bytes:
    return "\r\n".join([start, *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode()


def accept_key(key: str) -> str:
    """RFC 6455 section 4.2.2."""
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def open_tunnel(
    server: tuple[str, int], path: str, subprotocol: str | None = "sokken.v2", tail: bytes = b"", **fields: str
) -> tuple[Head, Wire]:
    """Ask a server for a tunnel; ``tail`` goes in one segment with the request. ``_`` in a field's name is ``-``."""
    key = base64.b64encode(os.urandom(16)).decode()
    sock = connect(server)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    default = {
        "Host": "tunnel.test",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Version": "13",
    }
    if subprotocol is not None:
        default["Sec-WebSocket-Protocol"] = subprotocol
    asked = {name.replace("_", "-"): value for name, value in fields.items()}
    sock.sendall(format_head(f"GET {path} HTTP/1.1", default | asked) + tail)
    answer = receive_head(sock)
    if answer.status == 101:
        assert answer.fields["sec-websocket-accept"] == accept_key(key)
    return answer, Wire(sock, answer.rest, masks=True)


def accept_tunnel(request: Head, subprotocol: str | None = "sokken.v2", tail: bytes = b"", **fields: str) -> Wire:
    """Answer a client's request with 101; ``tail`` goes in one segment with the answer. An empty field is left out."""
    default = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Accept": accept_key(request.fields["sec-websocket-key"]),
    }
    if subprotocol is not None:
        default["Sec-WebSocket-Protocol"] = subprotocol
    default |= {name.replace("_", "-"): value for name, value in fields.items()}
    given = {name: value for name, value in default.items() if value}
    request.sock.sendall(format_head("HTTP/1.1 101 Switching Protocols", given) + tail)
    request.sock.settimeout(PATIENCE)
    return Wire(request.sock, request.rest, masks=False)
