"""Who may reach what: ordered rules, of which the first that matches decides; what no rule allows is denied.

Called by the server's admission and by ``sokken policy test``. Pure: it judges one identity, one target as asked for,
and one address that it leads to. It resolves nothing and counts nothing.

Two things are stricter than the order of the rules. What a pattern allows (``*.example.com``) still has to pass every
denial of addresses further down, because whoever runs that zone decides where its names lead. And the addresses of
``PROTECTED`` are reached only by who names them: an exact name, or a network that lies within them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Self

from sokken.protocol.address import Address
from sokken.protocol.globs import Glob

IpAddress = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection is held to; None is no limit. All connections count, whichever rule let them in.

    ``proxy_protocol``: the target is told of the client with a header of the PROXY protocol.
    """

    connections_per_identity: int | None = None
    connections_per_target: int | None = None
    rate_per_second: float | None = None
    idle_seconds: float | None = None
    lifetime_seconds: float | None = None
    proxy_protocol: bool = False


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Block:
    """A network as numbers, which are compared faster."""

    version: int
    first: int
    last: int

    @classmethod
    def of(cls, network: Network) -> Self:
        """Make one."""
        return cls(network.version, int(network[0]), int(network[-1]))

    def is_within(self, other: "Block") -> bool:
        """Whether all of it lies in the other one."""
        return self.version == other.version and other.first <= self.first and self.last <= other.last


@dataclass(frozen=True, slots=True)
class Protection:
    """A network whose addresses are denied unless they are named, and what they are."""

    block: Block
    what: str


PROTECTED: Final = tuple(
    Protection(Block.of(network), what)
    for what, networks in {
        "an unspecified address": (IPv4Network("0.0.0.0/8"), IPv6Network("::/128")),
        "a loopback address": (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")),
        "a link-local address": (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10")),
        "an address of cloud metadata": (
            IPv4Network("169.254.169.254/32"),  # nearly everybody
            IPv4Network("169.254.170.2/32"),  # Amazon ECS: the credentials of a task
            IPv4Network("169.254.170.23/32"),  # Amazon EKS: the credentials of a pod
            IPv6Network("fd00:ec2::/32"),  # Amazon: ::254, ::23 and others
            IPv6Network("fd20:ce::254/128"),  # Google
            IPv4Network("100.100.100.200/32"),  # Alibaba
            IPv4Network("168.63.129.16/32"),  # Azure
            IPv4Network("192.0.0.192/32"),  # Oracle
        ),
    }.items()
    for network in networks
)
_DISGUISES: Final = (
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64 (RFC 6052 section 2.1)
    (IPv6Network("64:ff9b:1::/48"), 0),  # NAT64 of one's own (RFC 8215), as most have it: in the last 32 bits
    (IPv6Network("2002::/16"), 80),  # 6to4 (RFC 3056 section 2)
    (IPv6Network("::ffff:0:0:0/96"), 0),  # SIIT (RFC 2765 section 2.1)
    (IPv6Network("::/96"), 0),  # RFC 4291 section 2.5.5.1; below 0.0.0.0/8 are :: and ::1
)
"""IPv6 networks whose addresses lead to IPv4 ones, and how many bits stand behind these."""


@lru_cache(maxsize=4096)
def read_address(text: str) -> IpAddress:
    """An IP address in the form in which it is compared: IPv4 in the clothes of IPv6 is IPv4. Raises ValueError."""
    address = ip_address(text)
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=4096)
def protections(address: IpAddress) -> tuple[Protection, ...]:
    """The protected networks that have the address, or the IPv4 address within it, the narrowest first."""
    if (hidden := unveil(address)) is not None:
        return protections(hidden)
    own = Block(address.version, int(address), int(address))
    found = [kind for kind in PROTECTED if own.is_within(kind.block)]
    return tuple(sorted(found, key=lambda kind: kind.block.last - kind.block.first))


def unveil(address: IpAddress) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to, None for none."""
    if isinstance(address, IPv4Address):
        return None
    shift = next((shift for network, shift in _DISGUISES if address in network), None)
    if shift is None or int(address) >> 24 == 0:
        return None
    return IPv4Address(int(address) >> shift & 0xFFFFFFFF)


class Match(Enum):
    """How a rule is about a target: it names it, by name or by address, or it has a pattern that covers it."""

    NAME = 1
    ADDRESS = 2
    PATTERN = 3


@dataclass(frozen=True, slots=True)
class Place:
    """What a rule is compared with: a target as asked for, and an address that it leads to."""

    target: Address
    address: IpAddress
    version: int
    number: int
    protections: Sequence[Protection]
    is_name: bool
    hidden: "Place | None" = None
    """The same, at the IPv4 address within the IPv6 one: what may not be reached may not be reached so either."""

    @classmethod
    def of(cls, target: Address, address: IpAddress, *, is_name: bool) -> Self:
        """Make one."""
        ipv4 = unveil(address)
        hidden = None if ipv4 is None else cls.of(target, ipv4, is_name=is_name)
        return cls(target, address, address.version, int(address), protections(address), is_name, hidden)


@dataclass(frozen=True, slots=True)
class Hosts:
    """The targets of one rule, by kind, each with its range of ports. ``everything`` is a lone ``*``."""

    exact: frozenset[Address] = frozenset()
    names: tuple[tuple[str, range], ...] = ()
    globs: tuple[tuple[Glob, range], ...] = ()
    everything: tuple[range, ...] = ()
    blocks: tuple[tuple[Block, range], ...] = ()

    def match_host(self, target: Address, *, is_name: bool = True) -> Match | None:
        """Match what was asked for. Only a lone ``*`` is about IP addresses, too."""
        host, port = target.host, target.port
        if self.exact and target in self.exact:
            return Match.NAME
        for name, ports in self.names:
            if host == name and port in ports:
                return Match.NAME
        for ports in self.everything:
            if port in ports:
                return Match.PATTERN
        for glob, ports in self.globs:
            if is_name and port in ports and glob.matches(host):
                return Match.PATTERN
        return None

    def blocks_of(self, place: Place) -> list[Block]:
        """The networks that have the address, for this port."""
        version, number, port = place.version, place.number, place.target.port
        return [
            block
            for block, ports in self.blocks
            if block.first <= number <= block.last and version == block.version and port in ports
        ]

    def has_block(self, port: int) -> bool:
        """Whether some address would match, for this port."""
        return any(port in ports for _, ports in self.blocks)


@dataclass(frozen=True, slots=True)
class Identities:
    """Of which identities a rule is: these, and those like these patterns."""

    names: frozenset[str] = frozenset()
    globs: tuple[Glob, ...] = ()

    def covers(self, identity: str) -> bool:
        """Whether it is one of them."""
        return identity in self.names or any(glob.matches(identity) for glob in self.globs)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Number 0 is the list of targets (REMOTE_ADDR)."""

    number: int
    is_allow: bool
    identities: Identities
    hosts: Hosts
    limits: Limits = NO_LIMITS
    name: str = ""

    def __str__(self) -> str:
        label = f"rule {self.number}" if self.number else "the list of targets"
        return f"{label} ({self.name})" if self.name else label

    def match(self, place: Place) -> Match | None:
        """How it is about this target at this address."""
        blocks = self.hosts.blocks_of(place) if self.hosts.blocks else []
        if place.hidden is not None and not self.is_allow:
            blocks += self.hosts.blocks_of(place.hidden)
        if blocks and (not self.is_allow or any(_is_named(place.protections, block) for block in blocks)):
            return Match.ADDRESS
        found = self.hosts.match_host(place.target, is_name=place.is_name)
        return Match.PATTERN if found is None and blocks else found


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it may be, which rule says so (None: no rule does), and why in a few words."""

    is_allowed: bool
    rule: Rule | None
    why: str


UNMATCHED: Final = Verdict(is_allowed=False, rule=None, why="no rule allows it")


EVERYBODY: Final = Identities(globs=(Glob.parse("*"),))


class Policy:
    """The rules in their order."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules = tuple(rules)
        # Most of a thousand rules are about others: who comes again is not compared with them again.
        self._covering = lru_cache(maxsize=1024)(self._find_covering)
        self.judge = lru_cache(maxsize=1024)(self._judge)
        """``judge(identity, target, address=None)``: see ``_judge``. Most connections are like many before them."""

    def __repr__(self) -> str:
        return f"<Policy of {len(self.rules)} rules>"

    def _judge(self, identity: str, target: Address, address: IpAddress | None = None) -> Verdict:
        """Judge a target, and the address that it leads to (``read_address``).

        Without an address, a name is judged as far as that goes: denied is what no address could make good.
        """
        literal = _read_literal(target.host)
        address = literal or address
        if address is None:
            return self._judge_name(identity, target)
        return self._judge_place(identity, Place.of(target, address, is_name=literal is None))

    def _judge_name(self, identity: str, target: Address) -> Verdict:
        for rule in self._covering(identity):
            if rule.hosts.match_host(target):
                return _decide(rule)
            if rule.is_allow and rule.hosts.has_block(target.port):
                return Verdict(is_allowed=True, rule=rule, why=f"{rule} allows it if it leads there")
        return UNMATCHED

    def _judge_place(self, identity: str, place: Place) -> Verdict:
        kinds = place.protections
        pending: Rule | None = None  # allows it, but does not name it: a rule further down may know better
        for rule in self._covering(identity):
            match rule.match(place):
                case Match.ADDRESS:
                    return _decide(pending if pending and rule.is_allow and not kinds else rule)
                case Match.NAME if pending is None or (kinds and rule.is_allow):
                    return _decide(rule)
                case Match.PATTERN if pending is None and rule.is_allow:
                    pending = rule
                case Match.PATTERN if pending is None:
                    return _decide(rule)
        if pending is None:
            return UNMATCHED
        if kinds:
            why = f"{place.address} is {kinds[0].what}, which {pending} does not name"
            return Verdict(is_allowed=False, rule=pending, why=why)
        return _decide(pending)

    def _find_covering(self, identity: str) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.identities.covers(identity))


def policy_of_targets(targets: Iterable[Address]) -> Policy:
    """The simple form: everybody may reach exactly these, wherever the names lead."""
    exact = frozenset(targets)
    return Policy([Rule(0, is_allow=True, identities=EVERYBODY, hosts=Hosts(exact=exact))])


def _decide(rule: Rule) -> Verdict:
    return Verdict(rule.is_allow, rule, f"{rule} {'allows' if rule.is_allow else 'denies'} it")


def _is_named(kinds: Sequence[Protection], block: Block) -> bool:
    """Whether a network means these protected addresses, and does not just include them."""
    return all(block.is_within(kind.block) for kind in kinds)


@lru_cache(maxsize=4096)
def _read_literal(host: str) -> IpAddress | None:
    try:
        return read_address(host)
    except ValueError:
        return None
