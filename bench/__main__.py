"""`python -m bench`: measure sokken beside its references and peers, print the table of targets, write the report.

The exit code is 1 where a `must` is missed, 2 where nothing could be measured. All processes end with it.
"""

import argparse
import resource
import signal
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from bench import report
from bench.benchmark import Benchmark, GateError
from bench.generator import LoadError, build_generator, is_compiled
from bench.machine import describe_machine, describe_versions
from bench.plan import FULL, SMOKE, Plan
from bench.processes import ROOT, ProcessError
from bench.progress import Progress
from bench.results import MIN_ROUNDS, Results
from bench.stacks import MissingReferenceError, catalogue
from bench.suites import SUITES, run
from bench.targets import judge

RESULTS = ROOT / "bench" / "results"


def main() -> int:
    """Do what the command line says; the exit code."""
    arguments = _parse()
    if arguments.plan == "report":
        return report.write(RESULTS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started this in the background
    plan = _narrow(FULL if arguments.plan == "full" else SMOKE, arguments)
    try:
        results = _measure(plan)
    except (MissingReferenceError, GateError, LoadError, ProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; nothing is kept", file=sys.stderr)
        return 130
    rows = judge(results, plan.margin)
    print(report.format_run(results, rows))
    missed = {row.target.figure for row in rows if row.is_missed}
    if missed and plan.is_repeated:
        print("\nbench: once more, for what was missed\n")
        rows = judge(_measure(plan), plan.margin)
        print("\n".join(f"{row.target.figure}: {row.verdict}" for row in rows if row.target.figure in missed))
        rows = [row for row in rows if row.target.figure in missed]
    is_whole = replace(plan, rounds=FULL.rounds, hold_seconds=FULL.hold_seconds) == FULL and plan.rounds >= MIN_ROUNDS
    if arguments.out or is_whole:
        path = arguments.out or RESULTS / f"{results.began.replace(':', '').replace('-', '')}.json"
        results.save(path)
        print(
            f"\nThe values of all rounds are in {path.name}; `make bench-report` writes docs/performance.md from them."
        )
    return 1 if any(row.is_missed for row in rows) else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n", 1)[0])
    parser.add_argument("plan", choices=("full", "smoke", "report"))
    parser.add_argument("--suites", metavar="NAMES", help=f"of {','.join(suite.name for suite in SUITES)}")
    parser.add_argument("--stacks", metavar="NAMES", help="separated by commas, such as 'socat x2,sokken uvloop'")
    parser.add_argument("--rounds", type=int, help="instead of 3")
    parser.add_argument("--hold", type=float, metavar="SECONDS", help="how long the many connections are held")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write the values, as JSON")
    return parser.parse_args()


def _narrow(plan: Plan, arguments: argparse.Namespace) -> Plan:
    """The plan, with what the command line wants otherwise."""
    if arguments.suites:
        plan = replace(plan, suites=tuple(arguments.suites.split(",")))
    if arguments.stacks:
        names = tuple(arguments.stacks.split(","))
        plan = replace(plan, stacks=names, alone=names)
    if arguments.rounds:
        plan = replace(plan, rounds=arguments.rounds)
    if arguments.hold:
        plan = replace(plan, hold_seconds=arguments.hold)
    return plan


def _measure(plan: Plan) -> Results:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for all children, too
    known = catalogue()
    generator = build_generator()
    results = Results(plan.name, began=datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"), absent=dict(known.absent))
    results.machine = describe_machine() | {
        "load generator": "C" if is_compiled(generator) else "Python",
        "descriptors": str(hard),
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Benchmark(plan, known, generator, Path(folder), results, Progress())
        results.versions = describe_versions(bench.chosen(known.plain))
        try:
            run(bench)
        finally:
            bench.progress.end()
    return results


if __name__ == "__main__":
    sys.exit(main())
