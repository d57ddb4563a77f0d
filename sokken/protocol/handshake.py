"""The opening handshake of RFC 6455 section 4: requests and answers, from values to bytes and back.

The client writes its requests and reads answers with it, the server validates requests and writes answers.
Text and bytes only: no randomness (keys are passed in), no waiting, no deciding who may have which target.
What a peer sent is bounded and is quoted in errors with control characters escaped.
"""

import json
import re
from binascii import b2a_base64
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import sha1
from http import HTTPStatus
from typing import Final, NamedTuple, Self
from urllib.parse import unquote

from sokken.errors import SokkenError
from sokken.protocol.address import ServerUrl
from sokken.protocol.identity import REASON
from sokken.protocol.outcomes import Reason, Refusal, problem_document

MAX_HEAD_BYTES: Final = 16384
SERVER: Final = "sokken"
"""And no version: who attacks need not be told."""
PROBLEM_TYPE: Final = "application/problem+json"
SUBPROTOCOL_V2: Final = "sokken.v2"
SUBPROTOCOL_V1: Final = "sokken"

_OFFER = f"{SUBPROTOCOL_V2}, {SUBPROTOCOL_V1}"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_FOREIGN = {
    b"\x16": "this is TLS, but plain HTTP is spoken here: use ws:// or http://",  # RFC 8446 section 5.1
    b"PRI * HTTP/2.0": "this is HTTP/2, but HTTP/1.1 is spoken here",  # RFC 9113 section 3.4
    b"PROXY ": "this is the PROXY protocol, but HTTP is spoken here",
    b"\r\n\r\n\0\r\nQUIT\n": "this is the PROXY protocol, but HTTP is spoken here",
}
_METHOD_BYTES = 32  # the longest method in use has 17 (RFC 4437)
_WORD_BYTES = 16
_MAX_FIELDS = 128
_QUOTED = 100

_is_key = re.compile(r"[A-Za-z0-9+/]{22}==").fullmatch  # 16 bytes in base64
_is_status_line = re.compile(r"HTTP/1\.[01] ([1-5][0-9]{2})(?: (.*))?").fullmatch
_read_request_line = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!\"$-~]+) HTTP/1\.([01])").fullmatch
_is_absolute = re.compile(r"https?://(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(/.*)").fullmatch
_is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110 section 5.6.2
_is_method_start = re.compile(rb"\Z|[!#$%%&'*+.^_`|~0-9A-Za-z-]{1,%d}(?:\Z| )" % _METHOD_BYTES).match
_is_request_line = re.compile(rb"[^ ]+ [!\"$-~]+ HTTP/1\.[01]\r\n").match  # a target has no "#" (RFC 9112 section 3.2)
_has_bare_lf = re.compile(rb"(?<!\r)\n").search
_has_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
_replace_c1 = re.compile(r"[\x80-\x9f]").sub


class HandshakeError(SokkenError):
    """What answered is no sokken server, or what lies in between spoils the handshake."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Fields(Mapping[str, str]):
    """The header fields of a request; names in any case, ``getall`` for one that is repeated."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        """``values`` has the names in lower case, and for each at least one value."""
        self._values = values

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        """Collect names and values as they came."""
        values: dict[str, list[str]] = {}
        for name, value in pairs:
            values.setdefault(name.lower(), []).append(value)
        return cls(values)

    def __repr__(self) -> str:
        return f"<Fields {', '.join(self._values)}>"  # the values may be secrets

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()][0]

    def __contains__(self, name: object) -> bool:
        return str(name).lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """The first value."""
        found = self._values.get(name.lower())
        return default if found is None else found[0]

    def getall(self, name: str, default: Sequence[str] = ()) -> Sequence[str]:
        """All values, in their order."""
        return self._values.get(name.lower(), default)


class Request(NamedTuple):
    """The head of an HTTP request; ``target`` is as the request line has it, ``version`` HTTP's."""

    method: str
    target: str
    version: tuple[int, int]
    fields: Fields


class Answer(NamedTuple):
    """The head of an HTTP answer; the keys are in lower case, repeated fields are joined by ``, ``."""

    status: int
    phrase: str
    headers: Mapping[str, str]


def accept_key(key: str) -> str:
    """Derive Sec-WebSocket-Accept from Sec-WebSocket-Key (RFC 6455 section 4.2.2)."""
    digest = sha1(key.encode("latin-1") + _GUID, usedforsecurity=False).digest()
    return b2a_base64(digest, newline=False).decode("ascii")


def format_upgrade_request(url: ServerUrl, key: str, headers: Mapping[str, str]) -> bytes:
    """Write the request for a tunnel; ``key`` is 16 unpredictable bytes in base64.

    Raises ValueError if a part is anything but printable ASCII.
    """
    return _encode_head(
        f"GET {url.path} HTTP/1.1",
        {
            "Host": url.authority,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Protocol": _OFFER,
            **headers,
        },
    )


def format_check_request(url: ServerUrl, headers: Mapping[str, str]) -> bytes:
    """Write the request that asks whether a tunnel would be let in; raises ValueError as above."""
    return _encode_head(f"HEAD {url.path} HTTP/1.1", {"Host": url.authority, "Connection": "close", **headers})


def head_end(buffer: bytes | bytearray, searched: int = 0) -> int:
    """Find the index after the head's blank line, or -1 while it is incomplete.

    ``searched`` is how long the buffer was at an earlier call that answered -1: that part is not searched
    again. Only CRLF ends a line. RFC 9112 section 2.2 lets a recipient take a bare LF, but neither
    ``parse_answer`` nor aiohttp does: a proxy and a server that differ about it see different requests.
    """
    found = buffer.find(b"\r\n\r\n", max(0, searched - 3))
    return found if found < 0 else found + 4


def suspect_head(buffer: bytes | bytearray, searched: int = 0) -> str | None:
    """Say why these first bytes can never become an HTTP/1 request; None while they may.

    A whole head that is not suspect has a request line; its fields are for the HTTP server to judge, and what
    follows is anything. ``searched`` is as for ``head_end``.
    """
    for start, problem in _FOREIGN.items():
        if buffer.startswith(start):
            return problem
    if not _is_method_start(buffer):
        return f"no HTTP request starts with {_first_word(buffer)!r}"
    end = head_end(buffer, searched)
    if _has_bare_lf(buffer, searched, end if end >= 0 else len(buffer)):
        return "a line ends with LF alone, where HTTP has CRLF"
    if b"\n" in buffer and not _is_request_line(buffer):
        return f"no HTTP/1 request line: it starts with {_first_word(buffer)!r}"
    return None


def _first_word(buffer: bytes | bytearray) -> bytes:
    """What tells which protocol it is; what follows may be a password (``AUTH me secret``)."""
    return bytes(buffer[:_WORD_BYTES]).partition(b" ")[0]


def parse_request(head: bytes) -> Request | None:
    """Read the head of a request, its blank line included; None for what is malformed in any way.

    Strict: a request that needs leniency is for the HTTP server to judge, or to say what is wrong with.
    """
    lines = head[:-4].decode("latin-1").split("\r\n")
    start = _read_request_line(lines[0])
    if start is None or len(lines) > _MAX_FIELDS or not head.endswith(b"\r\n\r\n"):
        return None
    values: dict[str, list[str]] = {}
    for line in lines[1:]:
        field = _parse_field(line)
        if field is None:
            return None
        values.setdefault(field[0], []).append(field[1])
    if len(values.get("host", ())) != 1 or _announces_body(values):  # RFC 9112 section 3.2
        return None
    return Request(start[1], start[2], (1, int(start[3])), Fields(values))


def _announces_body(values: Mapping[str, Sequence[str]]) -> bool:
    """Whether bytes behind the head could be taken for a body by who stands in front, and for frames here."""
    return (
        "transfer-encoding" in values or "expect" in values or any(v != "0" for v in values.get("content-length", ()))
    )


@lru_cache(maxsize=256)
def _parse_field(line: str) -> tuple[str, str] | None:
    """A field's name in lower case, and its value; None for what is malformed.

    A fold (RFC 9112 section 5.2) or a space before the colon (section 5.1) makes the name no token. Cached: most
    lines of a peer's heads are the same each time.
    """
    name, colon, value = line.partition(":")
    if not colon or not _is_token(name) or _has_control(value):
        return None
    return name.lower(), value.strip(" \t")


def find_target(request_target: str, prefix: str) -> str | None:
    """What the path of a request asks to dial, decoded, as claimed; None if it does not start with ``prefix``.

    The form may be absolute (RFC 9112 section 3.2.2); a query says nothing.
    """
    path = request_target.partition("?")[0]
    if not path.startswith("/"):
        absolute = _is_absolute(path)
        path = absolute[1] if absolute else ""
    if not path.startswith(prefix):
        return None
    asked = path[len(prefix) :]
    return unquote(asked) if "%" in asked else asked


def parse_answer(head: bytes | bytearray) -> Answer:
    """Read the head of an answer, its blank line included; raises HandshakeError.

    Fields are decoded as Latin-1. A control character other than a tab is an error, and what would be one
    on a terminal (0x80 to 0x9f, legal by RFC 9110 section 5.5) becomes U+FFFD.
    """
    if len(head) > MAX_HEAD_BYTES or not head.endswith(b"\r\n\r\n"):
        raise HandshakeError(f"the answer's head does not end within {MAX_HEAD_BYTES} bytes")
    lines = head[:-4].decode("latin-1").split("\r\n")
    if not "".join(lines).isprintable():
        lines = _refuse_control(lines)
    status_line = _is_status_line(lines[0])
    if status_line is None:
        raise HandshakeError(f"the answer is no HTTP/1: it starts with {_quote(lines[0])}")
    if len(lines) > _MAX_FIELDS:
        raise HandshakeError(f"the answer has more than {_MAX_FIELDS - 1} header fields")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        field = _parse_field(line)
        if field is None:
            raise HandshakeError(f"the answer has a malformed header field: {_quote(line)}")
        name, value = field
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Answer(int(status_line[1]), status_line[2] or "", headers)


def verify_upgrade(answer: Answer, key: str) -> str:
    """Check that the answer opens the WebSocket (RFC 6455 section 4.1); gives the subprotocol.

    ``key`` is what the request held. Raises HandshakeError.
    """
    get = answer.headers.get
    if answer.status != HTTPStatus.SWITCHING_PROTOCOLS:
        raise HandshakeError(f"the answer is {answer.status}, not 101")
    if not _has_token(get("upgrade", ""), "websocket") or not _has_token(get("connection", ""), "upgrade"):
        raise HandshakeError("the answer is 101 without the upgrade to a WebSocket")
    if get("sec-websocket-accept") != accept_key(key):
        raise HandshakeError("Sec-WebSocket-Accept is wrong: perhaps an HTTP cache or proxy answered")
    if get("sec-websocket-extensions"):
        raise HandshakeError("the server uses WebSocket extensions that were not offered")
    subprotocol = get("sec-websocket-protocol", "")
    if subprotocol not in {SUBPROTOCOL_V2, SUBPROTOCOL_V1}:
        raise HandshakeError(f"the server speaks none of {_OFFER}, but {_quote(subprotocol)}: is it sokken?")
    return subprotocol


@lru_cache(maxsize=64)
def select_subprotocol(offered: str | None) -> str | None:
    """Choose from the values of Sec-WebSocket-Protocol, joined by commas; None if none is ours."""
    if offered is None:
        return None
    names = {name.strip(" \t") for name in offered.split(",")}
    return next((ours for ours in (SUBPROTOCOL_V2, SUBPROTOCOL_V1) if ours in names), None)


def validate_origin(headers: Mapping[str, str], allowed_origins: Collection[str]) -> None:
    """Refuse a page's request (it has an Origin) unless that origin is allowed; raises Refusal."""
    origin = headers.get("Origin")
    if origin is not None and origin not in allowed_origins:
        raise Refusal(Reason.FORBIDDEN_ORIGIN, f"requests of pages from {_quote(origin)} are not allowed")


def validate_upgrade_request(
    version: tuple[int, int], headers: Mapping[str, str], allowed_origins: Collection[str]
) -> tuple[str, str]:
    """Check a request for a tunnel (RFC 6455 section 4.2.1); gives its key and the subprotocol to use.

    ``version`` is HTTP's. Names are looked up as the RFC spells them: the mapping ignores case, and if it
    has ``getall`` (as aiohttp's), repeated fields count too. Raises Refusal.
    """
    validate_origin(headers, allowed_origins)
    if version < (1, 1):
        raise _bad_request("a tunnel needs HTTP/1.1")
    _require_upgrade(*[_joined(headers, name) for name in ("Upgrade", "Connection", "Sec-WebSocket-Version")])
    key = _joined(headers, "Sec-WebSocket-Key")
    if not _is_key(key):
        raise _bad_request("Sec-WebSocket-Key must be 16 bytes in base64")
    subprotocol = select_subprotocol(_joined(headers, "Sec-WebSocket-Protocol"))
    if subprotocol is None:
        raise _bad_request(f"Sec-WebSocket-Protocol must offer one of {_OFFER}")
    return key, subprotocol


@lru_cache(maxsize=64)
def _require_upgrade(upgrade: str, connection: str, version: str) -> None:
    """Raise Refusal unless these values ask for a WebSocket. Cached: nearly all have the same."""
    if not _has_token(upgrade, "websocket"):
        raise _bad_request("this is the address of a tunnel: open it with a WebSocket (Upgrade: websocket)")
    if not _has_token(connection, "upgrade"):
        raise _bad_request("Connection: Upgrade is missing: perhaps a proxy in between removed it")
    if version != "13":
        raise _bad_request("Sec-WebSocket-Version must be 13")


def format_switching_protocols(key: str, subprotocol: str, headers: Mapping[str, str]) -> bytes:
    """Write the answer that opens the WebSocket; raises ValueError unless all is printable ASCII."""
    return _encode_head(
        "HTTP/1.1 101 Switching Protocols",
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_key(key),
            "Sec-WebSocket-Protocol": subprotocol,
            **headers,
        },
    )


def format_refusal(refusal: Refusal, headers: Mapping[str, str]) -> bytes:
    """Write a whole answer instead of a tunnel (RFC 9457); raises ValueError as above."""
    return format_problem(problem_document(refusal), {**refusal_fields(refusal), **headers})


def refusal_fields(refusal: Refusal) -> dict[str, str]:
    """The header fields that say of a refusal what its problem document says."""
    fields = {REASON: refusal.reason.value}
    if refusal.retry_after is not None:
        fields["Retry-After"] = str(refusal.retry_after)
    if refusal.reason is Reason.UNAUTHENTICATED:
        fields["WWW-Authenticate"] = "Bearer"  # RFC 9110 section 11.6.1
    return fields


def format_problem(document: Mapping[str, str | int], headers: Mapping[str, str]) -> bytes:
    """Write a whole answer that is a problem document, which has a ``status``; raises ValueError as above."""
    body = json.dumps(document).encode("ascii")
    status = HTTPStatus(int(document["status"]))
    fields = {
        "Content-Type": PROBLEM_TYPE,
        "Content-Length": str(len(body)),
        "Server": SERVER,
        "Connection": "close",
    }
    return _encode_head(f"HTTP/1.1 {status.value} {status.phrase}", {**fields, **headers}) + body


def _encode_head(start: str, headers: Mapping[str, str]) -> bytes:
    lines = [start, *(f"{name}: {value}" for name, value in headers.items())]
    # A CR or LF from outside would be a second header, or a second request.
    if not _is_plain("".join(lines)):
        culprit = next(line for line in lines if not _is_plain(line))
        # The name alone: the value may be a secret.
        raise ValueError(f"a head must be printable ASCII, unlike {culprit.partition(':')[0]!r}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _refuse_control(lines: list[str]) -> list[str]:
    for line in lines:
        if _has_control(line):
            raise HandshakeError(f"the answer's head holds a control character: {_quote(line)}")
    return [_replace_c1("\ufffd", line) for line in lines]


def _joined(headers: Mapping[str, str], name: str) -> str:
    getall = getattr(headers, "getall", None)
    return headers.get(name, "") if getall is None else ",".join(getall(name, ()))


def _has_token(value: str, token: str) -> bool:
    value = value.lower()
    return value == token or token in {part.strip(" \t") for part in value.split(",")}


def _bad_request(detail: str) -> Refusal:
    return Refusal(Reason.BAD_REQUEST, detail)


def _quote(text: str) -> str:
    """Bound and escape what a peer sent, so that a log or a terminal may show it."""
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")
