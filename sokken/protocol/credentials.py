"""Credentials as text: what proves who a client is, and the header fields that carry it.

The client sends them, the server reads them; files and settings are parsed here too. No message quotes a secret,
and nothing here decides whether somebody is let in.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Any, Final

from sokken.protocol.identity import Identity, is_claim

AUTHORIZATION: Final = "Authorization"
HEADERS_EXAMPLE: Final = "X-Route: blue"

_is_bearer = re.compile(r"[A-Za-z0-9._~+/-]+=*").fullmatch  # RFC 6750 section 2.1
_is_digest = re.compile(r"[0-9A-Fa-f]{64}").fullmatch
_is_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110 section 5.6.2
_SECRET_FIELDS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})
_OURS: Final = frozenset({"connection", "content-length", "expect", "host", "te", "transfer-encoding", "upgrade"})
_OUR_PREFIXES: Final = ("sec-websocket-", "sokken-")
_MAX_IDENTITY: Final = 256


class Unproven(ValueError):
    """A credential that proves nothing; the message says why, without it."""


def parse_token(content: bytes) -> str:
    """Read a file that holds one bearer token; raises ValueError."""
    token = content.decode("ascii", "replace").strip()
    if not token:
        raise ValueError("it is empty; it must hold one token")
    if not _is_bearer(token):
        raise ValueError("it does not hold one token of A-Z a-z 0-9 . _ ~ + / - and =")
    return token


def parse_bearer(values: Sequence[str]) -> str | None:
    """Find the token in the values of Authorization, None if there is none; raises Unproven."""
    if len(values) > 1:
        raise Unproven("there is more than one Authorization header")
    scheme, _, token = (values[0] if values else "").strip(" ").partition(" ")
    if not scheme:
        return None
    if scheme.lower() != "bearer":
        raise Unproven("the Authorization header holds no Bearer token")
    if not _is_bearer(token.strip(" ")):
        raise Unproven("the token is malformed")
    return token.strip(" ")


@dataclass(frozen=True, slots=True, repr=False)
class Shown:
    """The credentials of one request: a verified certificate (``getpeercert``), a bearer token."""

    certificate: Mapping[str, Any] | None
    bearer: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """The tokens that a server accepts, as SHA-256, and whose they are."""

    names: Mapping[bytes, str]

    def find(self, token: str) -> str | None:
        """Whose token it is, None if it is nobody's. Every one is compared, in constant time."""
        digest, found = sha256(token.encode()).digest(), None
        for known, name in self.names.items():
            if compare_digest(known, digest):
                found = name
        return found


def parse_tokens(content: bytes) -> Tokens:
    """Read lines ``NAME:TOKEN`` or ``NAME:SHA256`` (64 hexadecimal digits); raises ValueError.

    A name may have several tokens, so that a new one is valid before the old one is gone. Empty lines and those
    that start with ``#`` are skipped.
    """
    names: dict[bytes, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        name, _, secret = entry.rpartition(":")
        if not is_claim(name) or not _is_bearer(secret):
            raise ValueError(f"line {number} is not NAME:TOKEN or NAME:SHA256")
        digest = bytes.fromhex(secret) if _is_digest(secret) else sha256(secret.encode()).digest()
        if names.setdefault(digest, name) != name:
            raise ValueError(f"line {number} has the token of another name")
    if not names:
        raise ValueError("it holds no token; a line is NAME:TOKEN or NAME:SHA256")
    return Tokens(names)


def identify_certificate(certificate: Mapping[str, Any]) -> Identity:
    """Who a verified certificate is, as ``ssl.SSLSocket.getpeercert`` describes it; raises Unproven.

    The first URI of its subjectAltName, else the first DNS name there, else the subject's common name.
    """
    names: Sequence[tuple[str, str]] = certificate.get("subjectAltName", ())
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    for where, kind, pairs in (
        ("SAN URI", "URI", names),
        ("SAN DNS", "DNS", names),
        ("CN", "commonName", subject),
    ):
        if found := next((value for key, value in pairs if key == kind), None):
            return Identity(check_name(found), "certificate", where)
    raise Unproven("the client's certificate has no URI, DNS name or common name")


def check_name(name: object) -> str:
    """Give the name back if it may be an identity's: printable, at most 256 characters. Raises Unproven."""
    is_one = isinstance(name, str) and 0 < len(name) <= _MAX_IDENTITY and name.isprintable()
    if not is_one:
        raise Unproven("the name in the credential is empty, too long, or not printable")
    return str(name)


def parse_header_fields(text: str) -> tuple[tuple[str, str], ...]:
    """Read lines ``Name: value``, one header field each; raises ValueError. No message quotes a value."""
    fields: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _is_name(name) or not value.isascii() or not value.isprintable():
            raise ValueError(f"line {number} is no header field, for example {HEADERS_EXAMPLE}")
        if name.lower() in _OURS or name.lower().startswith(_OUR_PREFIXES):
            raise ValueError(f"line {number}: {name} is not for you to set")
        if name.lower() in fields:
            raise ValueError(f"line {number}: {name} is there already")
        fields[name.lower()] = (name, value)
    if not fields:
        raise ValueError(f"it holds no header field, for example {HEADERS_EXAMPLE}")
    return tuple(fields.values())


def holds_secret(fields: Sequence[tuple[str, str]]) -> bool:
    """Whether one of the header fields is a credential by its name."""
    return any(name.lower() in _SECRET_FIELDS for name, _ in fields)
