"""Who is at the other end: as the server has verified it, and as the client claims it.

An ``Identity`` is what a credential proved. The claims are the headers that a client writes of itself, their names
and what their values may hold: the server logs them as claims, and they never decide whether somebody is let in.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

CLIENT_ID: Final = "Sokken-Client-Id"
TUNNEL: Final = "Sokken-Tunnel"
CONNECTION_ID: Final = "Sokken-Connection-Id"
VERSION: Final = "Sokken-Version"
REASON: Final = "Sokken-Reason"

_UUID7_RANDOM_BYTES = 10
_UUID7_MAX_MS = (1 << 48) - 1

_is_claim = re.compile(r"[A-Za-z0-9._:/@-]{1,128}").fullmatch
_is_version = re.compile(r"[A-Za-z0-9._:/@+-]{1,64}").fullmatch
_is_uuid7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a credential proved the client to be.

    ``method`` is how: ``none``, ``token``, ``jwt`` or ``certificate``; ``detail`` is which part of the credential
    the name is from (``SAN URI``).
    """

    name: str
    method: str
    detail: str = ""


ANONYMOUS: Final = Identity("anonymous", "none")
"""Whoever comes to a server that asks for no credential."""


def is_claim(text: str) -> bool:
    """Whether this may be a client id or a tunnel name: 1 to 128 characters of ``[A-Za-z0-9._:/@-]``."""
    return _is_claim(text) is not None


def is_connection_id(text: str) -> bool:
    """Whether this is a UUID of version 7 in its canonical, lower-case form (RFC 9562 section 4)."""
    return _is_uuid7(text) is not None


def format_uuid7(unix_ms: int, random: bytes) -> str:
    """Write a UUID of version 7 (RFC 9562 section 5.7).

    ``unix_ms`` is the time in milliseconds, ``random`` is 10 unpredictable bytes (of which 74 bits are used).
    Raises ValueError when either does not fit.
    """
    if not 0 <= unix_ms <= _UUID7_MAX_MS or len(random) != _UUID7_RANDOM_BYTES:
        message = f"a UUIDv7 takes 48 bits of time and 10 random bytes, not {unix_ms} and {len(random)}"
        raise ValueError(message)
    a = 0x7000 | (random[0] << 8 | random[1]) & 0x0FFF
    b = 0x8000 | (random[2] << 8 | random[3]) & 0x3FFF
    time = f"{unix_ms:012x}"
    return f"{time[:8]}-{time[8:]}-{a:04x}-{b:04x}-{random[4:].hex()}"


class Claims(NamedTuple):
    """What a client says about itself; whatever is absent or malformed is None."""

    client_id: str | None
    tunnel: str | None
    connection_id: str | None
    version: str | None


def parse_claims(headers: Mapping[str, str]) -> Claims:
    """Read the claims in a request's headers, which are looked up by the names above.

    A malformed claim becomes None: a wrong label is no reason to refuse a connection.
    """
    get = headers.get
    client_id, tunnel = get(CLIENT_ID), get(TUNNEL)
    connection_id, version = get(CONNECTION_ID), get(VERSION)
    return Claims(
        client_id if client_id and _is_claim(client_id) else None,
        tunnel if tunnel and _is_claim(tunnel) else None,
        connection_id if connection_id and _is_uuid7(connection_id) else None,
        version if version and _is_version(version) else None,
    )
