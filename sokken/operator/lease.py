"""Which of several operators works: the one that holds the Lease, and no other.

``decide`` is the rule: it compares no clocks, only what has been seen with when it was seen here (client-go's leader
election does the same). ``Campaign`` reads and writes the Lease as the rule says. The times are Kubernetes' usual ones:
who has not renewed for 15 s has lost it, who cannot renew for 10 s stops by itself.
"""

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, Final

from sokken.operator.cluster.answers import ClusterError, Trouble
from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.resources import LEASES, Manifest
from sokken.telemetry.logs import get_logger

DURATION_SECONDS: Final = 15
RENEW_SECONDS: Final = 10.0
RETRY_SECONDS: Final = 2.0
_SPREAD: Final = 0.1

log = get_logger("lease")


class Move(Enum):
    """What is to be done next."""

    CREATE = auto()
    TAKE = auto()
    RENEW = auto()
    WAIT = auto()


@dataclass(frozen=True, slots=True)
class Record:
    """What a Lease says: who holds it, and the words of its last renewal, which are only compared."""

    holder: str = ""
    renewed: str = ""
    duration: float = DURATION_SECONDS
    transitions: int = 0

    @classmethod
    def of(cls, manifest: Manifest) -> "Record":
        """What stands in the object."""
        spec: dict[str, Any] = manifest.get("spec") or {}
        return cls(
            holder=spec.get("holderIdentity") or "",
            renewed=spec.get("renewTime") or "",
            duration=spec.get("leaseDurationSeconds") or DURATION_SECONDS,
            transitions=spec.get("leaseTransitions") or 0,
        )


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record, and when it was first seen so (monotonic)."""

    record: Record
    at: float


def look(seen: Sighting | None, record: Record, now: float) -> Sighting:
    """Note what the Lease says now: as long as it says the same, nobody has renewed it."""
    return seen if seen is not None and seen.record == record else Sighting(record, now)


def decide(me: str, seen: Sighting | None, now: float) -> Move:
    """What to do about the Lease as it was seen; None: there is none."""
    if seen is None:
        return Move.CREATE
    if seen.record.holder == me:
        return Move.RENEW
    is_free = not seen.record.holder or now - seen.at >= seen.record.duration
    return Move.TAKE if is_free else Move.WAIT


def has_lost(renewed_at: float, now: float) -> bool:
    """Whether the holder must stop, because another may soon think it dead."""
    return now - renewed_at >= RENEW_SECONDS


def write(me: str, before: Manifest | None, namespace: str, name: str, wall: datetime) -> Manifest:
    """The Lease, held by me; of another's it keeps what is not about who holds it."""
    stamp = wall.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    record = Record.of(before or {})
    is_mine = record.holder == me
    spec = {
        **((before or {}).get("spec") or {}),
        "holderIdentity": me,
        "leaseDurationSeconds": DURATION_SECONDS,
        "renewTime": stamp,
        "leaseTransitions": record.transitions + (before is not None and not is_mine),
    }
    if not is_mine:
        spec["acquireTime"] = stamp
    empty: Manifest = {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {"namespace": namespace, "name": name},
    }
    return {**(before or empty), "spec": spec}


class Campaign:
    """One operator's part in it. ``win``, then ``hold`` while working, then perhaps ``release``."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, me: str) -> None:
        """``me`` must be nobody else's name, nor that of the process before."""
        self.me = me
        self.is_leader = False
        self.holder = ""
        """Who holds it, as last read."""
        self.has_read = False
        """Whether the Lease, or that there is none, has been read: this operator can take part."""
        self.problem: str | None = None
        """Why it could not be read or written the last time."""
        self._cluster = cluster
        self._place = (namespace, name)
        self._seen: Sighting | None = None
        self._lease: Manifest | None = None
        self._is_known = False
        """Whether the Lease is as I wrote it last, as far as I know: it can be renewed without reading it."""
        self._renewed_at = 0.0

    def __repr__(self) -> str:
        return f"<Campaign {self.me} {'leads' if self.is_leader else f'after {self.holder}'}>"

    async def win(self) -> None:
        """Until the Lease is held; errors are waited out."""
        self._is_known = False
        while not await self._attempt():
            await self._pause()
        self.is_leader = True
        log.info("leading", lease="/".join(self._place), identity=self.me)

    async def hold(self) -> None:
        """Renew it; returns when it is lost, and whoever works must stop within five seconds."""
        while not has_lost(self._renewed_at, time.monotonic()):
            await self._pause()
            left = RENEW_SECONDS - (time.monotonic() - self._renewed_at)
            try:
                async with asyncio.timeout(max(0.0, left)):
                    if not await self._attempt() and self.holder not in {"", self.me}:
                        break
            except TimeoutError:
                break
        self.is_leader = False
        log.warning("leadership_lost", holder=self.holder, detail=self.problem)

    async def release(self) -> None:
        """Give it back, so that another need not wait; call it when nothing is written any more."""
        if not self.is_leader or self._lease is None:
            return
        self.is_leader, self.holder = False, ""
        spec = {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._cluster.replace(LEASES, {**self._lease, "spec": spec})
        except ClusterError as error:
            log.warning("lease_not_released", detail=str(error))
        else:
            log.info("lease_released")

    async def _attempt(self) -> bool:
        """Read the Lease and do what is right; whether it is held by me for certain."""
        try:
            if not self._is_known:
                await self._read()
            now = time.monotonic()
            move = decide(self.me, self._seen, now)
            if move is not Move.WAIT:
                await self._write(move)
        except ClusterError as error:
            self._note(error)
            return False
        self.problem = None
        if move is Move.WAIT:
            return False
        self._renewed_at = now  # not when the answer came: the others count from the write
        return True

    async def _read(self) -> None:
        try:
            self._lease = await self._cluster.get(LEASES, *self._place)
        except ClusterError as error:
            if error.trouble is not Trouble.NOT_FOUND:
                raise
            self._lease = self._seen = None
        else:
            self._seen = look(self._seen, Record.of(self._lease), time.monotonic())
        self.has_read = True
        self.holder = self._seen.record.holder if self._seen else ""

    async def _write(self, move: Move) -> None:
        wanted = write(self.me, self._lease, *self._place, datetime.now(UTC))
        if move is Move.CREATE:
            self._lease = await self._cluster.create(LEASES, wanted)
        else:
            self._lease = await self._cluster.replace(LEASES, wanted)
        self._seen = Sighting(Record.of(self._lease), time.monotonic())
        self.holder, self._is_known = self.me, True

    def _note(self, error: ClusterError) -> None:
        """That another was quicker is the way of the thing."""
        if error.trouble is not Trouble.CONFLICT and self.problem is None:
            log.warning("lease_unavailable", detail=str(error))
        self.problem, self._is_known = str(error), False

    async def _pause(self) -> None:
        uniform = random.random()  # noqa: S311 -- spreads requests, hides nothing
        await asyncio.sleep(RETRY_SECONDS * (1 - _SPREAD + 2 * _SPREAD * uniform))
