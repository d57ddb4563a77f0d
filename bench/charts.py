"""The charts of docs/performance.md, as SVG by hand: throughput, latencies, memory. Legible in light and dark.

Called by report.py with the results of one run. A chart shows what was measured and leaves out what was not.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.results import NotMeasuredError, Results, pairs
from bench.stacks import (
    ASYNCIO,
    CHISEL,
    DIRECT,
    HAPROXY,
    ORIGINAL,
    SOCAT,
    UVLOOP,
    WEBSOCAT,
    WEBSOCKIFY,
    WSTUNNEL,
)

# Class, colour on a light ground, colour on a dark one. Ours stand out, the references are grey.
_COLOURS = {
    DIRECT: ("c-direct", "#afb8c1", "#6e7681"),
    SOCAT: ("c-socat", "#8c959f", "#8b949e"),
    HAPROXY: ("c-haproxy", "#57606a", "#b1bac4"),
    UVLOOP: ("c-uvloop", "#0969da", "#4493f8"),
    ASYNCIO: ("c-asyncio", "#54aeff", "#79c0ff"),
    ORIGINAL: ("c-original", "#bf8700", "#d29922"),
    CHISEL: ("c-chisel", "#cf222e", "#f85149"),
    WSTUNNEL: ("c-wstunnel", "#8250df", "#a371f7"),
    WEBSOCAT: ("c-websocat", "#1a7f37", "#3fb950"),
    WEBSOCKIFY: ("c-websockify", "#bf3989", "#f778ba"),
}
_STYLE = """\
text { font: 13px ui-sans-serif, system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.small { font-size: 12px; fill: #57606a; } .lead { stroke-width: 1; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.card { fill: #ffffff; stroke: #d0d7de; } .grid { stroke: #d0d7de; stroke-width: 1; } .range { stroke: #1f2328; }
rect.bar { stroke: none; } polyline.line { fill: none; } .line { stroke-width: 2; } .ours { stroke-width: 3.5; }
"""
_DARK = """\
text { fill: #e6edf3; } .small { fill: #9198a1; }
.card { fill: #0d1117; stroke: #30363d; } .grid { stroke: #30363d; } .range { stroke: #e6edf3; }
"""
_WIDTH = 960
_LABEL_HEIGHT = 15.0


# --- pieces of SVG --------------------------------------------------------------------------------------------------


def _document(title: str, description: str, height: float, body: Iterable[str]) -> str:
    light, dark = (
        "\n".join(f".{name} {{ fill: {c[which]}; stroke: {c[which]}; }}" for name, *c in _COLOURS.values())
        for which in (0, 1)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" role="img" '
        'aria-labelledby="title desc">\n'
        f'<title id="title">{escape(title)}</title>\n<desc id="desc">{escape(description)}</desc>\n'
        f"<style>\n{_STYLE}{light}\n@media (prefers-color-scheme: dark) {{\n{_DARK}{dark}\n}}\n</style>\n"
        f'<rect class="card" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1:.0f}" rx="10"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _segment(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _class(stack: str) -> str:
    return _COLOURS.get(stack, _COLOURS[DIRECT])[0]


# --- throughput: bars -----------------------------------------------------------------------------------------------

_PANELS = (("1 up", "1 stream up"), ("1 down", "1 stream down"), ("8 up", "8 streams up"), ("8 down", "8 streams down"))
_BAR = 20.0


def throughput(results: Results) -> str | None:
    """Bars of GiB/s with the range of the rounds, in four panels; None where there are none."""
    stacks = results.stacks("bulk", "1 up")
    if not stacks:
        return None
    panel = 44 + _BAR * len(stacks)
    body: list[str] = []
    for index, (variant, title) in enumerate(_PANELS):
        x, y = 24 + index % 2 * _WIDTH / 2, 24 + index // 2 * panel
        body += _bars(results, variant, f"{title}, GiB/s", stacks, x, y)
    description = "Bytes per second through each stack; a thin line shows the range of the rounds."
    return _document("Throughput", description, 32 + 2 * panel, body)


def _bars(results: Results, variant: str, title: str, stacks: Sequence[str], x: float, y: float) -> Iterable[str]:
    rounds = {name: _values_or_none(results, "bulk", variant, name, "gib_s") for name in stacks}
    most = max((max(values) for values in rounds.values() if values), default=1.0)
    left, width = x + 110, _WIDTH / 2 - 205
    yield _text(x, y + 8, title, "title")
    for row, (name, values) in enumerate(rounds.items()):
        top = y + 20 + row * _BAR
        yield _text(left - 8, top + 13, name, "end")
        if not values:
            yield _text(left, top + 13, "not measured", "small")
            continue
        middle = statistics.median(values)
        length, low, high = (width * value / most for value in (middle, min(values), max(values)))
        yield f'<rect class="bar {_class(name)}" x="{left}" y="{top + 2}" width="{length:.1f}" height="{_BAR - 5}"/>'
        yield _segment(left + low, top + 9.5, left + high, top + 9.5, "range")
        yield _text(left + max(length, high) + 6, top + 13, f"{middle:.2f}", "small")


def _values_or_none(results: Results, *where: str) -> list[float] | None:
    try:
        return results.values(*where)
    except NotMeasuredError:
        return None


# --- lines ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Axis:
    """From values to places: ``at`` gives 0..1; ``marks`` are what is written beside."""

    at: Callable[[float], float]
    marks: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class _Plot:
    """A frame with axes, for one line a stack; its name stands at the line's end."""

    x: float
    y: float
    width: float
    height: float
    across: _Axis
    upward: _Axis

    def place(self, point: tuple[float, float]) -> tuple[float, float]:
        return self.x + self.width * self.across.at(point[0]), self.y + self.height * (1 - self.upward.at(point[1]))

    def draw(self, title: str, lines: dict[str, list[tuple[float, float]]]) -> Iterable[str]:
        yield _text(self.x - 40, self.y - 14, title, "title")
        for value, words in self.upward.marks:
            y = self.place((0, value))[1]
            yield _segment(self.x, y, self.x + self.width, y, "grid")
            yield _text(self.x - 6, y + 4, words, "small end")
        for value, words in self.across.marks:
            yield _text(self.x + self.width * self.across.at(value), self.y + self.height + 18, words, "small middle")
        ends = {}
        for name, points in lines.items():
            placed = [self.place(point) for point in points]
            ends[name] = placed[-1]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
            ours = " ours" if name in {UVLOOP, ASYNCIO} else ""
            yield f'<polyline class="line {_class(name)}{ours}" points="{path}"/>'
        yield from self._labels(ends)

    def _labels(self, ends: dict[str, tuple[float, float]]) -> Iterable[str]:
        """Names at the ends of lines, moved apart so that none covers another; of long lines, at the frame's edge."""
        last = -math.inf
        for name, (x, y) in sorted(ends.items(), key=lambda item: item[1][1]):
            last = max(y, last + _LABEL_HEIGHT)
            edge = self.x + self.width if x > self.x + self.width / 2 else x
            if last - y > 1 or edge - x > 1:
                yield _segment(x, y, edge + 12, last, f"line lead {_class(name)}")
            yield _text(edge + 15, last + 4, name)


# --- latencies ------------------------------------------------------------------------------------------------------

_MOST_NINES = 3.0  # up to 99.9 %


def latencies(results: Results) -> str | None:
    """Curves of percentiles, alone and beside a bulk stream; None where there are none."""
    panels = {"echo": "64-byte round trips, µs", "beside": "the same beside a bulk stream, µs"}
    body: list[str] = []
    for index, (suite, title) in enumerate(panels.items()):
        curves = {name: _curve(flat) for name, flat in results.histograms.get(suite, {}).items()}
        if not curves:
            return None
        plot = _Plot(64 + index * _WIDTH / 2, 56, _WIDTH / 2 - 190, 400, _nines(), _decades(curves.values()))
        body += plot.draw(title, curves)
    description = (
        "Round-trip times by percentile, both axes logarithmic: the share of slower ones falls tenfold a step."
    )
    return _document("Latencies", description, 510, body)


def _curve(flat: list[int]) -> list[tuple[float, float]]:
    """Points of (number of nines, microseconds) from a histogram."""
    total = sum(flat[1::2])
    points, below = [], 0
    for bucket, count in pairs(flat):
        nines = -math.log10(1 - below / total)
        if nines > _MOST_NINES:
            break
        points.append((nines, 2 ** ((bucket + 0.5) / 16) / 1000))
        below += count
    return [*points, (min(_MOST_NINES, math.log10(total)), points[-1][1])]


def _nines() -> _Axis:
    marks = [(math.log10(2), "50 %"), (1, "90 %"), (2, "99 %"), (3, "99.9 %")]
    return _Axis(lambda nines: nines / _MOST_NINES, marks)


def _decades(curves: Iterable[list[tuple[float, float]]]) -> _Axis:
    values = [value for curve in curves for _, value in curve]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    marks = [(float(10**power), f"{10**power:,}") for power in range(low, high + 1)]
    return _Axis(lambda value: (math.log10(value) - low) / (high - low) if value else 0.0, marks)


# --- memory ---------------------------------------------------------------------------------------------------------


def memory(results: Results) -> str | None:
    """MiB of server and client together against idle connections; None where there are none."""
    variants = sorted((variant for variant in results.samples.get("idle", {}) if variant.isdigit()), key=int)
    lines: dict[str, list[tuple[float, float]]] = {}
    for variant in variants:
        for name in results.stacks("idle", variant):
            kib = sum(results.median("idle", variant, name, role) for role in ("server", "client"))
            lines.setdefault(name, []).append((int(variant), kib / 1024))
    if not lines:
        return None
    most = int(variants[-1])
    # What a few connections take to the top would press all others flat on the floor.
    highest = max(mib for points in lines.values() for count, mib in points if count == most)
    shown = {name: kept for name, points in lines.items() if len(kept := _below(points, highest)) > 1}
    plot = _Plot(72, 56, _WIDTH - 210, 400, _linear(most, 6), _linear(highest, 5))
    title = "memory of server and client together, MiB, against idle connections"
    description = "Anonymous memory grows with the number of idle connections, steeply for some stacks."
    body = [*plot.draw(title, shown)]
    hidden = [name for name in lines if name not in shown]
    if hidden:
        body.append(_text(72, 494, f"above the chart from its first point: {', '.join(hidden)}", "small"))
    return _document("Memory", description, 510, body)


def _below(points: list[tuple[float, float]], highest: float) -> list[tuple[float, float]]:
    return [point for point in points if point[1] <= highest]


def _linear(top: float, steps: int) -> _Axis:
    """From nothing to ``top``, with about so many round marks."""
    unit = 10 ** math.floor(math.log10(top / steps))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= top / steps)
    return _Axis(
        lambda value: value / top, [(step * index, f"{step * index:,.0f}") for index in range(int(top / step) + 1)]
    )
