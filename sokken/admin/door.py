"""The admin address as the programs open it: its token and its sockets, before anything is served.

It must not import HTTP: a client listens before that is loaded.
"""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sokken.protocol.address import Address
from sokken.protocol.credentials import parse_token
from sokken.telemetry.logs import get_logger
from sokken.transport.files import WatchedFile
from sokken.transport.listen import bind, bound_address, is_loopback

LEAST_CHARACTERS: Final = 16

log = get_logger("admin")


class AdminSettings(Protocol):
    """What the admin address needs to know of the settings."""

    @property
    def admin_addr(self) -> Address | None:
        """Where it is."""

    @property
    def admin_token_file(self) -> Path | None:
        """The token that opens it."""

    @property
    def admin_hosts(self) -> tuple[str, ...]:
        """By which names it may be asked for."""


@dataclass(frozen=True, slots=True)
class Door:
    """What a request must show (None: nothing), under which names, and what listens (nothing: no admin address)."""

    token: WatchedFile[str] | None
    hosts: frozenset[str]
    sockets: list[socket.socket]

    @property
    def is_configured(self) -> bool:
        """Whether anybody has said that this program is to be looked at; only then is anything counted for it."""
        return bool(self.sockets) or self.token is not None

    @property
    def files(self) -> list[WatchedFile[str]]:
        """What is followed."""
        return [] if self.token is None else [self.token]


def open_door(settings: AdminSettings) -> Door:
    """Read the token and listen; raises ConfigurationError for what is configured and cannot work."""
    token, address = open_token(settings.admin_token_file), settings.admin_addr
    sockets = [] if address is None else bind(address, "SOKKEN_ADMIN_ADDR")
    if address is not None:
        log.info("admin_listening", listen=str(bound_address(sockets, address)), protected=token is not None)
        if token is None and not all(map(is_loopback, sockets)):
            detail = "whoever reaches this address sees who is connected to what; SOKKEN_ADMIN_TOKEN_FILE changes that"
            log.warning("admin_unprotected", detail=detail)
    return Door(token, frozenset(settings.admin_hosts), sockets)


def open_token(path: Path | None) -> WatchedFile[str] | None:
    """The token's file, None if there is none; raises ConfigurationError unless it holds a good one."""
    return None if path is None else WatchedFile(path, parse_admin_token, "SOKKEN_ADMIN_TOKEN_FILE")


def parse_admin_token(content: bytes) -> str:
    """Read one bearer token that cannot be guessed; raises ValueError without quoting it."""
    token = parse_token(content)
    if len(token) < LEAST_CHARACTERS:
        raise ValueError(f"its token has less than {LEAST_CHARACTERS} characters; make one with: openssl rand -hex 32")
    return token
