"""What the process measures: plain numbers in memory, read all at once when somebody asks.

Programs have one (open.py), and none when nobody would read it. To count costs a dictionary's look-up
and no lock: everything happens on the event loop's thread, and whoever asks from another waits for a turn of the
loop. It must not know who connects to what: attributes have few values by nature (instruments.py).
"""

import asyncio
import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Final, Protocol

from sokken.telemetry.instruments import LOOP_LAG, Attributes, Distribution, Instrument, Reading

LAG_INTERVAL_SECONDS: Final = 0.25
_PATIENCE_SECONDS: Final = 5.0

Observe = Callable[[], Iterable[tuple[Instrument, Attributes, float]]]
"""Gives the present values of some instruments."""


class Publisher(Protocol):
    """Shows the numbers to others (metric_export.py)."""

    def render(self) -> bytes:
        """The present numbers in Prometheus' text format; blocks."""

    def close(self) -> None:
        """Deliver what is to be delivered; blocks."""


class Metrics:
    """The numbers of one process. All of it belongs to the loop's thread, but ``read`` and ``render``."""

    content_type: Final = "text/plain; version=1.0.0; charset=utf-8; escaping=underscores"

    def __init__(self, role: str, loop: asyncio.AbstractEventLoop) -> None:
        """``role`` is ``server`` or ``client``: an attribute of every metric."""
        self.role = role
        self.started_ns = time.time_ns()
        self._loop = loop
        self._thread = threading.get_ident()
        self._counters: dict[Instrument, dict[Attributes, float]] = {}
        self._histograms: dict[Instrument, dict[Attributes, _Series]] = {}
        self._observed: list[Observe] = []
        self._publisher: Publisher | None = None

    def __repr__(self) -> str:
        return f"<Metrics {self.role} counters={len(self._counters)} histograms={len(self._histograms)}>"

    def count(self, counter: Instrument, attributes: Attributes = (), amount: float = 1) -> None:
        """Add to a counter."""
        series = self._counters.setdefault(counter, {})
        series[attributes] = series.get(attributes, 0) + amount

    def record(self, histogram: Instrument, value: float, attributes: Attributes = ()) -> None:
        """Add a value to a histogram."""
        series = self._histograms.setdefault(histogram, {})
        found = series.get(attributes)
        if found is None:
            found = series[attributes] = _Series(len(histogram.bounds) + 1)
        found.counts[bisect_left(histogram.bounds, value)] += 1
        found.total += value
        found.smallest = min(found.smallest, value)
        found.largest = max(found.largest, value)

    def observe(self, read: Observe) -> None:
        """Ask ``read`` whenever the numbers are read; it is called on the loop's thread."""
        self._observed.append(read)

    def watch_loop(self) -> None:
        """Record from now on how late the loop is."""
        due = time.monotonic() + LAG_INTERVAL_SECONDS
        self._loop.call_later(LAG_INTERVAL_SECONDS, self._on_lag_timer, due)

    def _on_lag_timer(self, due: float) -> None:
        self.record(LOOP_LAG, max(0, time.monotonic() - due))
        if self._publisher is not None:
            self.watch_loop()

    # Reading

    def read(self) -> list[Reading]:
        """All numbers, as of one moment; from any thread. Raises TimeoutError if the loop does not turn."""
        if threading.get_ident() == self._thread:
            return self._read()
        answer: Future[list[Reading]] = Future()
        self._loop.call_soon_threadsafe(self._answer, answer)
        return answer.result(_PATIENCE_SECONDS)

    def _answer(self, answer: Future[list[Reading]]) -> None:
        try:
            answer.set_result(self._read())
        except Exception as error:  # noqa: BLE001 -- it is raised where it was asked for
            answer.set_exception(error)

    def _read(self) -> list[Reading]:
        readings = [Reading(counter, dict(series)) for counter, series in self._counters.items()]
        readings += [
            Reading(histogram, {attributes: found.freeze() for attributes, found in series.items()})
            for histogram, series in self._histograms.items()
        ]
        observed: dict[Instrument, dict[Attributes, float]] = {}
        for read in self._observed:
            for instrument, attributes, value in read():
                observed.setdefault(instrument, {})[attributes] = value
        return readings + [Reading(instrument, series) for instrument, series in observed.items()]

    async def render(self) -> bytes:
        """The present numbers in Prometheus' text format, of ``content_type``."""
        publisher = self._publisher
        return b"" if publisher is None else await asyncio.to_thread(publisher.render)

    def publish(self, publisher: Publisher) -> None:
        """Show the numbers through it from now on."""
        self._publisher = publisher

    def close(self) -> None:
        """Deliver the last numbers; blocks, and not on the loop's thread, which is asked for them."""
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            publisher.close()


class _Series:
    __slots__ = ("counts", "largest", "smallest", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0
        self.smallest = math.inf
        self.largest = -math.inf

    def freeze(self) -> Distribution:
        return Distribution(tuple(self.counts), self.total, self.smallest, self.largest)
