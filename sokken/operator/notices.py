"""Events on Tunnels: one for each transition, in words that `kubectl describe` shows.

Written by the reconciler after a status. What is told again within ten minutes becomes a series of the same Event, so
that something that comes and goes does not fill etcd. An Event that cannot be written is not worth a failure.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from sokken.operator.cluster.answers import ClusterError, Trouble
from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.resources import EVENTS, TUNNELS, Manifest
from sokken.operator.status import Event
from sokken.telemetry.logs import get_logger

REPORTER: Final = "sokken.dev/operator"
SERIES_SECONDS: Final = 600.0
_REMEMBERED: Final = 2000
_MOST_NOTE: Final = 1024
_MOST_NAME: Final = 253

log = get_logger("notices")


@dataclass(slots=True)
class _Told:
    name: str
    at: float
    count: int = 1


class Notices:
    """Tells them; ``instance`` is which operator does."""

    def __init__(self, cluster: Cluster, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._instance = instance
        self._clock = clock
        self._told: OrderedDict[tuple[str, str, str], _Told] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Notices {len(self._told)}>"

    async def tell(self, document: Manifest, event: Event) -> None:
        """Write one about a Tunnel."""
        metadata = document["metadata"]
        what = (metadata["uid"], event.reason, event.message)
        told, now = self._told.pop(what, None), self._clock()
        try:
            if told is not None and now - told.at < SERIES_SECONDS and await self._repeat(metadata["namespace"], told):
                told.at, told.count = now, told.count + 1
            else:
                told = _Told(await self._create(metadata, event), now)
        except ClusterError as error:
            log.warning("event_not_written", reason=event.reason, detail=str(error))
            return
        self._told[what] = told
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)

    async def _create(self, metadata: Manifest, event: Event) -> str:
        moment = _now()
        salt = sha256(f"{metadata['uid']} {event.reason} {moment}".encode()).hexdigest()[:16]
        name = f"{metadata['name'][: _MOST_NAME - 17]}.{salt}"
        await self._cluster.create(
            EVENTS,
            {
                "apiVersion": EVENTS.api_version,
                "kind": EVENTS.kind,
                "metadata": {"name": name, "namespace": metadata["namespace"]},
                "eventTime": moment,
                "type": event.type,
                "reason": event.reason,
                "action": event.action,
                "note": event.message[:_MOST_NOTE],
                "regarding": {
                    "apiVersion": TUNNELS.api_version,
                    "kind": TUNNELS.kind,
                    "namespace": metadata["namespace"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
                "reportingController": REPORTER,
                "reportingInstance": self._instance[:128],
            },
        )
        return name

    async def _repeat(self, namespace: str, told: _Told) -> bool:
        """Count it in the Event that is there; whether it still is."""
        series = {"count": told.count + 1, "lastObservedTime": _now()}
        try:
            await self._cluster.merge(EVENTS, namespace, told.name, {"series": series})
        except ClusterError as error:
            if error.trouble is Trouble.NOT_FOUND:
                return False
            raise
        return True


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
