"""When a client tries again, and when it must not: the table of refusals, and the delays between attempts.

Called by the client's dial loop for each answer that is no tunnel. No clock and no chance: the random number
and the time that is left are passed in. Whether a byte of the application has been sent, after which nothing
may be tried again, is the caller's to know.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sokken.protocol.handshake import Answer
from sokken.protocol.identity import REASON
from sokken.protocol.outcomes import ConnectOutcome, Reason, is_retryable

FIRST_DELAY_SECONDS: Final = 0.1
MAX_DELAY_SECONDS: Final = 5.0
MAX_BODY_BYTES: Final = 16384

_REASONS: Final[Mapping[str, Reason]] = {reason.value: reason for reason in Reason}
_RETRIED: Final = frozenset({429, 500, 502, 503, 504})
_OUTCOMES: Final[Mapping[int, Reason]] = {
    400: Reason.BAD_REQUEST,
    401: Reason.UNAUTHENTICATED,
    403: Reason.FORBIDDEN_TARGET,
    404: Reason.NOT_FOUND,
    407: Reason.UNAUTHENTICATED,
    429: Reason.RATE_LIMITED,
}
_NO_SOKKEN: Final = "what answered is perhaps not a sokken server: check the URL"
_HINTS: Final[Mapping[int, str]] = {
    401: "check the credentials that the server asks for",
    403: "check the credentials and the server's allow-list of targets",
    404: "check the URL's path and the server's SOKKEN_BASE_PATH",
    407: "an HTTP proxy in between asks for credentials",
}
_SHOWN = 200

_is_seconds = re.compile(r"[0-9]{1,300}").fullmatch  # more digits than that are no float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about an answer. ``outcome`` is a Reason or a ConnectOutcome, ``detail`` is for the log."""

    retry: bool
    outcome: str
    detail: str


def retry_delay(attempt: int, uniform: float) -> float:
    """Draw the delay after attempt number ``attempt`` (from 0), in seconds; ``uniform`` is random in 0..1."""
    return uniform * min(MAX_DELAY_SECONDS, FIRST_DELAY_SECONDS * (1 << min(attempt, 10)))


def next_delay(attempt: int, uniform: float, retry_after: float | None, remaining: float) -> float | None:
    """Draw the delay before the next attempt, at least ``retry_after``; None to give up now.

    All in seconds; ``remaining`` is what is left of the time to connect. A delay that takes all of it leaves
    no time for an attempt, so waiting would only make the failure late.
    """
    delay = max(retry_delay(attempt, uniform), retry_after or 0.0)
    return delay if delay < remaining else None


def parse_retry_after(text: str) -> float | None:
    """Read Retry-After in seconds; None if it is anything else, as a date (there is no clock here)."""
    return float(text) if _is_seconds(text) else None


def judge_answer(answer: Answer, body: bytes = b"") -> Verdict:
    """Decide about an answer that is not 101, by its Sokken-Reason, or else by its status.

    Without a reason that is known here, a proxy in between, an original or a newer server has answered.
    ``body`` is what came of the answer's body; the detail of a problem document in it is shown.
    """
    said = answer.headers.get(REASON.lower(), "")
    reason = _REASONS.get(said)
    parts = [f"the server answered {answer.status} {_shown(said or answer.phrase)}".rstrip()]
    parts += _hint(answer, is_known=reason is not None)
    parts += _problem_detail(body)
    detail = "; ".join(parts)
    if reason is not None:
        return Verdict(is_retryable(reason), reason.value, detail)
    outcome = _OUTCOMES.get(answer.status, ConnectOutcome.SERVER_UNREACHABLE)
    return Verdict(answer.status in _RETRIED, outcome.value, detail)


def _hint(answer: Answer, *, is_known: bool) -> list[str]:
    status = answer.status
    if status // 100 == 3:
        location = answer.headers.get("location")
        if location:
            return [f"the server redirects to {_shown(location)}; use that URL (with ws:// or wss://)"]
        return ["the server redirects, but does not say where to"]
    if status in _HINTS:
        return [_HINTS[status]]
    # 426 and 400 are what an HTTP server says to an upgrade that it does not know; 2xx is a web page.
    return [_NO_SOKKEN] if status < 500 and status != 429 and not is_known else []


def _problem_detail(body: bytes) -> list[str]:
    """Take the detail of an RFC 9457 document out of whatever this is."""
    if not body or len(body) > MAX_BODY_BYTES:
        return []
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return []
    detail = document.get("detail") if isinstance(document, dict) else None
    return [_shown(detail)] if isinstance(detail, str) and detail else []


def _shown(text: str) -> str:
    """Make what a peer sent fit for a log and a terminal."""
    shown = "".join(c if c.isprintable() else "?" for c in text[:_SHOWN])
    return shown if len(text) <= _SHOWN else shown[:-1] + "…"
