"""What the connections carry, looked at about once a second while somebody wants to know, and not otherwise.

Ten thousand connections are looked at in small batches between which the loop has its turn, once for all who watch.
Nothing here is called by a relay.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeVar

from sokken.transport.connections import Connection, Connections

T = TypeVar("T")

TICK_SECONDS: Final = 1.0
STALE_SECONDS: Final = 15.0
"""A rate is over the time since the last look; after this long there is none, and nothing is kept."""
AT_ONCE: Final = 200
"""Connections within one turn of the loop: less than a millisecond."""


@dataclass(slots=True, eq=False)
class Sample:
    """One connection at the last look: bytes so far, and bytes a second since the look before (None: the first).

    The next look changes it in place: ten thousand new objects a second would keep the garbage collector busy.
    """

    connection: Connection
    at: float
    bytes_up: int = 0
    bytes_down: int = 0
    rate_up: float | None = None
    rate_down: float | None = None


@dataclass(slots=True, eq=False)
class Sweep:
    """All connections at about one moment; ``at`` is monotonic, the totals are since the program's start."""

    at: float
    samples: list[Sample] = field(default_factory=list)
    bytes_up: int = 0
    bytes_down: int = 0
    rate_up: float | None = None
    rate_down: float | None = None
    connecting: int = 0
    half_closed: int = 0


async def in_turns(items: Iterable[T], size: int = AT_ONCE) -> AsyncIterator[Sequence[T]]:
    """Batches of the items, with the loop's turn between them."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
        await asyncio.sleep(0)


class Sampler:
    """Looks at the connections when asked, at most once a tick."""

    def __init__(self, connections: Connections, clock: Callable[[], float] = time.monotonic) -> None:
        self._connections = connections
        self._clock = clock
        self._sweeping = asyncio.Lock()
        self._latest: Sweep | None = None
        self._forgetting: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Sampler {len(self._latest.samples) if self._latest else 'idle'}>"

    async def sweep(self) -> Sweep:
        """How things are now, or were less than a tick ago."""
        async with self._sweeping:
            now = self._clock()
            if self._latest is None or now - self._latest.at >= TICK_SECONDS * 0.9:
                self._latest = await self._look(now, self._latest)
                self._remember()
            return self._latest

    async def _look(self, now: float, before: Sweep | None) -> Sweep:
        if before is not None and now - before.at > STALE_SECONDS:
            before = None
        ended = self._connections.ended
        sweep = Sweep(now, bytes_up=ended.bytes_up, bytes_down=ended.bytes_down)
        known: dict[Connection, Sample] = {}
        async for samples in in_turns(before.samples if before is not None else ()):
            known.update((sample.connection, sample) for sample in samples)
        async for connections in in_turns(self._connections):
            at = self._clock()
            for connection in connections:
                self._add(sweep, connection, at, known, before)
        if before is not None:
            elapsed = now - before.at
            sweep.rate_up = max(0, sweep.bytes_up - before.bytes_up) / elapsed
            sweep.rate_down = max(0, sweep.bytes_down - before.bytes_down) / elapsed
        return sweep

    def _add(
        self, sweep: Sweep, connection: Connection, at: float, known: Mapping[Connection, Sample], before: Sweep | None
    ) -> None:
        up, down = connection.bytes_up, connection.bytes_down
        sweep.bytes_up += up
        sweep.bytes_down += down
        if connection.relay is None:
            sweep.connecting += 1
        elif connection.half_closed is not None:
            sweep.half_closed += 1
        sample = known.get(connection)
        if sample is None:
            # What is new since the last look has carried everything since.
            sample = Sample(connection, at if before is None else before.at)
            has_rate = before is not None
        else:
            has_rate = True
        if has_rate:
            elapsed = at - sample.at
            sample.rate_up, sample.rate_down = (up - sample.bytes_up) / elapsed, (down - sample.bytes_down) / elapsed
        sample.at, sample.bytes_up, sample.bytes_down = at, up, down
        sweep.samples.append(sample)

    def _remember(self) -> None:
        """Keep the last look only as long as it is good for something: it holds connections that have ended."""
        if self._forgetting is not None:
            self._forgetting.cancel()
        self._forgetting = asyncio.get_running_loop().call_later(STALE_SECONDS, self._forget)

    def _forget(self) -> None:
        self._latest = self._forgetting = None
