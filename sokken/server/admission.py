"""Who may have a tunnel to what: the one place where a server decides it, for tunnels and for checks.

A request is decided on twice: by what it asks for, before anything is done for it, and by the addresses which that
leads to, before one of them is dialled. Nothing here takes longer the more connections there are.
"""

import math
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from sokken.protocol.address import Address, AddressError, parse_target
from sokken.protocol.identity import Identity
from sokken.protocol.outcomes import Reason, Refusal
from sokken.protocol.policy import NO_LIMITS, Limits, Policy, Rule, Verdict, read_address
from sokken.protocol.rate import Buckets
from sokken.transport.connections import Connection, Connections
from sokken.transport.files import WatchedFile
from sokken.transport.resolve import Found


@dataclass(slots=True, eq=False)
class Admitted:
    """A request that may go on. The rule is final once its addresses have been checked."""

    target: Address
    identity: Identity
    rule: Rule | None
    policy: Policy

    @property
    def limits(self) -> Limits:
        """What its connection is held to."""
        return NO_LIMITS if self.rule is None else self.rule.limits


class Admission:
    """The policy in force, and the limits on connections and their rates.

    ``rate_per_address`` is how often an address may come in a second, 0 is any number (server/greeting.py).
    """

    def __init__(
        self,
        policy: Policy | WatchedFile[Policy],
        connections: Connections,
        rate_per_address: float = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy: Callable[[], Policy] = (lambda: policy) if isinstance(policy, Policy) else (lambda: policy.value)
        self._is_fixed = isinstance(policy, Policy)
        self._connections = connections
        self._rate_per_address = rate_per_address
        self._clock = clock
        self._addresses = Buckets()
        self._identities = Buckets()

    def __repr__(self) -> str:
        return f"<Admission {self._policy()!r} {self._connections!r}>"

    def greet(self, peer: str) -> None:
        """Count that this address (HOST:PORT) has come, before anything is done for it; raises Refusal."""
        rate = self._rate_per_address
        if rate and (wait := self._addresses.take(network_of(peer), rate, self._clock())):
            raise Refusal(Reason.RATE_LIMITED, f"an address may come {rate:g} times a second", math.ceil(wait))

    def decide(self, asked: str, identity: Identity) -> Admitted:
        """Decide on the path's ``HOST:PORT``, which is decoded already; raises Refusal.

        What may not be reached is refused before anything is said about how full the server is.
        """
        try:
            target = parse_target(asked)
        except AddressError as error:
            raise Refusal(Reason.BAD_REQUEST, f"the path names no target: {error}") from None
        policy = self._policy()
        verdict = policy.judge(identity.name, target)
        if not verdict.is_allowed:
            raise _forbid(target, verdict)
        if self._connections.is_draining:
            raise Refusal(Reason.DRAINING, "this server is draining; try again")
        if self._connections.is_full:
            limit = self._connections.limit
            raise Refusal(Reason.SERVER_FULL, f"this server has all the {limit} connections that it may have")
        admitted = Admitted(target, identity, verdict.rule, policy)
        self._check_limits(admitted, others=0)
        if wait := self._wait(admitted):
            raise _limit_rate(admitted, wait)
        return admitted

    def check_addresses(self, admitted: Admitted, found: Sequence[Found]) -> Sequence[Found]:
        """Which of the addresses may be dialled for a connection that counts already; raises Refusal.

        The rule of the first one is the connection's.
        """
        policy = self._policy()
        name, target = admitted.identity.name, admitted.target
        verdicts = [policy.judge(name, target, read_address(str(answer[4][0]))) for answer in found]
        allowed = [verdict for verdict in verdicts if verdict.is_allowed]
        if not allowed:
            raise _forbid(target, verdicts[0])
        admitted.rule, admitted.policy = allowed[0].rule, policy
        self._check_limits(admitted, others=1)
        rate = admitted.limits.rate_per_second
        if rate and (wait := self._identities.take(_rate_key(admitted), rate, self._clock())):
            raise _limit_rate(admitted, wait)
        return [answer for answer, verdict in zip(found, verdicts, strict=True) if verdict.is_allowed]

    def confirm(self, admitted: Admitted, local: socket.socket) -> str | None:
        """Check what was dialled once more if there is a new policy meanwhile; raises Refusal.

        The answer is its address, None if it will never be judged again.
        """
        if self._is_fixed:
            return None
        dialled = str(local.getpeername()[0])
        policy = self._policy()
        if policy is not admitted.policy:
            verdict = policy.judge(admitted.identity.name, admitted.target, read_address(dialled))
            if not verdict.is_allowed:
                raise _forbid(admitted.target, verdict)
        return dialled

    def still_allows(self, connection: Connection) -> bool:
        """Whether the policy in force would let an open connection in."""
        target, dialled = connection.target, connection.dialled
        if not isinstance(target, Address) or dialled is None:
            return True
        return self._policy().judge(connection.identity.name, target, read_address(dialled)).is_allowed

    def _check_limits(self, admitted: Admitted, others: int) -> None:
        """``others``: 1 if the connection is counted already."""
        limits, identity, target = admitted.limits, admitted.identity.name, admitted.target
        most = limits.connections_per_identity
        if most is not None and self._connections.of_identity(identity) - others >= most:
            raise Refusal(Reason.CLIENT_FULL, f"{identity} has all the {most} connections that it may have")
        most = limits.connections_per_target
        if most is not None and self._connections.of_target(target) - others >= most:
            raise Refusal(Reason.TARGET_FULL, f"{target} has all the {most} connections that it may have")

    def _wait(self, admitted: Admitted) -> float:
        rate = admitted.limits.rate_per_second
        return self._identities.wait(_rate_key(admitted), rate, self._clock()) if rate else 0


def _rate_key(admitted: Admitted) -> tuple[str, int]:
    return admitted.identity.name, 0 if admitted.rule is None else admitted.rule.number


def _limit_rate(admitted: Admitted, wait: float) -> Refusal:
    rate = admitted.limits.rate_per_second
    detail = f"{admitted.identity.name} may open {rate:g} connections a second"
    return Refusal(Reason.RATE_LIMITED, detail, math.ceil(wait))


def _forbid(target: Address, verdict: Verdict) -> Refusal:
    detail = f"{target} is not an allowed target of this server"
    return Refusal(Reason.FORBIDDEN_TARGET, detail, cause=verdict.why)


def network_of(peer: str) -> str:
    """Whom to count: an IPv4 address, or the 64 bits of IPv6 that one customer has."""
    host = peer.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = read_address(host)
    except ValueError:
        return host
    return str(IPv6Network((int(address) >> 64 << 64, 64))) if isinstance(address, IPv6Address) else host
