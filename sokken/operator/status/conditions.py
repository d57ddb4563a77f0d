"""A condition as a value, and how it becomes the one that stands in the status.

The time of its last transition is that of its status alone: it is kept as long as that is the same (Kubernetes API
conventions, "Typical status properties").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sokken.operator.status.reasons import ConditionType, Reason

TRUE: Final = "True"
FALSE: Final = "False"
UNKNOWN: Final = "Unknown"

_MESSAGE_CHARACTERS: Final = 1000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said about one aspect of a Tunnel."""

    status: str
    reason: Reason
    message: str

    def format(
        self, kind: ConditionType, generation: int, before: Mapping[str, Any] | None, now: datetime
    ) -> dict[str, Any]:
        """As a condition; ``before`` is the one that stands there."""
        is_same = before is not None and before.get("status") == self.status
        since = before["lastTransitionTime"] if is_same and before is not None else format_time(now)
        message = self.message
        if len(message) > _MESSAGE_CHARACTERS:
            message = message[: _MESSAGE_CHARACTERS - 1] + "…"
        return {
            "type": kind.value,
            "status": self.status,
            "observedGeneration": generation,
            "lastTransitionTime": since,
            "reason": self.reason.value,
            "message": message,
        }


def good(reason: Reason, message: str) -> Verdict:
    """As it should be."""
    return Verdict(TRUE, reason, message)


def bad(reason: Reason, message: str) -> Verdict:
    """Not as it should be."""
    return Verdict(FALSE, reason, message)


def unknown(reason: Reason, message: str) -> Verdict:
    """Nobody knows."""
    return Verdict(UNKNOWN, reason, message)


def format_time(moment: datetime) -> str:
    """As the API has it (RFC 3339), to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
