"""The judgements of names, addresses and proxies: facts in, a finding out. No input or output.

Called by the walk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sokken.doctor.report import Finding, failed, format_seconds, milliseconds, ok, skipped, warning
from sokken.protocol.address import Address, ServerUrl
from sokken.protocol.proxy import Exemption, Proxy
from sokken.transport.dial import DialFailure

SLOW_LOOK_UP_SECONDS: Final = 1.0
SLOW_DIAL_SECONDS: Final = 1.0
_SHOWN: Final = 4


@dataclass(frozen=True, slots=True)
class LookUp:
    """What the resolver said of a name. ``whose`` is "the server" or "the proxy"."""

    whose: str
    host: str
    addresses: Sequence[str]
    seconds: float
    problem: str = ""
    is_silent: bool = False
    """The resolver itself did not answer."""


@dataclass(frozen=True, slots=True)
class Dialled:
    """What came of connecting to one address."""

    address: Address
    seconds: float
    failure: DialFailure | None = None


def judge_look_up(look_up: LookUp) -> Finding:
    """Whether the name leads anywhere."""
    host, took = look_up.host, format_seconds(look_up.seconds)
    if look_up.problem and look_up.is_silent:
        advice = "see /etc/resolv.conf, and whether its name servers can be reached from here"
        return failed("dns", f"the resolver of this host did not answer for {host}: {look_up.problem}", advice)
    if look_up.problem:
        where = (
            "the URL" if look_up.whose == "the server" else "the proxy's URL (SOKKEN_PROXY, HTTPS_PROXY, HTTP_PROXY)"
        )
        advice = f"correct the host in {where}, or have the name added where this host asks (/etc/resolv.conf)"
        return failed("dns", f"{host} does not resolve: {look_up.problem}", advice)
    if list(look_up.addresses) == [host]:
        return ok("dns", f"{host} is an address, no name", addresses=[host])
    found = f"{look_up.whose}'s name {host} is {_list(look_up.addresses)} ({took})"
    values = {"addresses": list(look_up.addresses), "ms": milliseconds(look_up.seconds)}
    if look_up.seconds >= SLOW_LOOK_UP_SECONDS:
        advice = "that slow, a name server in /etc/resolv.conf is perhaps not reachable; each connection waits for it"
        return warning("dns", found, advice, **values)
    return ok("dns", found, **values)


_ADVICE: Final = {
    DialFailure.REFUSED: "nothing listens there: correct the port in the URL, or start what should listen",
    DialFailure.TIMEOUT: "a firewall or security group drops it, or the host is down: have the port opened",
    DialFailure.UNREACHABLE: "this host has no way there: a route is missing, or a VPN is down",
    DialFailure.EXHAUSTED: "this host has no descriptors or memory left (ulimit -n)",
}


def judge_dials(dials: Sequence[Dialled]) -> Finding:
    """Whether any address answers, and whether all do."""
    values: dict[str, object] = {
        "addresses": [
            {"address": str(dial.address), "ms": milliseconds(dial.seconds), "result": dial.failure or "connected"}
            for dial in dials
        ]
    }
    good = [dial for dial in dials if dial.failure is None]
    bad = {dial.address: dial.failure for dial in dials if dial.failure is not None}
    told = ", ".join(f"{address} {_WORDS.get(failure, failure)}" for address, failure in bad.items())
    if not good:
        reasons = dict.fromkeys(bad.values())
        return failed("tcp", told, "; ".join(_ADVICE.get(reason, "") for reason in reasons), **values)
    fastest = min(good, key=lambda dial: dial.seconds)
    answered = f"{_list([str(dial.address) for dial in good])} answered in {format_seconds(fastest.seconds)}"
    if bad:
        advice = (
            "each connection may first try what does not answer; have those addresses repaired, or taken out of DNS"
        )
        return warning("tcp", f"{answered}, but {told}", advice, **values)
    if fastest.seconds >= SLOW_DIAL_SECONDS:
        return warning("tcp", answered, "that slow, packets are lost on the way, or the host is overloaded", **values)
    return ok("tcp", answered, **values)


_WORDS: Final = {
    DialFailure.REFUSED: "refused the connection",
    DialFailure.TIMEOUT: "did not answer",
    DialFailure.UNREACHABLE: "cannot be reached",
}


def judge_no_proxy(url: ServerUrl, configured: Proxy | None, exemptions: Sequence[Exemption]) -> Finding:
    """Why none is used."""
    if configured is None:
        return skipped("proxy", "none is set for this server (SOKKEN_PROXY, HTTPS_PROXY, HTTP_PROXY)")
    host = url.host.partition("%")[0]
    if rule := next((item for item in exemptions if item.covers(host, url.port)), None):
        return skipped("proxy", f"{configured} is set, but NO_PROXY has {rule}: the server is reached directly")
    return skipped("proxy", f"{configured} is set, but not used for servers on this host, unless by SOKKEN_PROXY")


def judge_proxy(proxy: Proxy, authority: str, seconds: float, problem: str) -> Finding:
    """Whether it connects to the server; ``problem`` already says what to do."""
    if problem:
        advice = "SOKKEN_PROXY, or HTTPS_PROXY and HTTP_PROXY, name the proxy; NO_PROXY what is reached without it"
        return failed("proxy", problem, advice)
    return ok("proxy", f"{proxy} has connected to {authority} ({format_seconds(seconds)})", ms=milliseconds(seconds))


def _list(items: Sequence[str]) -> str:
    more = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
