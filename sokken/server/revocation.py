"""Ends live connections that a new policy forbids, after their time of grace, without holding up the others.

The server has one if it has a policy file; whoever polls the files calls ``look``.
"""

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Final

from sokken.protocol.outcomes import Outcome
from sokken.protocol.policy import Policy
from sokken.server.admission import Admission
from sokken.transport.connections import Connection, Connections
from sokken.transport.files import WatchedFile

_AT_ONCE: Final = 20
"""Connections that are judged within one turn of the loop."""


class Revocation:
    """Follows a policy file. ``grace`` is in seconds; None lets every connection finish."""

    def __init__(
        self, file: WatchedFile[Policy], admission: Admission, connections: Connections, grace: float | None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._file = file
        self._admission = admission
        self._connections = connections
        self._grace = grace

    def __repr__(self) -> str:
        return f"<Revocation {self._file!r} grace={self._grace}>"

    def look(self) -> bool:
        """Look at the file; whether there is a new policy."""
        is_new = self._file.look()
        if is_new and self._grace is not None:
            self._find(iter(self._connections), [], self._grace)
        return is_new

    def _find(self, rest: Iterator[Connection], forbidden: list[Connection], grace: float) -> None:
        batch = list(islice(rest, _AT_ONCE))
        forbidden.extend(connection for connection in batch if not self._admission.still_allows(connection))
        if batch:
            self._loop.call_soon(self._find, rest, forbidden, grace)
        elif forbidden:
            self._loop.call_later(grace, self._end, iter(forbidden))

    def _end(self, rest: Iterator[Connection]) -> None:
        """End what is forbidden still: there may be a newer policy."""
        batch = list(islice(rest, _AT_ONCE))
        for connection in batch:
            if connection.relay is not None and not self._admission.still_allows(connection):
                connection.relay.end(Outcome.POLICY_REVOKED)
        if batch:
            self._loop.call_soon(self._end, rest)
