"""The one vocabulary for how things end, shared by logs, spans, metrics, ``abort`` notices and HTTP refusals.

A ``Reason`` is why a server answered with HTTP instead of a tunnel, an ``Outcome`` is how an open tunnel
ended, a ``ConnectOutcome`` is why a client never got one. Called from every layer; it only names things
and must not decide how they are shown or what is done about them.
"""

from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from sokken.errors import SokkenError


class Reason(StrEnum):
    """The values of the header ``Sokken-Reason``."""

    BAD_REQUEST = "bad_request"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN_TARGET = "forbidden_target"
    FORBIDDEN_ORIGIN = "forbidden_origin"
    NOT_FOUND = "not_found"
    SERVER_FULL = "server_full"
    CLIENT_FULL = "client_full"
    TARGET_FULL = "target_full"
    RATE_LIMITED = "rate_limited"
    TARGET_REFUSED = "target_refused"
    TARGET_UNREACHABLE = "target_unreachable"
    TARGET_DNS = "target_dns"
    DRAINING = "draining"
    TARGET_TIMEOUT = "target_timeout"


class Outcome(StrEnum):
    """How an open tunnel ended."""

    COMPLETED = "completed"
    LOCAL_RESET = "local_reset"
    PEER_RESET = "peer_reset"
    PEER_LOST = "peer_lost"
    PING_TIMEOUT = "ping_timeout"
    HALF_CLOSED_TIMEOUT = "half_closed_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    LIFETIME_EXCEEDED = "lifetime_exceeded"
    DRAIN_DEADLINE = "drain_deadline"
    POLICY_REVOKED = "policy_revoked"
    KILLED = "killed"
    PROTOCOL_ERROR = "protocol_error"
    INTERNAL_ERROR = "internal_error"


class ConnectOutcome(StrEnum):
    """Why a client never had an open tunnel, apart from what a server said in a ``Reason``."""

    SERVER_UNREACHABLE = "server_unreachable"
    SERVER_DNS = "server_dns"
    SERVER_TLS = "server_tls"
    CONNECT_TIMEOUT = "connect_timeout"
    LOCAL_GAVE_UP = "local_gave_up"
    CREDENTIAL_UNAVAILABLE = "credential_unavailable"


STATUS: Final[Mapping[Reason, int]] = {
    Reason.BAD_REQUEST: 400,
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN_TARGET: 403,
    Reason.FORBIDDEN_ORIGIN: 403,
    Reason.NOT_FOUND: 404,
    Reason.SERVER_FULL: 429,
    Reason.CLIENT_FULL: 429,
    Reason.TARGET_FULL: 429,
    Reason.RATE_LIMITED: 429,
    Reason.TARGET_REFUSED: 502,
    Reason.TARGET_UNREACHABLE: 502,
    Reason.TARGET_DNS: 502,
    Reason.DRAINING: 503,
    Reason.TARGET_TIMEOUT: 504,
}
"""The HTTP status that goes with each reason."""


def is_retryable(reason: Reason) -> bool:
    """Whether the same request may succeed a moment later (429 and 503 only).

    A target that could not be dialled is not: the application should see its refusal at once.
    """
    return STATUS[reason] in (429, 503)


class Refusal(SokkenError):
    """An HTTP answer instead of a tunnel.

    ``detail`` is one sentence for a person, ``retry_after`` is in seconds. A retryable refusal always has a
    ``retry_after``: 1 unless the caller knows better. ``status`` is the reason's own unless HTTP has a better
    one (408, 431). ``cause`` is for this end's log: what the other end need not know.
    """

    def __init__(
        self, reason: Reason, detail: str, retry_after: int | None = None, *, status: int | None = None, cause: str = ""
    ) -> None:
        super().__init__(reason, detail, retry_after)
        self.reason = reason
        self.detail = detail
        self.cause = cause
        self.status = status or STATUS[reason]
        self.retry_after = 1 if retry_after is None and is_retryable(reason) else retry_after

    def __str__(self) -> str:
        return f"{self.detail} ({self.reason})"


def problem_document(refusal: Refusal) -> dict[str, str | int]:
    """Describe the refusal as an RFC 9457 document, with our ``reason`` as its extension member."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.detail,
        "reason": refusal.reason.value,
    }
