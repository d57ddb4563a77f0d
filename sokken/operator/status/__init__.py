"""What a Tunnel says of itself, decided from what was observed: pure, and the clock is passed in."""

from sokken.operator.status.answers import Answer
from sokken.operator.status.describe import Event, Report, describe, describe_invalid
from sokken.operator.status.facts import Failure, Observed, wants_answer
from sokken.operator.status.reasons import REASONS, ConditionType, Reason

__all__ = [
    "REASONS",
    "Answer",
    "ConditionType",
    "Event",
    "Failure",
    "Observed",
    "Reason",
    "Report",
    "describe",
    "describe_invalid",
    "wants_answer",
]
