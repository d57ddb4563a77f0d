"""What the API server's refusals mean: one vocabulary, whatever form they come in.

Pure: from status, headers and body to a ``ClusterError``. Called by client.py, which raises it, and by informer.py
for errors inside a watch. What is done about each kind is decided by whoever asked.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sokken.errors import SokkenError

_SHOWN: Final = 600
_MOST_SECONDS: Final = 300.0


class Trouble(StrEnum):
    """Kinds of refusals, and the lack of an answer."""

    UNAVAILABLE = "unavailable"
    """No answer, or one that a later one may replace: a connection that broke, a time-out, 5xx."""
    BUSY = "busy"
    """429: the server wants to be asked later."""
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    TERMINATING = "terminating"
    """The namespace is on its way out, and takes nothing new."""
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    GONE = "gone"
    """410: what a watch or a list wanted to go on from is no longer known."""
    INVALID = "invalid"
    """The object is wrong, and stays so: 400, 422, and the 500 of a schema error under server-side apply."""


PASSING: Final = frozenset({Trouble.UNAVAILABLE, Trouble.BUSY, Trouble.UNAUTHENTICATED})
"""What may mend itself, whatever was asked."""

_BY_STATUS: Final[Mapping[int, Trouble]] = {
    400: Trouble.INVALID,
    401: Trouble.UNAUTHENTICATED,
    403: Trouble.FORBIDDEN,
    404: Trouble.NOT_FOUND,
    405: Trouble.NOT_FOUND,
    409: Trouble.CONFLICT,
    410: Trouble.GONE,
    413: Trouble.INVALID,
    415: Trouble.INVALID,
    422: Trouble.INVALID,
    429: Trouble.BUSY,
}
# Server-side apply answers 500 to what its schema does not know, or knows twice (structured-merge-diff's words).
_SCHEMA_ERRORS: Final = (
    "failed to create typed patch object",
    "failed to create typed live object",
    "field not declared in schema",
    "duplicate entries for key",
)


@dataclass(frozen=True, slots=True)
class Call:
    """What was asked, as RBAC names it."""

    verb: str
    resource: str
    """``deployments.apps``; with its subresource, ``tunnels.sokken.dev/status``."""
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        """As a person would say it."""
        place = "/".join(filter(None, (self.namespace, self.name)))
        return f"{self.verb} {self.resource} {place}".rstrip()


class ClusterError(SokkenError):
    """The API server has not done what it was asked. ``status`` is 0 where there was no answer, times are seconds."""

    def __init__(
        self, trouble: Trouble, call: Call, message: str, *, status: int = 0, retry_after: float | None = None
    ) -> None:
        super().__init__(trouble, call, message)
        self.trouble = trouble
        self.call = call
        self.message = message
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        answer = f"{self.status} " if self.status else ""
        return f"{self.call}: {answer}{self.message}"


def judge_refusal(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> ClusterError:
    """From an answer that is no success."""
    return judge_status(call, status, _parse(body), headers.get("Retry-After", ""))


def judge_status(call: Call, code: int, document: Mapping[str, Any], retry_after: str = "") -> ClusterError:
    """From a Status object (also one inside a watch), or whatever stands in its place."""
    message = str(document.get("message") or document.get("reason") or "without a word")
    shown = "".join(c if c.isprintable() else " " for c in message[:_SHOWN])
    details = document.get("details")
    details = details if isinstance(details, dict) else {}
    seconds = retry_after or str(details.get("retryAfterSeconds", ""))
    return ClusterError(
        _find_trouble(code, message, details), call, shown, status=code, retry_after=_parse_seconds(seconds)
    )


def _find_trouble(code: int, message: str, details: Mapping[str, Any]) -> Trouble:
    causes = details.get("causes")
    reasons = {cause.get("reason") for cause in causes if isinstance(cause, dict)} if isinstance(causes, list) else ()
    if code == 403 and "NamespaceTerminating" in reasons:
        return Trouble.TERMINATING
    if code == 500 and any(words in message for words in _SCHEMA_ERRORS):
        return Trouble.INVALID
    return _BY_STATUS.get(code, Trouble.UNAVAILABLE)


def _parse(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {"message": body[:_SHOWN].decode(errors="replace").strip()}
    return document if isinstance(document, dict) else {}


def _parse_seconds(text: str) -> float | None:
    """Seconds only: a date would need a clock, and the API server sends none."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return min(seconds, _MOST_SECONDS) if seconds >= 0 else None
