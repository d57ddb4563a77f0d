"""The judgements of an open tunnel: half-close, pings, idle times and speed. Facts in, a finding out.

Called by the walk. No input or output, no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from statistics import median
from typing import Final

from sokken.doctor.report import Finding, failed, format_seconds, milliseconds, ok, skipped, warning
from sokken.protocol.handshake import SUBPROTOCOL_V1
from sokken.protocol.liveness import PING_SECONDS

SLOW_PING_SECONDS: Final = 0.5
_TOO_BIG: Final = 1009
_RAISE_IDLE: Final = (
    "raise its idle time-out to an hour: haproxy `timeout tunnel 1h`, nginx `proxy_read_timeout 1h; "
    "proxy_send_timeout 1h`, an AWS load balancer `idle_timeout`"
)
_RAISE_LIFE: Final = (
    "raise what limits a connection's whole life: a Google load balancer's backend timeout (30 s unless set, up to "
    "86400), or another proxy's"
)


class End(Enum):
    """How a WebSocket ended."""

    CUT = auto()
    """Its TCP connection did, without a word: whoever holds it, not sokken."""
    CLOSED = auto()
    ABORTED = auto()
    """The server gave it up, and said why."""
    VIOLATION = auto()


@dataclass(frozen=True, slots=True)
class Ending:
    """``detail`` is what the peer said, or what was wrong with it; ``code`` that of a Close."""

    end: End
    detail: str = ""
    code: int | None = None

    def __str__(self) -> str:
        """Say it in a few words."""
        match self.end:
            case End.CUT:
                return "it was cut without a word"
            case End.CLOSED:
                return f"it was closed with {self.code}{' ' * bool(self.detail)}{self.detail}"
            case End.ABORTED:
                return f"the server ended it ({self.detail})"
            case End.VIOLATION:
                return f"what came is no WebSocket of sokken: {self.detail}"


@dataclass(frozen=True, slots=True)
class Echo:
    """What came back of ``sent`` bytes. ``has_ended`` says whether the end came back, too."""

    sent: int
    received: int
    is_same: bool
    has_ended: bool
    seconds: float
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A tunnel that was held for ``seconds``, unless it ended before, in ``ending``."""

    seconds: float
    ending: Ending | None = None


def judge_half_close(subprotocol: str, echo: Echo | None) -> Finding:
    """Whether the end of one direction leaves the other one open."""
    if subprotocol == SUBPROTOCOL_V1:
        found = "the server is an original: the first end of a direction ends both (`nc -N`, git over ssh lose bytes)"
        return warning("half-close", found, "have the server run sokken, too, which changes nothing else")
    if echo is None:
        return ok("half-close", f"{subprotocol} carries it; -echo tests it, with a target that sends back what it gets")
    if echo.is_same and echo.has_ended:
        return ok("half-close", f"{echo.received} bytes and the end came back after this end had ended its direction")
    if echo.ending is not None:
        found = f"after this end had ended its direction, {echo.ending}; {echo.received} of {echo.sent} bytes were back"
        return failed(
            "half-close", found, "is the target one that sends back all it gets, and then ends? else no -echo"
        )
    what = "not what was sent" if echo.received and not echo.is_same else f"{echo.received} of {echo.sent} bytes"
    end = "" if echo.has_ended else " and no end"
    found = f"{what}{end} came back within {format_seconds(echo.seconds)}"
    return failed("half-close", found, "is the target one that sends back all it gets, and then ends? else no -echo")


def judge_pings(times: Sequence[float], sent: int, ending: Ending | None) -> Finding:
    """How far away the server is, through everything in between."""
    if ending is not None and not times:
        return failed(
            "ping", f"there was no answer: {ending}", "look into the server's log for why the connection ended"
        )
    if not times:
        advice = "something in between opens WebSockets and does not pass their frames on, or holds them back (buffers)"
        return failed("ping", f"none of {sent} pings was answered", advice)
    least, middle = min(times), median(times)
    found = f"{format_seconds(least)} at best, {format_seconds(middle)} in the middle of {len(times)}"
    values = {"min_ms": milliseconds(least), "median_ms": milliseconds(middle), "answered": len(times), "sent": sent}
    if ending is None and len(times) < sent:
        advice = "packets are lost on the way, or something in between holds frames back"
        return warning("ping", f"{found}; {sent - len(times)} of {sent} were not answered in time", advice, **values)
    if middle >= SLOW_PING_SECONDS:
        return warning("ping", found, "each keystroke takes that long: look for a way that is shorter", **values)
    return ok("ping", found, **values)


def judge_idle(asked_seconds: float, quiet: Hold | None, pinged: Hold | None) -> Finding:
    """What happens to a tunnel over which nothing moves: ``quiet`` sends nothing, ``pinged`` a ping every second.

    Both answer the server's pings, which come every 20 s.
    """
    holds = [hold for hold in (quiet, pinged) if hold is not None]
    if not holds:
        return skipped("idle", "there was no tunnel to hold")
    said = [hold for hold in holds if hold.ending is not None and hold.ending.end is not End.CUT]
    if said:
        first = min(said, key=lambda hold: hold.seconds)
        found = f"after {format_seconds(first.seconds)}, {first.ending}"
        return warning("idle", found, "the server's log says why; a policy's idle_seconds, or the target itself")
    cut = {name: hold for name, hold in (("quiet", quiet), ("pinged", pinged)) if hold is not None and hold.ending}
    values = {f"{name}_cut_after_seconds": round(hold.seconds, 1) for name, hold in cut.items()}
    if not cut:
        longer = "" if asked_seconds > PING_SECONDS else "; -idle 120 looks for limits up to two minutes"
        return ok("idle", f"nothing has cut an idle tunnel within {asked_seconds:g} s{longer}", **values)
    if "pinged" in cut:
        found = f"cut after {format_seconds(cut['pinged'].seconds)} in between, although there were pings"
        return failed("idle", found, _RAISE_LIFE, **values)
    after = cut["quiet"].seconds
    found = f"an idle tunnel is cut after {format_seconds(after)} in between"
    if after < PING_SECONDS:
        return failed(
            "idle", f"{found}, before the first of sokken's pings ({PING_SECONDS:g} s)", _RAISE_IDLE, **values
        )
    return warning(
        "idle", f"{found}; sokken's pings keep tunnels open, an original's are not there", _RAISE_IDLE, **values
    )


def judge_speed(echo: Echo | None, message_bytes: int) -> Finding:
    """How much goes through, both ways at once, and whether it is what was sent."""
    if echo is None:
        return skipped("speed", "only a target that sends back what it gets can be measured: say -echo if it does")
    rate = echo.received / echo.seconds / 1e6 if echo.seconds else 0.0
    values = {"bytes": echo.received, "megabytes_per_second": round(rate, 1)}
    if echo.ending is not None and echo.ending.code == _TOO_BIG:
        advice = f"set SOKKEN_MAX_MESSAGE_BYTES below {message_bytes} at both ends, for example to 32768"
        return failed(
            "speed", f"something in between takes no messages of {message_bytes} bytes: {echo.ending}", advice
        )
    if echo.ending is not None:
        advice = (
            "look into the server's log; a proxy may cap messages (SOKKEN_MAX_MESSAGE_BYTES) or a connection's bytes"
        )
        return failed("speed", f"after {echo.received} bytes, {echo.ending}", advice, **values)
    if not echo.is_same:
        return failed("speed", "what came back is not what was sent", "is the target one that sends back all it gets?")
    if not echo.received:
        return failed("speed", "nothing came back", "is the target one that sends back all it gets?")
    size = echo.received / 1e6
    return ok("speed", f"{rate:.0f} MB/s each way at once, {size:.0f} MB came back as they were sent", **values)
