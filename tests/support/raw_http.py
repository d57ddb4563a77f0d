"""HTTP requests by hand, right or wrong, and answers read to their very end.

Shares nothing with sokken.protocol, so that a mistake there cannot hide here.
"""

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.support.targets import PATIENCE, receive_all

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 section 1.3
PROBLEM = "application/problem+json"

Field = tuple[str, str]


@dataclass(frozen=True)
class Answer:
    """A whole one; the fields' names are in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The body of a refusal, which must be a problem document that agrees with the head."""
        assert self.fields["content-type"] == PROBLEM, self
        document = json.loads(self.body)
        assert document["status"] == self.status
        assert document["reason"] == self.fields["sokken-reason"]
        return document


def request(path: str | bytes = "/health", method: str = "GET", version: str = "HTTP/1.1", *fields: Field) -> bytes:
    """A head. There is a Host, unless ``fields`` have one; a field whose value is empty is left out."""
    given = {name.lower() for name, _ in fields}
    default = [] if "host" in given else [("Host", "server.test")]
    lines = [f"{name}: {value}" for name, value in [*default, *fields] if value]
    target = path if isinstance(path, bytes) else path.encode()
    return b" ".join([method.encode(), target, version.encode()]) + "\r\n".join(["", *lines, "", ""]).encode("latin-1")


def upgrade(path: str | bytes, *fields: Field, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
    """A request for a tunnel; ``fields`` replace, add, or (empty) leave out."""
    default = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Protocol": "sokken.v2, sokken",
    }
    given = {name.lower() for name, _ in fields}
    rest = [(name, value) for name, value in default.items() if name.lower() not in given]
    return request(path, method, version, *rest, *fields)


def exchange(api: tuple[str, int], data: bytes | Iterable[bytes], *, end: bool = False) -> Answer:
    """Send, piece by piece; read one answer, which must be whole and followed by an orderly end."""
    with socket.create_connection(api, PATIENCE) as sock:
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [data] if isinstance(data, bytes) else data:
            sock.sendall(piece)
        if end:
            sock.shutdown(socket.SHUT_WR)
        return parse_answer(receive_all(sock))


def parse_answer(data: bytes) -> Answer:
    """One answer and nothing else."""
    head, blank, body = data.partition(b"\r\n\r\n")
    assert blank, f"no whole head: {data!r}"
    start, *lines = head.decode("ascii").split("\r\n")
    version, status, _ = start.split(" ", 2)
    assert version in {"HTTP/1.1", "HTTP/1.0"}
    fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert len(fields) == len(lines), lines
    return Answer(int(status), fields, body)
