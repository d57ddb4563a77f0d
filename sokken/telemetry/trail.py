"""What one connection leaves in traces and metrics, from its first moment to its last.

The programs and the transport tell a ``Trail`` what happens, and ask it only for what to write into a header or a log
line. Without traces and metrics it is ``NO_TRAIL``, which keeps nothing and costs a call (trails.py has those that
keep something). Nothing is told of a chunk of bytes.
"""

import socket
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sokken.protocol.address import Address, Forward
from sokken.protocol.identity import Claims, Identity

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Stage(StrEnum):
    """What opening a tunnel consists of: the first four at the client, the last one at the server."""

    DNS = "dns"
    TCP = "tcp"
    TLS = "tls"
    UPGRADE = "upgrade"
    TARGET = "target"


class Trail:
    """The trail of a connection that leaves none, and what all trails are told."""

    __slots__ = ()

    @property
    def ids(self) -> Mapping[str, str]:
        """What the connection's log lines carry."""
        return NOTHING

    @property
    def headers(self) -> Mapping[str, str]:
        """What its request carries, at the client, and its answer, at the server."""
        return NOTHING

    def enter(self, stage: Stage) -> None:
        """A stage begins; the one before it has ended well."""

    def retry(self, error: str) -> None:
        """The attempt has failed, and another one is made."""

    def identify(self, identity: Identity) -> None:
        """It is known who the client is."""

    def dial(self, target: Address) -> None:
        """The target is being connected to, at the server."""

    def reach(self, local: socket.socket) -> None:
        """The target is connected."""

    def fail(self, error: str, status: int | None = None) -> None:
        """There is no tunnel; ``status`` is of the answer, if there was one."""

    def open(self) -> None:
        """The tunnel is up."""

    def half_close(self, direction: str) -> None:
        """The direction ``up`` or ``down`` has ended."""

    def close(self, outcome: str, up: int, down: int, seconds: float) -> None:
        """The tunnel has ended, after so many bytes and seconds."""


NO_TRAIL: Final = Trail()


class Trails:
    """Begins trails; this one begins none."""

    __slots__ = ()

    def of_forward(self, forward: Forward) -> Callable[[str], Trail]:  # noqa: ARG002 -- for those that do
        """What begins a trail of that forward's connections, at the client; it takes the connection's id."""
        return lambda _connection_id: NO_TRAIL

    def of_request(self, headers: Mapping[str, str], peer: str, claims: Claims, connection_id: str) -> Trail:  # noqa: ARG002
        """Begin the trail of a request for a tunnel, at the server."""
        return NO_TRAIL


NO_TRAILS: Final = Trails()
