"""From a document (mappings and lists, as YAML gives them) to a Policy, or to one sentence that says what is wrong.

Called by the server and ``sokken policy test`` with what a policy file holds. Nothing is guessed: an unknown key, a
wrong type, or a target that cannot be meant as it is written, is refused with the rule's number and the key.
"""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final, NoReturn

from sokken.errors import SokkenError
from sokken.protocol.address import AddressError, parse_target
from sokken.protocol.globs import Glob
from sokken.protocol.policy import Block, Hosts, Identities, Limits, Network, Policy, Rule

TARGET_EXAMPLE: Final = "db.internal:5432, *.example.com:443, 10.0.0.0/8:1-1023 or [fd00::/8]:*"
IDENTITY_EXAMPLE: Final = "system:serviceaccount:shop:*"

_MAX_PORT: Final = 65535
_MAX_NUMBER: Final = 1_000_000_000
_MAX_NAME: Final = 100
_SHOWN: Final = 100
_MAX_SHOWN: Final = 10**18  # Python refuses to write down numbers of thousands of digits
_RULE_KEYS: Final = ("name", "action", "identities", "targets", "limits")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_NETWORK = re.compile(r"[0-9.]+/[0-9]{1,2}|\[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*/[0-9]{1,3}\]")
_HOST_PATTERN = re.compile(r"(?!\.)(?!.*\.\.)[a-z0-9_.*-]{1,253}")
_LIKE_IPV4 = re.compile(r"[0-9.*]*[0-9][0-9.*]*")
# No wildcard but *, though other programs know these.
_IDENTITY = re.compile(r"[^\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff?\[\]{}\\]{1,512}")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")  # RFC 4291 section 2.5.5.2


class PolicyError(SokkenError, ValueError):
    """A policy that cannot be used; the message says where: the rule's number and the key."""


def build_policy(document: object) -> Policy:
    """Make a policy of what the file says; raises PolicyError."""
    if not isinstance(document, Mapping):
        raise PolicyError(f"a policy is a mapping with the key rules, not {_kind(document)}")
    _refuse_unknown(document, ("rules",), "a policy")
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        raise PolicyError(f"rules: this is a list of at least one rule, not {_kind(rules)}")
    return Policy(_build_rule(number, rule) for number, rule in enumerate(rules, 1))


def _build_rule(number: int, document: object) -> Rule:
    try:
        return _read_rule(number, document)
    except PolicyError as error:
        raise PolicyError(f"rule {number}: {error}") from None


def _read_rule(number: int, document: object) -> Rule:
    if not isinstance(document, Mapping):
        raise PolicyError(f"a rule is a mapping with the keys {', '.join(_RULE_KEYS)}, not {_kind(document)}")
    _refuse_unknown(document, _RULE_KEYS, "a rule")
    is_allow = _read_action(document.get("action"))
    if not is_allow and "limits" in document:
        raise PolicyError("limits: a rule that denies has none")
    identities = _read_texts(document, "identities", IDENTITY_EXAMPLE)
    targets = _read_texts(document, "targets", TARGET_EXAMPLE)
    return Rule(
        number,
        is_allow=is_allow,
        identities=_read_identities(identities),
        hosts=_read_hosts(targets),
        limits=_read_limits(document.get("limits", {})),
        name=_read_name(document.get("name", "")),
    )


def _refuse_unknown(document: Mapping[object, object], known: tuple[str, ...], what: str) -> None:
    for key in document:
        if key not in known:
            raise PolicyError(f"unknown key {_show(key)}; {what} has {', '.join(known)}")


def _read_action(action: object) -> bool:
    if action not in ("allow", "deny"):
        raise PolicyError(f"action: this is allow or deny, not {_kind(action) if action is None else _show(action)}")
    return action == "allow"


def _read_name(name: object) -> str:
    if not isinstance(name, str) or len(name) > _MAX_NAME or not name.isprintable():
        raise PolicyError(f"name: this is a text of at most {_MAX_NAME} printable characters, not {_show(name)}")
    return name


def _read_texts(document: Mapping[object, object], key: str, example: str) -> tuple[str, ...]:
    value = document.get(key)
    if not isinstance(value, list) or not value:
        raise PolicyError(f"{key}: this is a list of at least one text, not {_kind(value)}, for example [{example}]")
    for item in value:
        if not isinstance(item, str):
            raise PolicyError(f"{key}: {_show(item)} is no text; put it in quotes, for example {example}")
    return tuple(value)


def _read_identities(identities: tuple[str, ...]) -> Identities:
    for text in identities:
        if not _IDENTITY.fullmatch(text):
            problem = "an identity is 1 to 512 characters without spaces, and its only wildcard is *"
            raise PolicyError(f"identities: {_show(text)}: {problem}, for example {IDENTITY_EXAMPLE}")
    names = frozenset(text for text in identities if "*" not in text)
    return Identities(names, tuple(Glob.parse(text) for text in identities if "*" in text))


# Targets


def _read_hosts(targets: tuple[str, ...]) -> Hosts:
    names, globs, everything, blocks = [], [], [], []
    for text in targets:
        host, ports = _split(text)
        if host == "*":
            everything.append(ports)
        elif "/" in host:
            blocks.append((Block.of(_read_network(text, host)), ports))
        elif "*" in host:
            globs.append((Glob.parse(_read_pattern(text, host)), ports))
        elif (address := _read_address(text, host)) is not None:
            blocks.append((Block.of(address), ports))
        else:
            names.append((_read_host(text, host), ports))
    return Hosts(frozenset(), tuple(names), tuple(globs), tuple(everything), tuple(blocks))


def _split(text: str) -> tuple[str, range]:
    host, _, ports = text.rpartition(":")
    if not host or text.endswith("]"):
        _fail(text, "a target is HOST:PORT, HOST:PORT-PORT or HOST:*")
    if ports == "*":
        return host, range(1, _MAX_PORT + 1)
    match = _PORTS.fullmatch(ports)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= _MAX_PORT:
        _fail(text, f"ports are a number from 1 to {_MAX_PORT}, an ascending range of them, or *")
    return host, range(first, last + 1)


def _read_network(text: str, host: str) -> Network:
    if ":" in host and not host.startswith("["):
        _fail(text, "an IPv6 network is written in brackets")
    inner = host.strip("[]")
    try:
        network = ip_network(inner if _NETWORK.fullmatch(host) else "", strict=False)
    except ValueError:
        _fail(text, "a network is ADDRESS/LENGTH, in brackets if it is IPv6")
    if network[0] != ip_address(inner.partition("/")[0]):
        _fail(text, f"the network of this length is {network}")
    return _unmap(network)


def _unmap(network: Network) -> Network:
    """Turn IPv4 in the clothes of IPv6 into what its addresses are compared as."""
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        return IPv4Network((int(network[0]) & 0xFFFFFFFF, network.prefixlen - _MAPPED.prefixlen))
    return network


def _read_pattern(text: str, host: str) -> str:
    name = host.removesuffix(".").lower()
    if not _HOST_PATTERN.fullmatch(name):
        _fail(text, "a pattern of names holds letters, digits, hyphens, underscores, dots and *")
    if _LIKE_IPV4.fullmatch(name):
        _fail(text, "a range of addresses is written ADDRESS/LENGTH")
    return name


def _read_address(text: str, host: str) -> Network | None:
    """One address as a network, None for a name."""
    if "%" in host:
        _fail(text, "an address stands here without its zone")
    try:
        return _unmap(ip_network(_read_host(text, host)))
    except ValueError:
        return None


def _read_host(text: str, host: str) -> str:
    try:
        return parse_target(f"{host}:1").host
    except AddressError as error:
        _fail(text, error.problem)


def _fail(text: str, problem: str) -> NoReturn:
    raise PolicyError(f"targets: {_show(text)}: {problem}, for example {TARGET_EXAMPLE}")


# Limits


def _read_limits(document: object) -> Limits:
    if not isinstance(document, Mapping):
        raise PolicyError(f"limits: this is a mapping, not {_kind(document)}")
    try:
        _refuse_unknown(document, tuple(_LIMITS), "a mapping of limits")
        return Limits(**{key: _read_limit(key, value) for key, value in document.items()})
    except PolicyError as error:
        raise PolicyError(f"limits: {error}") from None


def _read_limit(key: str, value: object) -> Any:  # noqa: ANN401 -- a number or a switch
    meaning, is_good = _LIMITS[key]
    if not is_good(value):
        raise PolicyError(f"{key}: this is {meaning}, not {_show(value)}")
    return value


def _is_count(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MAX_NUMBER


def _is_rate(value: object) -> bool:
    return type(value) in (int, float) and 0.001 <= value <= _MAX_NUMBER  # type: ignore[operator]


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and 1 <= value <= _MAX_NUMBER  # type: ignore[operator]


_COUNT: Final = "a whole number from 1, for example 10"
_SECONDS: Final = "a number of seconds from 1, for example 600"
_LIMITS: Final[dict[str, tuple[str, Callable[[object], bool]]]] = {
    "connections_per_identity": (_COUNT, _is_count),
    "connections_per_target": (_COUNT, _is_count),
    "rate_per_second": ("a number from 0.001, for example 5", _is_rate),
    "idle_seconds": (_SECONDS, _is_seconds),
    "lifetime_seconds": (_SECONDS, _is_seconds),
    "proxy_protocol": ("true or false", lambda value: type(value) is bool),
}


# What to show


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list | Mapping | str) and not value:
        return "an empty one"
    return {list: "a list", dict: "a mapping", str: "a text", bool: "true or false"}.get(type(value), _show(value))


def _show(value: object) -> str:
    if isinstance(value, int) and abs(value) > _MAX_SHOWN:
        return "that large a number"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
