"""The table of the workloads for the report: made from a run's results, and from nothing else.

Called by run.py, which prints it, and by bench/report.py, which puts it into docs/performance.md.
"""

from collections.abc import Iterator

from bench.results import NotMeasuredError, Results
from bench.stacks import DIRECT, ORIGINAL, OURS

ALL = "all"  # the "stack" of a failure that leaves a workload without any figure
CPU = "cpu"
NOTHING = "-"


def format_table(results: Results) -> str:
    """In Markdown. The ratios are those of sokken, whose CPU time is for the same work."""
    ours = next((name for name in OURS if _is_in(results, name)), OURS[0])
    head = (
        "workload",
        "what",
        "unit",
        DIRECT,
        ours,
        ORIGINAL,
        "over direct",
        "over the original",
        "CPU over the original",
    )
    lines = [_row(*head), "|---|---|---|--:|--:|--:|--:|--:|--:|"]
    lines += [row for workload in results.suites for row in _rows(results, workload, ours)]
    if ORIGINAL in results.absent:
        lines += ["", f"{ORIGINAL}: {results.absent[ORIGINAL]}."]
    return "\n".join(lines)


def _is_in(results: Results, stack: str) -> bool:
    return any(stack in stacks for variants in results.samples.values() for stacks in variants.values())


def _rows(results: Results, workload: str, ours: str) -> Iterator[str]:
    problem = results.failures.get(workload, {}).get(ALL)
    if problem:
        yield _row(workload, problem, *[""] * 7)
        return
    for name, stacks in results.samples.get(workload, {}).items():
        unit = next(metric for metrics in stacks.values() for metric in metrics if metric != CPU)
        cells = [_cell(results, workload, name, stack, unit) for stack in (DIRECT, ours, ORIGINAL)]
        ratios = [
            _ratio(results, workload, name, ours, metric, to)
            for metric, to in ((unit, DIRECT), (unit, ORIGINAL), (CPU, ORIGINAL))
        ]
        yield _row(workload, name, unit, *cells, *ratios)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell(results: Results, workload: str, name: str, stack: str, unit: str) -> str:
    """The median and the range of all rounds, or what went wrong."""
    for suite in (f"{workload}: {name}", workload):
        if results.has_failed(suite, stack):
            return results.failures[suite][stack]
    try:
        values = results.values(workload, name, stack, unit)
        return f"{_show(results.median(workload, name, stack, unit))} ({_show(min(values))} to {_show(max(values))})"
    except NotMeasuredError:
        return NOTHING


def _ratio(results: Results, workload: str, name: str, ours: str, metric: str, to: str) -> str:
    if any(results.has_failed(f"{workload}: {name}", stack) for stack in (ours, to)):
        return NOTHING
    try:
        return f"{results.ratio(workload, name, ours, metric, to):.2f}"
    except NotMeasuredError:
        return NOTHING


def _show(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
