"""The tables of docs/performance.md, as data: which figures stand in which column, and under what heading.

Read by report.py. A cell without a figure stays empty; why is said below the table.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.results import NotMeasuredError, Results
from bench.stacks import DIRECT, HAPROXY, OURS, SOCAT


@dataclass(frozen=True, slots=True)
class Column:
    """A figure of each stack; ``to`` names the stack of which it is a multiple, and ``spread`` adds the range."""

    title: str
    variant: str
    metric: str
    to: str | None = None
    spread: bool = False

    def cell(self, results: Results, suite: str, stack: str) -> str:
        """As text, empty where it was not measured."""
        try:
            if self.to:
                return f"{results.ratio(suite, self.variant, stack, self.metric, self.to):.2f}"
            values = results.values(suite, self.variant, stack, self.metric)
        except NotMeasuredError:
            return ""
        middle = format_number(statistics.median(values))
        if not self.spread or len(values) == 1:
            return middle
        return f"{middle} ({format_number(min(values))}-{format_number(max(values))})"


@dataclass(frozen=True, slots=True)
class Section:
    """A table of one suite's figures, a stack a row."""

    suite: str
    title: str
    text: str
    columns: tuple[Column, ...]


def format_number(value: float) -> str:
    """Three digits that count."""
    if abs(value) < 0.005:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _pair(title: str, variant: str, metric: str = "") -> tuple[Column, Column]:
    """A figure of each of the two processes."""
    return tuple(Column(f"{title}{role}", variant, f"{metric}{role}") for role in ("server", "client"))  # type: ignore[return-value]


_BULK = ("1 up", "1 down", "8 up", "8 down")

SECTIONS = (
    Section(
        "bulk",
        "Throughput",
        "GiB/s: the median of the rounds and their range. Random bytes over warm connections; 1 or 8 streams at the"
        " same time, from the application to the target (up) or back (down).",
        tuple(Column(variant, variant, "gib_s", spread=True) for variant in _BULK),
    ),
    Section(
        "bulk",
        "Throughput over that of two socat hops",
        "The same figures as multiples of two chained socat processes, which only copy bytes.",
        tuple(Column(variant, variant, "gib_s", to=SOCAT) for variant in _BULK),
    ),
    Section(
        "bulk",
        "CPU for bulk",
        "CPU seconds per GiB, of each process.",
        (*_pair("1 up, ", "1 up", "cpu_"), *_pair("1 down, ", "1 down", "cpu_")),
    ),
    Section(
        "echo",
        "Latency",
        "64 bytes there and back on one connection, in microseconds; the last two columns are the CPU microseconds of"
        " each process for one such exchange.",
        (
            Column("p50", "idle", "p50", spread=True),
            Column("p50 / HAProxy x2", "idle", "p50", to=HAPROXY),
            Column("p90", "idle", "p90"),
            Column("p99", "idle", "p99", spread=True),
            Column("p99.9", "idle", "p999"),
            *_pair("CPU, ", "idle", "cpu_"),
        ),
    ),
    Section(
        "beside",
        "Latency beside a bulk stream",
        "The same, in microseconds, while another connection of the same stack receives as fast as it can; and how"
        " fast that was.",
        (
            Column("p50", "1 down", "p50", spread=True),
            Column("p90", "1 down", "p90"),
            Column("p99", "1 down", "p99", spread=True),
            Column("bulk meanwhile, GiB/s", "1 down", "gib_s"),
        ),
    ),
    Section(
        "connections",
        "New connections",
        "Connections per second (connect, one byte there and back, close), 1 and 32 at a time; CPU microseconds of"
        " each process for one, 1 at a time.",
        (
            Column("1 at a time", "1", "per_second", spread=True),
            Column("32 at a time", "32", "per_second", spread=True),
            *_pair("CPU, ", "1", "cpu_"),
        ),
    ),
    Section(
        "traced",
        "Traces",
        "Connections per second, 32 at a time, with every one of them traced at both ends into a collector, p99 of one"
        " in microseconds, and GiB/s of one stream.",
        (
            Column("32 at a time", "32", "per_second", spread=True),
            Column("p99", "32", "p99", spread=True),
            Column("1 up", "1 up", "gib_s", spread=True),
            Column("1 down", "1 down", "gib_s", spread=True),
        ),
    ),
    Section(
        "secure",
        "Throughput with TLS",
        "GiB/s of one stream with TLS between client and server, and CPU seconds per GiB of each process going up.",
        (
            Column("1 up", "1 up", "gib_s", spread=True),
            Column("1 down", "1 down", "gib_s", spread=True),
            *_pair("CPU, ", "1 up", "cpu_"),
        ),
    ),
    Section(
        "line",
        "A path with 20 ms of delay each way",
        "Between client and server, 6 MiB of window. GiB/s of one stream; milliseconds and round trips from a new"
        " connection to its first answered byte.",
        (
            Column("1 up", "1 up", "gib_s", spread=True),
            Column("1 up / direct", "1 up", "gib_s", to=DIRECT),
            Column("1 down", "1 down", "gib_s", spread=True),
            Column("1 down / direct", "1 down", "gib_s", to=DIRECT),
            Column("first answered byte, ms", "first byte", "milliseconds"),
            Column("round trips", "first byte", "round_trips"),
        ),
    ),
    Section(
        "idle",
        "Memory of idle connections",
        "KiB of anonymous memory that one more idle connection takes in each process.",
        _pair("", "slope"),
    ),
    Section(
        "secure-idle",
        "Memory of idle connections with TLS",
        "The same with TLS between client and server.",
        _pair("", "slope"),
    ),
    Section(
        "stalled",
        "Memory of stalled streams",
        "KiB that one more stream takes in each process when an end has stopped reading: the application (reader) or"
        " the target (writer).",
        (*_pair("reader, ", "reader"), *_pair("writer, ", "writer")),
    ),
    Section(
        "start",
        "Start-up",
        "Seconds from exec to listening, with compiled bytecode.",
        (
            Column("server", "listening", "server", spread=True),
            Column("client", "listening", "client", spread=True),
        ),
    ),
)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first column is for names, the others for figures."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def section_table(results: Results, section: Section) -> str:
    """The table, and below it why figures are missing; empty where the suite was not run."""
    names = list(
        dict.fromkeys(name for column in section.columns for name in results.stacks(section.suite, column.variant))
    )
    if not names:
        return ""
    rows = [
        [
            f"**{name}**" if name in OURS else name,
            *(column.cell(results, section.suite, name) for column in section.columns),
        ]
        for name in names
    ]
    table = markdown_table(["", *(column.title for column in section.columns)], rows)
    failures = [f"{name}: {reason}." for name, reason in results.failures.get(section.suite, {}).items()]
    return "\n".join([table, *(["", "Not, or not all, measured: " + " ".join(failures)] if failures else [])])


# --- where others are better ----------------------------------------------------------------------------------------

# What a reader would compare: words, suite, variant, metric, and whether more is better.
_COMPARED = (
    *((f"throughput, {variant}, GiB/s", "bulk", variant, "gib_s", True) for variant in _BULK),
    ("64-byte round trip, p50, µs", "echo", "idle", "p50", False),
    ("64-byte round trip, p99, µs", "echo", "idle", "p99", False),
    ("the same beside a bulk stream, p50, µs", "beside", "1 down", "p50", False),
    ("the same beside a bulk stream, p99, µs", "beside", "1 down", "p99", False),
    ("connections per second, 1 at a time", "connections", "1", "per_second", True),
    ("connections per second, 32 at a time", "connections", "32", "per_second", True),
    ("first answered byte over 20 ms, ms", "line", "first byte", "milliseconds", False),
    ("KiB per idle connection, server", "idle", "slope", "server", False),
    ("KiB per stalled reader, server", "stalled", "reader", "server", False),
    ("server start, s", "start", "listening", "server", False),
    ("client start, s", "start", "listening", "client", False),
)


def losses(results: Results, ours: str) -> Iterable[tuple[str, str, str]]:
    """Figures in which somebody else is better: words, ours, theirs, best first."""
    for words, suite, variant, metric, is_more_better in _COMPARED:
        stacks = results.stacks(suite, variant)
        if ours not in stacks:
            continue
        medians = {name: results.median(suite, variant, name, metric) for name in stacks if name != DIRECT}
        mine = medians[ours]
        better = [name for name in medians if name not in OURS and (medians[name] > mine) == is_more_better]
        better = [name for name in better if medians[name] != mine]
        if better:
            better.sort(key=medians.__getitem__, reverse=is_more_better)
            yield words, format_number(mine), ", ".join(f"{name} {format_number(medians[name])}" for name in better)
