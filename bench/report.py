"""A run as text for the terminal, and all kept runs as docs/performance.md with its charts.

Called by __main__.py. The page says what was measured, on what, and where others are better; words that no figure can
say are in notes.md, which is put into the page as it is.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import charts
from bench.plan import FULL
from bench.processes import ROOT
from bench.results import Results
from bench.stacks import LINE_DELAY_MS
from bench.tables import SECTIONS, format_number, losses, markdown_table, section_table
from bench.targets import Row, judge, judged_stack
from bench.workloads import table as workloads

_PAGE = ROOT / "docs" / "performance.md"
_NOTES = ROOT / "bench" / "notes.md"
_SHOWN_RUNS = 5
_CHARTS = {
    "throughput": (charts.throughput, "Bars of throughput for each stack, 1 and 8 streams, up and down"),
    "latency": (charts.latencies, "Curves of round-trip times by percentile, alone and beside a bulk stream"),
    "memory": (charts.memory, "Lines of memory against the number of idle connections"),
}


# --- for the terminal -----------------------------------------------------------------------------------------------


def format_run(results: Results, rows: Sequence[Row]) -> str:
    """The table of targets, and what else somebody must know to trust it."""
    ours = judged_stack(results)
    lines = [f"{ours} on {results.machine['cores']} cores, medians, ratios within this run", ""]
    width = max(len(row.target.figure) for row in rows)
    lines.append(f"{'':{width}}  {'figure':>11} {'must':>6} {'reach':>6}")
    for row in rows:
        figure = row.format_value(row.value) or "-"
        lines.append(
            f"{row.target.figure:{width}}  {figure:>11} {row.target.must:>6g} {row.target.reach:>6g}  {row.verdict}"
        )
    lines += ["", *_remarks(results)]
    missed = sum(row.is_missed for row in rows)
    lines.append(f"{missed} of {len(rows)} targets missed" if missed else "every target that was measured is held")
    return "\n".join(lines)


def _remarks(results: Results) -> Iterable[str]:
    for name, reason in results.absent.items():
        yield f"absent: {name}: {reason}"
    for suite, failures in results.failures.items():
        for name, reason in failures.items():
            yield f"failed: {suite}, {name}: {reason}"


# --- the page -------------------------------------------------------------------------------------------------------


def write(folder: Path) -> int:
    """Write docs/performance.md and its charts from the kept runs; the exit code."""
    runs = [Results.load(path) for path in sorted(folder.glob("*.json"))]
    if not runs:
        print("bench: no run is kept in bench/results; `make bench` makes one", file=sys.stderr)
        return 2
    runs = [run for run in runs if run.plan == FULL.name] or runs
    newest = runs[-1]
    pictures = []
    for name, (draw, words) in _CHARTS.items():
        picture = draw(newest)
        if picture:
            _PAGE.with_name(f"performance-{name}.svg").write_text(picture)
            pictures.append(f"![{words}](performance-{name}.svg)")
    _PAGE.write_text("\n\n".join(filter(None, _page(runs, pictures))) + "\n")
    print(f"Wrote {_PAGE.relative_to(ROOT)} from {len(runs)} run(s).")
    return 0


def _page(runs: Sequence[Results], pictures: Sequence[str]) -> Iterable[str]:
    newest = runs[-1]
    yield "# Performance"
    yield (
        "<!-- Written by `make bench-report` from bench/results and bench/notes.md. -->\n"
        "sokken beside plain TCP relays (socat, HAProxy: two hops, no WebSocket) and beside other tunnels, measured on"
        " one machine over loopback. `make bench` repeats it (about 6 minutes); [bench/README.md](../bench/README.md)"
        " says how. Absolute figures move by a fifth between runs and by far more between machines: only ratios within"
        " one run mean anything."
    )
    yield "## Targets"
    yield _targets_table(newest)
    yield "\n\n".join(pictures)
    yield "## Where others are better"
    yield _losses_table(newest)
    for section in SECTIONS:
        table = section_table(newest, section)
        if table:
            yield f"## {section.title}\n\n{section.text}\n\n{table}"
    yield _many(newest)
    yield workloads.format_section()
    yield _gate(newest)
    if _NOTES.exists():
        yield _NOTES.read_text().strip()
    yield _how(newest)
    yield _history(runs)


def _targets_table(results: Results) -> str:
    rows = judge(results)
    ours = judged_stack(results)
    cells = [
        [
            row.target.figure,
            row.format_value(row.value),
            row.format_value(row.other),
            f"{row.target.must:g}",
            f"{row.target.reach:g}",
            row.verdict,
        ]
        for row in rows
    ]
    return (
        f"Judged is {ours}, the default where uvloop is installed; the column after it is the other event loop."
        " *must* fails a run, *reach* is the aim.\n\n"
        + markdown_table(["", ours, "other loop", "must", "reach", ""], cells)
    )


def _losses_table(results: Results) -> str:
    found = list(losses(results, judged_stack(results)))
    if not found:
        return "In none of the figures below."
    return (
        "Every figure of the tables below in which another stack had the better median, the best first. HAProxy and"
        " socat speak no WebSocket.\n\n" + markdown_table(["", "sokken", "better"], found)
    )


def _many(results: Results) -> str:
    stacks = results.stacks("many", "hold")
    if not stacks:
        return ""
    (name,) = stacks

    def figure(variant: str, metric: str) -> str:
        return format_number(results.median("many", variant, name, metric))

    variants = sorted((variant for variant in results.samples["many"] if variant.isdigit()), key=int)
    rows = [
        [f"{int(variant):,}", *(figure(variant, metric) for metric in ("cpu_server", "p50", "p99", "server"))]
        for variant in variants
    ]
    header = ["connections", "server CPU µs per new one", "echo p50, µs", "echo p99, µs", "server KiB"]
    return (
        "## Very many connections\n\n"
        f"One {name} server with {figure('hold', 'connections')} idle connections from several clients, held for"
        f" {figure('hold', 'seconds')} s: {figure('hold', 'lost')} lost, all answered within"
        f" {figure('hold', 'check_seconds')} s; `/health` took {figure('hold', 'health_median')} ms in the median and"
        f" {figure('hold', 'health_max')} ms at most; the server used"
        f" {results.median('many', 'hold', name, 'core_server'):.1%} of a core meanwhile. What the next connection"
        " and an exchange cost on the way there:\n\n" + markdown_table(header, rows)
    )


def _gate(results: Results) -> str:
    rows = [
        [name, verdict["integrity"], verdict["client_ends_first"], verdict["target_ends_first"]]
        for name, verdict in results.gate.items()
    ]
    if not rows:
        return ""
    return (
        "## What arrives\n\n"
        "Checked before any figure is taken: random bytes both ways at the same time, compared by SHA-256; and whether"
        " what one side still sends arrives after the other has ended its direction.\n\n"
        + markdown_table(["", "all bytes", "after the application's end", "after the target's end"], rows)
    )


def _how(results: Results) -> str:
    machine = ", ".join(f"{name}: {value}" for name, value in results.machine.items())
    versions = ", ".join(f"{name} {value}" for name, value in results.versions.items())
    absent = "".join(f"\n- {name}: {reason}." for name, reason in results.absent.items())
    return (
        "## How it was measured\n\n"
        "All stacks of a table run at the same time, and are measured one after the other in rounds that go A B C,"
        " C B A. Figures are medians of the rounds; CPU is what the kernel's scheduler accounts to each process"
        " (`/proc/PID/task/*/schedstat`; for socat and websockify, which have a process for each connection,"
        " `/proc/PID/stat` with that of children); memory is anonymous memory from `smaps_rollup`. The load generator"
        f" runs on the same cores. The delay line holds each byte for {LINE_DELAY_MS} ms and each connection's first"
        " bytes for as long as a handshake would take.\n\n"
        f"- {results.began}, {results.plan} run, {sum(results.seconds.values()):.0f} s\n- {machine}\n- {versions}"
        f"{absent}"
    )


def _history(runs: Sequence[Results]) -> str:
    shown = runs[-_SHOWN_RUNS:]
    if len(shown) == 1:
        return ""
    judged = [judge(run) for run in shown]
    rows = [
        [row.target.figure, *(found[index].format_value(found[index].value) for found in judged)]
        for index, row in enumerate(judged[0])
    ]
    header = ["", *(f"{run.began[:10]} {run.versions['sokken']}" for run in shown)]
    return f"## The last {len(shown)} runs\n\n" + markdown_table(header, rows)
