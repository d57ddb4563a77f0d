"""What metrics and /statusz read of the operator whenever somebody asks. Called by the program at start."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from sokken import __version__
from sokken.operator.cluster.answers import Trouble
from sokken.operator.lease import Campaign
from sokken.operator.term import Term
from sokken.telemetry.instruments import (
    API_FAILURES,
    LEADER,
    QUEUE_DEPTH,
    TUNNELS,
    WATCH_AGE,
    Attributes,
    Instrument,
)
from sokken.telemetry.metrics import Metrics

Point = tuple[Instrument, Attributes, float]
Find = Callable[[], Term | None]
"""The term of the moment, if this operator leads."""

_STATUSES: Final = ("True", "False", "Unknown", "Suspended")


def watch_operator(metrics: Metrics, campaign: Campaign, find: Find) -> Callable[[Trouble], None]:
    """Let the metrics say it; what is returned is to be told of each failed request."""

    def read() -> Iterator[Point]:
        yield LEADER, (), int(campaign.is_leader)
        term = find()
        if term is None:
            return
        yield QUEUE_DEPTH, (), term.schedule.depth(time.monotonic())
        ready = term.count_ready()
        for status in _STATUSES:
            yield TUNNELS, (("ready", status),), ready[status]
        for resource, age in term.watch_ages().items():
            yield WATCH_AGE, (("resource", resource.qualified),), age

    metrics.observe(read)
    return lambda trouble: metrics.count(API_FAILURES, (("error.type", trouble.value),))


class Status:
    """The document of the operator's /statusz."""

    def __init__(
        self,
        settings: Sequence[Mapping[str, object]],
        campaign: Campaign,
        find: Find,
        not_ready: Callable[[], str | None],
        is_leaving: Callable[[], bool],
    ) -> None:
        """``settings`` as the settings' catalogue shows them."""
        self._settings = settings
        self._campaign = campaign
        self._find = find
        self._not_ready = not_ready
        self._is_leaving = is_leaving
        self._started_at = datetime.now(UTC)
        self._started = time.monotonic()

    def describe(self) -> dict[str, object]:
        """As of now."""
        reason, term = self._not_ready(), self._find()
        return {
            "role": "operator",
            "version": __version__,
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "uptime_s": round(time.monotonic() - self._started, 3),
            "state": "draining" if self._is_leaving() else "serving",
            "ready": reason is None,
            "not_ready": reason,
            "leader": self._campaign.is_leader,
            "lease_holder": self._campaign.holder or None,
            "lease_problem": self._campaign.problem,
            "work": None if term is None else _describe_term(term),
            "settings": list(self._settings),
        }


def _describe_term(term: Term) -> dict[str, object]:
    ready = term.count_ready()
    return {
        "problem": term.problem,
        "queue": term.schedule.depth(time.monotonic()),
        "working": term.schedule.working,
        "tunnels": {status: ready[status] for status in _STATUSES},
        "watches": {resource.qualified: round(age, 1) for resource, age in term.watch_ages().items()},
    }
