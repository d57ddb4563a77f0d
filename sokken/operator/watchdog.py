"""Whether the doorbell still rings: what it has told is compared with what there is.

kopf shows nothing of its watch, and a watch that hangs looks like a quiet cluster. So the Tunnels' versions are listed
every half minute: a version that is there, and that nobody rang for within a minute, means a dead watch. The
comparison is pure; ``Watchdog`` lists, rings for what was missed, and says that the process should be restarted.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from sokken.operator.cluster.answers import ClusterError
from sokken.operator.cluster.cache import Key, key_of, uid_of
from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.resources import TUNNELS, Manifest
from sokken.operator.handlers import Bell
from sokken.telemetry.logs import get_logger

LOOK_SECONDS: Final = 30.0
STALE_SECONDS: Final = 60.0

log = get_logger("watchdog")

Version = tuple[Key, str]
"""A Tunnel's key and resourceVersion."""


class Deliveries:
    """Pure: what was rung for, by uid."""

    def __init__(self) -> None:
        self._told: dict[str, Version] = {}
        self._missed: dict[str, tuple[str, float]] = {}
        """What is there and was not rung for: its version, and since when that is known."""
        self._gone: set[str] = set()
        """What was told and is not there: the last look may have been older than the bell."""

    def __repr__(self) -> str:
        return f"<Deliveries {len(self._told)} missed={len(self._missed)}>"

    def note(self, bell: Bell) -> None:
        """It has rung."""
        if bell.is_gone:
            self._told.pop(bell.uid, None)
        else:
            self._told[bell.uid] = (bell.key, bell.version)

    def compare(self, listed: Mapping[str, Version], now: float) -> list[Key]:
        """The Tunnels that were missed: there in a version that nobody rang for, or gone without a word.

        What was told while the list was on its way is no reason for either.
        """
        missed = dict(self._find_missed(listed, now))
        gone = self._told.keys() - listed.keys()
        lost = [self._told.pop(uid)[0] for uid in gone & self._gone]  # a watch that lists anew does not tell of those
        self._missed, self._gone = missed, gone - self._gone
        return [listed[uid][0] for uid in missed] + lost

    def _find_missed(self, listed: Mapping[str, Version], now: float) -> Iterator[tuple[str, tuple[str, float]]]:
        for uid, (_, version) in listed.items():
            told, before = self._told.get(uid), self._missed.get(uid)
            if is_told(told, version):
                continue
            is_old = before is not None and not is_told(told, before[0])
            yield uid, before if before is not None and is_old else (version, now)

    def silence(self, now: float) -> float:
        """For how many seconds something has been known that nobody rang for."""
        return max((now - since for _, since in self._missed.values()), default=0.0)


def is_told(told: Version | None, version: str) -> bool:
    """Whether that version, or a later one, was rung for."""
    if told is None:
        return False
    known = told[1]
    return known == version or (known.isdecimal() and version.isdecimal() and int(known) > int(version))


class Watchdog:
    """Looks regularly, from when the doorbell has had time to begin. ``run`` it."""

    def __init__(
        self,
        cluster: Cluster,
        scopes: Sequence[str | None],
        deliveries: Deliveries,
        ring: Callable[[Key], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agreed_at = clock()
        """When all that there was had been rung for, the last time."""
        self._cluster = cluster
        self._scopes = scopes
        self._deliveries = deliveries
        self._ring = ring
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Watchdog {self._deliveries!r}>"

    @property
    def problem(self) -> str | None:
        """Why the process should be restarted."""
        silence = self._deliveries.silence(self._clock())
        return f"the watch of Tunnels has been silent for {silence:.0f} s" if silence >= STALE_SECONDS else None

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """List and compare once. While the API server does not answer, nothing can be said."""
        try:
            listings = [await self._cluster.list(TUNNELS, scope, only_metadata=True) for scope in self._scopes]
        except ClusterError as error:
            log.debug("tunnels_not_listed", detail=str(error))
            return
        now = self._clock()
        missed = self._deliveries.compare(_versions(item for listing in listings for item in listing.items), now)
        if not missed:
            self.agreed_at = now
        for key in missed:
            self._ring(key)
        if self.problem:
            log.error("watch_stale", detail=self.problem)


def _versions(items: Iterable[Manifest]) -> dict[str, Version]:
    return {uid_of(item): (key_of(item), item["metadata"]["resourceVersion"]) for item in items}
