"""The workloads' part of docs/performance.md: made from a run's results, and from nothing else.

Called by run.py, which prints the table, and by bench/report.py for the page.
"""

from collections.abc import Iterator

from bench.processes import ROOT
from bench.results import Results
from bench.stacks import DIRECT, ORIGINAL, OURS
from bench.tables import Column, markdown_table

RESULTS = ROOT / "bench" / "results" / "workloads"
ALL = "all"  # the "stack" of a failure that leaves a workload without any figure
CPU = "cpu"


def format_section() -> str:
    """Of the newest run that is kept, in Markdown; empty if there is none."""
    kept = sorted(RESULTS.glob("*.json"))
    if not kept:
        return ""
    results = Results.load(kept[-1])
    versions = ", ".join(f"{name} {value}" for name, value in results.versions.items())
    machine = ", ".join(f"{name}: {value}" for name, value in results.machine.items())
    return (
        "## Real programs\n\n"
        "Programs from Debian on one machine, through nothing, through sokken, and through the original in Go: how much"
        " was done in a second, the median of the rounds and their range. Client, server and both ends of the tunnel"
        " share the cores, which is why an exchange of short messages is further from direct than over a network,"
        " where the way itself takes longer. *Over* columns are sokken's figure over the other's: more is better."
        " The last column is the CPU time of both its processes for the same work over that of the original's: less"
        " is better. OpenVPN runs in TCP mode between two network namespaces; its direct row is the same OpenVPN"
        " without a tunnel below. What arrives is compared with what was sent each time. `make bench-workloads`"
        f" repeats it.\n\n{format_table(results)}\n\n"
        f"- {results.began}, {sum(results.seconds.values()):.0f} s\n- {machine}\n- {versions}"
    )


def format_table(results: Results) -> str:
    """In Markdown, and below it why figures are missing."""
    measured = {stack for variants in results.samples.values() for stacks in variants.values() for stack in stacks}
    ours = next((name for name in OURS if name in measured), OURS[0])
    head = ["", "unit", DIRECT, ours, ORIGINAL, "over direct", "over the original", "CPU over the original"]
    rows = [row for workload in results.suites for row in _rows(results, workload, ours)]
    remarks = [f"- {name}: {reason}." for name, reason in results.absent.items()]
    for suite, failures in results.failures.items():
        remarks += [f"- {suite}, {stack}: {reason}." for stack, reason in failures.items()]
    return "\n".join([markdown_table(head, rows), *([""] if remarks else []), *remarks])


def _rows(results: Results, workload: str, ours: str) -> Iterator[list[str]]:
    if results.has_failed(workload, ALL):
        yield [workload, "not measured", *[""] * 6]
    for name, stacks in results.samples.get(workload, {}).items():
        unit = next(metric for metrics in stacks.values() for metric in metrics if metric != CPU)
        failed = {stack for suite in (workload, f"{workload}: {name}") for stack in results.failures.get(suite, {})}
        figure = Column("", name, unit, spread=True)
        cells = [
            "failed" if stack in failed else figure.cell(results, workload, stack) for stack in (DIRECT, ours, ORIGINAL)
        ]
        ratios = [
            "" if failed & {ours, to} else Column("", name, metric, to=to).cell(results, workload, ours)
            for metric, to in ((unit, DIRECT), (unit, ORIGINAL), (CPU, ORIGINAL))
        ]
        yield [f"{workload}, {name}", unit, *cells, *ratios]
