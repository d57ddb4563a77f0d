"""What the figures must be, and should reach, as data; and the judgement of a run.

Read by __main__.py, which fails a run where a `must` is missed, and by report.py. A figure that lacks its peer is no
failure; one that lacks sokken is.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bench.results import NotMeasuredError, Results
from bench.stacks import CHISEL, DIRECT, HAPROXY, ORIGINAL, OURS, SOCAT, TRACED

Reader = Callable[[Results, str], float]


@dataclass(frozen=True, slots=True)
class Target:
    """A figure, read from the results for one of our stacks; ``unit`` is "x" for a ratio."""

    figure: str
    unit: str
    must: float
    reach: float
    read: Reader
    is_more_better: bool = False

    def is_held(self, value: float, bound: float, margin: float = 1.0) -> bool:
        """Whether a value is as good as a bound, or as a share of it."""
        return value >= bound * margin if self.is_more_better else value <= bound / margin


# --- how a figure is read -------------------------------------------------------------------------------------------


def median(suite: str, variant: str, metric: str) -> Reader:
    """The figure itself."""
    return lambda results, ours: results.median(suite, variant, ours, metric)


def ratio(suite: str, variant: str, metric: str, to: str) -> Reader:
    """Over another stack's in the same rounds."""
    return lambda results, ours: results.ratio(suite, variant, ours, metric, to)


def of_traced(variant: str, metric: str) -> Reader:
    """A figure of the traced stack over that of the same without traces."""
    return lambda results, ours: results.ratio("traced", variant, TRACED, metric, ours)


def lowest(*readers: Reader) -> Reader:
    """The worst of some, where more is better."""
    return lambda results, ours: min(read(results, ours) for read in readers)


def highest(*readers: Reader) -> Reader:
    """The worst of some, where less is better."""
    return lambda results, ours: max(read(results, ours) for read in readers)


def over(upper: Reader, lower: Reader) -> Reader:
    """One figure over another of the same stack."""
    return lambda results, ours: upper(results, ours) / lower(results, ours)


def more_than_direct(suite: str, variant: str, metric: str) -> Reader:
    """The difference to no tunnel at all."""
    read = median(suite, variant, metric)
    return lambda results, ours: read(results, ours) - read(results, DIRECT)


def each_process(suite: str, variant: str, metric: str = "") -> tuple[Reader, Reader]:
    """A figure of the server and of the client."""
    return median(suite, variant, f"{metric}server"), median(suite, variant, f"{metric}client")


# --- the table ------------------------------------------------------------------------------------------------------

TARGETS = (
    Target(
        "bulk, 1 stream, the worse of up and down / socat x2",
        *("x", 0.90, 1.20),
        lowest(ratio("bulk", "1 up", "gib_s", SOCAT), ratio("bulk", "1 down", "gib_s", SOCAT)),
        is_more_better=True,
    ),
    Target(
        "bulk, 8 streams, the worse of up and down / socat x2",
        *("x", 0.85, 1.0),
        lowest(ratio("bulk", "8 up", "gib_s", SOCAT), ratio("bulk", "8 down", "gib_s", SOCAT)),
        is_more_better=True,
    ),
    Target(
        "bulk, 1 stream, the worse of up and down / HAProxy x2",
        *("x", 1.2, 1.6),
        lowest(ratio("bulk", "1 up", "gib_s", HAPROXY), ratio("bulk", "1 down", "gib_s", HAPROXY)),
        is_more_better=True,
    ),
    Target(
        "bulk, 1 stream up / the original in Go",
        *("x", 5, 9),
        ratio("bulk", "1 up", "gib_s", ORIGINAL),
        is_more_better=True,
    ),
    Target(
        "bulk, 1 stream down / the original in Go",
        *("x", 4, 7),
        ratio("bulk", "1 down", "gib_s", ORIGINAL),
        is_more_better=True,
    ),
    Target(
        "bulk, 1 stream, the worse of up and down / chisel",
        *("x", 4, 6),
        lowest(ratio("bulk", "1 up", "gib_s", CHISEL), ratio("bulk", "1 down", "gib_s", CHISEL)),
        is_more_better=True,
    ),
    Target(
        "CPU for bulk, 1 stream, the worst of both processes and both ways",
        *("s/GiB", 0.8, 0.5),
        highest(*each_process("bulk", "1 up", "cpu_"), *each_process("bulk", "1 down", "cpu_")),
    ),
    Target("64-byte echo, p50 / HAProxy x2", "x", 1.3, 1.05, ratio("echo", "idle", "p50", HAPROXY)),
    Target("64-byte echo, p99 / HAProxy x2", "x", 1.5, 1.2, ratio("echo", "idle", "p99", HAPROXY)),
    Target(
        "64-byte echo beside a bulk stream, p50 / p50 alone",
        *("x", 4, 2),
        over(median("beside", "1 down", "p50"), median("echo", "idle", "p50")),
    ),
    Target(
        "64-byte echo beside a bulk stream, p99 / the original in Go",
        *("x", 1, 0.7),
        ratio("beside", "1 down", "p99", ORIGINAL),
    ),
    Target(
        "new connections per second, 1 at a time / the original in Go",
        *("x", 1.0, 1.5),
        ratio("connections", "1", "per_second", ORIGINAL),
        is_more_better=True,
    ),
    Target(
        "new connections per second, 32 at a time / the original in Go",
        *("x", 1.1, 1.7),
        ratio("connections", "32", "per_second", ORIGINAL),
        is_more_better=True,
    ),
    Target(
        "new connections per second, 32 at a time, every one traced / without traces",
        *("x", 0.85, 0.95),
        of_traced("32", "per_second"),
        is_more_better=True,
    ),
    Target(
        "bulk, 1 stream, the worse of up and down, traced / without traces",
        *("x", 0.95, 1.0),
        lowest(of_traced("1 up", "gib_s"), of_traced("1 down", "gib_s")),
        is_more_better=True,
    ),
    Target(
        "memory of an idle connection, the worse of both processes",
        *("KiB", 3, 1.5),
        highest(*each_process("idle", "slope")),
    ),
    Target(
        "bulk with TLS, 1 stream, the worse of up and down / HAProxy x2 with TLS",
        *("x", 0.85, 1.0),
        lowest(ratio("secure", "1 up", "gib_s", HAPROXY), ratio("secure", "1 down", "gib_s", HAPROXY)),
        is_more_better=True,
    ),
    Target(
        "memory of an idle connection with TLS, the worse of both processes",
        *("KiB", 30, 20),
        highest(*each_process("secure-idle", "slope")),
    ),
    Target(
        "extra memory of a stalled stream, the worst of both processes and both ways",
        *("KiB", 600, 200),
        highest(*each_process("stalled", "reader"), *each_process("stalled", "writer")),
    ),
    Target("client, exec to listening", "s", 0.35, 0.30, median("start", "listening", "client")),
    Target("server, exec to listening", "s", 0.55, 0.45, median("start", "listening", "server")),
    Target(
        "bulk through 20 ms of delay each way, the worse of up and down / direct",
        *("x", 0.9, 0.98),
        lowest(ratio("line", "1 up", "gib_s", DIRECT), ratio("line", "1 down", "gib_s", DIRECT)),
        is_more_better=True,
    ),
    Target(
        "round trips until the first answered byte, more than direct",
        *("", 1, 1),
        more_than_direct("line", "first byte", "round_trips"),
    ),
    Target("very many idle connections on one server: lost while held", "", 0, 0, median("many", "hold", "lost")),
    Target(
        "very many idle connections on one server: slowest /health meanwhile",
        *("ms", 50, 50),
        median("many", "hold", "health_max"),
    ),
)


# --- the judgement --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A target and what was measured of it; ``value`` is None where ``verdict`` says why."""

    target: Target
    value: float | None
    other: float | None  # of our stack that is not judged
    verdict: str
    is_missed: bool

    def format_value(self, value: float | None) -> str:
        """With the unit."""
        return "" if value is None else f"{value:.3g} {self.target.unit}".strip()


def judged_stack(results: Results) -> str:
    """Which of our stacks the targets are for: the one on the default event loop."""
    return next((name for name in OURS if name not in results.absent), OURS[-1])


def judge(results: Results, margin: float = 1.0) -> list[Row]:
    """Hold a run against all targets; ``margin`` is the share of a `must` that will do."""
    ours = judged_stack(results)
    others = [name for name in OURS if name != ours]
    return [_judge_one(target, results, ours, others[0], margin) for target in TARGETS]


def _judge_one(target: Target, results: Results, ours: str, other: str, margin: float) -> Row:
    try:
        value = target.read(results, ours)
    except NotMeasuredError as missing:
        is_missed = missing.stack in {ours, DIRECT, SOCAT, HAPROXY}
        return Row(target, None, None, f"not measured: {missing}", is_missed=is_missed)
    is_held = target.is_held(value, target.must, margin)
    verdict = "reached" if target.is_held(value, target.reach) else "held" if is_held else "MISSED"
    return Row(target, value, _read_or_none(target, results, other), verdict, is_missed=not is_held)


def _read_or_none(target: Target, results: Results, stack: str) -> float | None:
    try:
        return target.read(results, stack)
    except NotMeasuredError:
        return None
