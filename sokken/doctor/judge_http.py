"""The judgements of the HTTP on the way to a tunnel: what answers, what is in between, and what the server says.

Facts in, findings out; no input or output. Called by the walk with the answers to one check and one upgrade.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from sokken.doctor.report import Finding, failed, format_seconds, milliseconds, ok, skipped, warning
from sokken.protocol.address import ServerUrl
from sokken.protocol.handshake import SUBPROTOCOL_V1, Answer
from sokken.protocol.identity import CONNECTION_ID, REASON
from sokken.protocol.outcomes import Reason

SKEW_SECONDS: Final = 30.0
"""Servers let the clocks of a JWT differ by 60."""
_SWITCHING: Final = 101
_CHECK_PASSED: Final = 204
_SHOWN: Final = 200


class NoAnswer(Enum):
    """Why there was no HTTP answer."""

    TIMEOUT = auto()
    ENDED = auto()
    NO_HTTP = auto()
    REFUSED_CERTIFICATE = auto()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what came of it: an answer with some of its body, or why there is none."""

    seconds: float
    answer: Answer | None = None
    body: bytes = b""
    failure: NoAnswer | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the client shows of itself, by the names of its settings."""

    settings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """A check (HEAD) and an upgrade (GET) of the same URL.

    ``subprotocol`` is what the upgrade agreed on, ``spoilt`` what was wrong with a 101. ``speaks_tls`` says that TLS
    is spoken where ws:// is plain; ``greeting`` is what was said there unasked.
    """

    url: ServerUrl
    check: Exchange
    upgrade: Exchange | None = None
    subprotocol: str = ""
    spoilt: str = ""
    speaks_tls: bool = False
    greeting: str = ""

    @property
    def reason(self) -> str:
        """The server's own word for why there is no tunnel: the upgrade's, or the check's where that one was spoilt."""
        checked = _reason(self.check.answer)
        said = "" if self.upgrade is None else _reason(self.upgrade.answer)
        return checked if checked and said in ("", Reason.BAD_REQUEST) else said

    @property
    def detail(self) -> str:
        """The server's sentence about that reason; only the upgrade's answer has one."""
        if self.upgrade is None or _reason(self.upgrade.answer) != self.reason:
            return ""
        return _problem_detail(self.upgrade.body)


def judge_http(asked: Asked) -> Finding:
    """Whether HTTP is spoken there, and by whom."""
    check, answer = asked.check, asked.check.answer
    if answer is None:
        return _judge_no_http(asked)
    values: dict[str, object] = {"ms": milliseconds(check.seconds), "status": answer.status}
    between = list(find_between(answer.headers))
    values["between"] = between
    through = f" through {', '.join(between)}" if between else ""
    if _is_sokken(answer):
        return ok("http", f"sokken answers{through} in {format_seconds(check.seconds)}", **values)
    who = between[0] if between else "an HTTP server"
    if asked.subprotocol == SUBPROTOCOL_V1:
        found = f"an original sokken answers{through} in {format_seconds(check.seconds)}"
        return ok("http", f"{found}; it knows no checks ({answer.status})", **values)
    if asked.subprotocol or (asked.upgrade is not None and _is_sokken(asked.upgrade.answer)):
        advice = "let it pass HEAD requests on: the client asks with them whether it would be let in"
        return warning("http", f"{who} answers checks (HEAD) itself, with {answer.status}", advice, **values)
    return failed("http", f"{who} answers {_status(answer)}, but that is no answer of sokken", _way(answer), **values)


def _way(answer: Answer) -> str:
    status = answer.status
    if 300 <= status < 400 and "location" in answer.headers:
        return f"it redirects to {answer.headers['location'][:_SHOWN]}: write that, with ws:// or wss://, as the URL"
    if status in (502, 503, 504):
        return "it is in front of sokken and does not reach it: is the server up, and is that its address there?"
    if status in (401, 403, 407):
        return "it lets nobody through without its own credentials: give them in SOKKEN_HEADERS, or let the path pass"
    return (
        "correct the URL's host, port or path; an ingress must route the path /tunnel/ to sokken, and where it keeps a "
        "path before that, the server needs SOKKEN_BASE_PATH"
    )


def _judge_no_http(asked: Asked) -> Finding:
    check, url = asked.check, asked.url
    if asked.speaks_tls:
        return failed("http", "TLS is spoken there, and ws:// is plain", f"write wss://{url.authority}{url.path}")
    if asked.greeting:
        advice = "name the port of the sokken server, or of the proxy in front of it; the target belongs into the path"
        return failed("http", f"what answers there is no HTTP server: it says {asked.greeting!r}", advice)
    match check.failure:
        case NoAnswer.REFUSED_CERTIFICATE:
            return _judge_own_certificate(check.detail)
        case NoAnswer.TIMEOUT:
            advice = "is it an HTTP server? if it waits for the PROXY protocol (SOKKEN_PROXY_PROTOCOL), ask its proxy"
            return failed("http", f"there was no answer within {format_seconds(check.seconds)}", advice)
        case NoAnswer.NO_HTTP:
            return failed("http", check.detail, "name the port of the sokken server, or of the proxy in front of it")
        case _:
            advice = (
                "is it an HTTP server? one with SOKKEN_PROXY_PROTOCOL=required closes whatever comes past its proxy"
            )
            return failed("http", "the connection was ended without an answer", advice)


def _judge_own_certificate(detail: str) -> Finding:
    if detail == "certificate required":
        advice = "name it in SOKKEN_CLIENT_CERT_FILE, and its key in SOKKEN_CLIENT_KEY_FILE"
        return failed("http", "what speaks TLS there lets nobody through without a client's certificate", advice)
    advice = (
        "SOKKEN_CLIENT_CERT_FILE must be valid, and its authority be in the server's SOKKEN_CLIENT_CA_FILE; "
        "the server's log says more (tls_handshake_failed)"
    )
    return failed("http", f"the server does not accept this client's certificate: {detail}", advice)


_PRODUCTS: Final[Mapping[str, str]] = {
    "cf-ray": "Cloudflare",
    "x-amz-cf-id": "CloudFront",
    "x-amzn-trace-id": "an AWS load balancer",
    "x-azure-ref": "Azure Front Door",
    "x-envoy-upstream-service-time": "Envoy",
    "x-kong-proxy-latency": "Kong",
    "x-varnish": "Varnish",
}
"""Header fields that proxies add, and whose they are."""


def find_between(headers: Mapping[str, str]) -> Iterator[str]:
    """Tell what is in between by what it has written into an answer: haproxy, for one, writes nothing."""
    server = headers.get("server", "")
    if server and server.lower() != "sokken":
        yield server[:_SHOWN]
    if via := headers.get("via"):
        yield f"Via {via[:_SHOWN]}"
    yield from (product for name, product in _PRODUCTS.items() if name in headers)


def judge_clock(skew: float | None) -> Finding:
    """Whether this host's clock agrees with what answers; ``skew`` is how many seconds it is ahead."""
    if skew is None:
        return skipped("clock", "the answer has no Date")
    values = {"skew_seconds": round(skew, 1)}
    if abs(skew) <= SKEW_SECONDS:
        return ok("clock", "this host's clock and that of the answer agree", **values)
    found = f"this host's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} that of the answer"
    advice = "set both by NTP: JWTs that one has issued are not valid yet, or not any more, at the other"
    return warning("clock", found, advice, **values)


def judge_websocket(asked: Asked) -> Finding:
    """Whether a WebSocket gets through, whatever the server thinks of it."""
    upgrade = asked.upgrade
    if upgrade is None or upgrade.answer is None:
        return _judge_no_upgrade(asked)
    answer = upgrade.answer
    values: dict[str, object] = {"ms": milliseconds(upgrade.seconds), "status": answer.status}
    if connection_id := answer.headers.get(CONNECTION_ID.lower()):
        values["connection_id"] = connection_id[:_SHOWN]
    if asked.subprotocol:
        values["subprotocol"] = asked.subprotocol
        return ok("websocket", f"open, with {asked.subprotocol}, in {format_seconds(upgrade.seconds)}", **values)
    if asked.spoilt:
        return failed("websocket", asked.spoilt, _advise_spoilt(answer), **values)
    if _reason(answer) == Reason.BAD_REQUEST:
        said = _problem_detail(upgrade.body) or "a bad request"
        found = f"what is in between has changed the request; the server says: {said}"
        return failed("websocket", found, _advise_upgrade(asked, answer), **values)
    if _is_sokken(answer):
        return ok("websocket", "the request for one reaches the server", **values)
    return _judge_stranger(asked, answer, values)


def _judge_stranger(asked: Asked, answer: Answer, values: Mapping[str, object]) -> Finding:
    """Somebody in between has answered the upgrade."""
    who = next(find_between(answer.headers), "something")
    if answer.status in (502, 503, 504) and _is_sokken(asked.check.answer):
        found = f"{who} in between gave up with {_status(answer)} before the server had an answer"
        advice = (
            "let it wait longer than the server may dial (SOKKEN_TARGET_TIMEOUT_SECONDS, 10): "
            "haproxy `timeout server`, nginx `proxy_read_timeout`"
        )
        return failed("websocket", found, advice, **values)
    if _is_sokken(asked.check.answer) or answer.status == 426:
        found = f"{who} in between does not let a WebSocket through: {_status(answer)}"
        return failed("websocket", found, _advise_upgrade(asked, answer), **values)
    return failed("websocket", f"{who} answers {_status(answer)}, no WebSocket", _way(answer), **values)


def _judge_no_upgrade(asked: Asked) -> Finding:
    upgrade = asked.upgrade
    if upgrade is not None and upgrade.failure is NoAnswer.TIMEOUT:
        advice = "it dials its target first; -timeout must be above its SOKKEN_TARGET_TIMEOUT_SECONDS (10)"
        return failed("websocket", f"there was no answer within {format_seconds(upgrade.seconds)}", advice)
    advice = "something in between ends what asks for an upgrade: let WebSockets pass (firewall, WAF, proxy)"
    return failed("websocket", "the connection was ended without an answer to the upgrade", advice)


_UPGRADES: Final[Mapping[str, str]] = {
    "nginx": "nginx needs `proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    "proxy_set_header Connection upgrade;`",
    "haproxy": "haproxy must not delete Upgrade or Connection (`http-request del-header`), nor have "
    "`option httpclose`-like rules for this path",
    "apache": "Apache needs `ProxyPass /tunnel/ http://SERVER/tunnel/ upgrade=websocket`",
    "envoy": "Envoy needs `upgrade_configs: [{upgrade_type: websocket}]`",
}
_UPGRADES_ANY: Final = "; ".join(
    (
        _UPGRADES["nginx"],
        "haproxy must not delete Upgrade or Connection (`http-request del-header`)",
        "other proxies must be told to pass WebSockets on",
    )
)


def _advise_upgrade(asked: Asked, answer: Answer) -> str:
    answers = [answer, *([asked.check.answer] if asked.check.answer else [])]
    seen = " ".join(name.lower() for one in answers for name in find_between(one.headers))
    return next((advice for product, advice in _UPGRADES.items() if product in seen), _UPGRADES_ANY)


def _advise_spoilt(answer: Answer) -> str:
    if answer.headers.get("sec-websocket-extensions"):
        return "switch compression of WebSockets (permessage-deflate) off in what is in between"
    if "sec-websocket-protocol" in answer.headers or _is_sokken(answer):
        return "something in between answers in the server's place, or changes its answer: let the WebSocket through"
    return "the URL leads to another WebSocket server: correct its host, port or path"


def judge_auth(asked: Asked, shown: Shown) -> Finding:
    """Whether the server takes this client for somebody that may come."""
    answer = None if asked.upgrade is None else asked.upgrade.answer
    reason, status = asked.reason, None if answer is None else answer.status
    with_what = f"with {' and '.join(shown.settings)}" if shown.settings else "without a credential"
    if reason == Reason.UNAUTHENTICATED:
        found = f"the server does not know who this is: {asked.detail or 'unauthenticated'}"
        if not shown.settings:
            advice = "it asks for a credential: set SOKKEN_TOKEN_FILE or SOKKEN_CLIENT_CERT_FILE"
        else:
            advice = (
                f"it was shown {' and '.join(shown.settings)}: compare with its SOKKEN_TOKENS_FILE, SOKKEN_JWT_* or "
                "SOKKEN_CLIENT_CA_FILE"
            )
        return failed("auth", found, advice)
    if reason == Reason.FORBIDDEN_ORIGIN:
        advice = "take Origin out of SOKKEN_HEADERS, or out of what is in between"
        return failed("auth", f"the server takes this for a browser: {asked.detail or reason}", advice)
    if not reason and status in (401, 407):
        found = f"not the server, but something in between asks for credentials ({status})"
        return failed("auth", found, "give it what it asks for in SOKKEN_HEADERS or SOKKEN_HEADERS_FILE")
    if reason == Reason.BAD_REQUEST and not _passed(asked.check):
        return skipped("auth", "the server was not asked: no proper request has reached it")
    if reason or asked.subprotocol or _passed(asked.check):
        return ok("auth", f"the server lets this client in, {with_what}")
    return skipped("auth", "the server was not asked")


_TARGET_ADVICE: Final[Mapping[str, str]] = {
    Reason.FORBIDDEN_TARGET: "compare the URL with the server's targets (SOKKEN_TARGETS: the same spelling, host and "
    "port) or its policy: `sokken policy test` there says which rule decides",
    Reason.TARGET_REFUSED: "start what should listen there, or correct the target in the URL",
    Reason.TARGET_UNREACHABLE: "the server's machine has no way to it: look at routes and firewalls there",
    Reason.TARGET_TIMEOUT: "a firewall or NetworkPolicy between the server and its target drops it, or it is down: try "
    "`nc -vz HOST PORT` on the server's machine",
    Reason.TARGET_DNS: "the name is resolved on the server's machine: correct it in the URL, or the resolver there",
    Reason.NOT_FOUND: "the path must be /tunnel/HOST:PORT, behind the server's SOKKEN_BASE_PATH if it has one",
    Reason.SERVER_FULL: "raise the server's SOKKEN_MAX_CONNECTIONS and `ulimit -n`, or see its log for who holds them",
    Reason.CLIENT_FULL: "the policy's connections_per_identity is reached: raise it, or see the log for who holds them",
    Reason.TARGET_FULL: "the policy's connections_per_target is reached: raise it, or find who holds them in the log",
    Reason.RATE_LIMITED: "it passes in a moment; or raise SOKKEN_HANDSHAKE_RATE_PER_ADDRESS, or the policy's rate",
    Reason.DRAINING: "the server is going down: another one must take over, or this one be started again",
}


def judge_target(asked: Asked) -> Finding:
    """Whether the server may connect, and does."""
    target = asked.url.target or "the target"
    answer = None if asked.upgrade is None else asked.upgrade.answer
    if asked.subprotocol:
        took = "" if asked.upgrade is None else f" (within {format_seconds(asked.upgrade.seconds)})"
        return ok("target", f"the server is connected to {target}{took}")
    reason = asked.reason
    if reason in _TARGET_ADVICE:
        said = asked.detail if asked.detail.startswith(target) else f"{target}: {asked.detail or 'no tunnel'}"
        return failed("target", f"{said} ({reason})", _TARGET_ADVICE[reason], reason=reason)
    if not reason and answer is not None and answer.status == 429:
        return failed("target", "there are too many connections (429)", "wait, or raise the limit of what answers so")
    if _passed(asked.check):
        return skipped("target", f"the server would connect to {target}, but was not asked to")
    return skipped("target", "the server was not asked to connect to it")


def judge_original_target(target: str | None, detail: str | None, *, is_answering: bool) -> Finding:
    """What an original thinks of its target: it opens the WebSocket in any case. ``detail`` is that of its Close."""
    name = target or "the target"
    if detail is not None:
        advice = "compare the URL with the targets that the server was started with, as text"
        return failed("target", f"{name}: the original has closed the WebSocket: {detail or 'without a word'}", advice)
    if not is_answering:
        found = f"{name}: the original has fallen silent, as it does when it cannot connect to its target"
        return failed("target", found, "start what should listen there, or correct the target in the URL")
    return ok("target", f"the original is connected to {name}, or still tries to: it does not say")


def _passed(check: Exchange) -> bool:
    return check.answer is not None and check.answer.status == _CHECK_PASSED and _is_sokken(check.answer)


def _is_sokken(answer: Answer | None) -> bool:
    return answer is not None and (CONNECTION_ID.lower() in answer.headers or REASON.lower() in answer.headers)


def _reason(answer: Answer | None) -> str:
    return "" if answer is None or answer.status == _SWITCHING else answer.headers.get(REASON.lower(), "")


def _status(answer: Answer) -> str:
    return f"{answer.status} {answer.phrase[:_SHOWN]}".rstrip()


def _problem_detail(body: bytes) -> str:
    """Take the detail of a problem document (RFC 9457) out of whatever this is."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    detail = document.get("detail") if isinstance(document, dict) else None
    return detail[:_SHOWN] if isinstance(detail, str) else ""
