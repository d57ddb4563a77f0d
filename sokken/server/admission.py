"""Who may have a tunnel to what: the one place where a server decides it, for tunnels and for checks."""

from collections.abc import Iterable

from sokken.protocol.address import Address, AddressError, parse_target
from sokken.protocol.outcomes import Reason, Refusal
from sokken.transport.connections import Connections


class Admission:
    """The allowed targets and the limit on connections."""

    def __init__(self, targets: Iterable[Address], connections: Connections) -> None:
        self._targets = {target: target for target in targets}
        self._connections = connections

    def __repr__(self) -> str:
        return f"<Admission {sorted(map(str, self._targets))} {self._connections!r}>"

    def decide(self, asked: str) -> Address:
        """The target to dial for the path's ``HOST:PORT``, which is decoded already; raises Refusal.

        Only exact targets are allowed: names regardless of case, IP addresses in whatever form they are written.
        What may not be reached is refused before anything is said about how full the server is.
        """
        try:
            target = parse_target(asked)
        except AddressError as error:
            raise Refusal(Reason.BAD_REQUEST, f"the path names no target: {error}") from None
        allowed = self._targets.get(target)
        if allowed is None:
            raise Refusal(Reason.FORBIDDEN_TARGET, f"{target} is not an allowed target of this server")
        if self._connections.is_draining:
            raise Refusal(Reason.DRAINING, "this server is draining; try again")
        if self._connections.is_full:
            limit = self._connections.limit
            raise Refusal(Reason.SERVER_FULL, f"this server has all the {limit} connections that it may have")
        return allowed
