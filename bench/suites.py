"""All suites as data, and how a run goes through them.

Called by __main__.py. A suite has a cap: what is not measured by then is missing, with that as the reason.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench import footprint, traffic
from bench.benchmark import Benchmark
from bench.running import Running
from bench.stacks import Stack


@dataclass(frozen=True, slots=True)
class Suite:
    """``together`` names the stacks of the catalogue that are up meanwhile; a suite without starts its own.

    ``more`` multiplies the plan's rounds: a small difference between two stacks that are nearly the same wants more
    of them than a large one between many.
    """

    name: str
    title: str
    cap_seconds: float
    together: str | None
    run_with: Callable[[Benchmark, Sequence[Running]], None] | None = None
    run_alone: Callable[[Benchmark], None] | None = None
    more: int = 1


SUITES = (
    Suite("bulk", "bulk: 1 and 8 streams, up and down", 150, "plain", run_with=traffic.bulk),
    Suite("echo", "echo: 64 bytes there and back", 40, "plain", run_with=traffic.echo),
    Suite("beside", "echo beside a bulk stream", 50, "plain", run_with=traffic.beside),
    Suite("connections", "new connections, 1 and 32 at a time", 70, "plain", run_with=traffic.connections),
    Suite("traced", "new connections and bulk with traces", 100, "traced", run_with=traffic.traced, more=3),
    Suite("secure", "bulk with TLS between client and server", 40, "secure", run_with=traffic.secure),
    Suite("line", "a path with 20 ms of delay each way", 90, "line", run_with=traffic.line),
    Suite("idle", "memory of idle connections", 80, None, run_alone=footprint.idle),
    Suite("secure-idle", "memory of idle connections with TLS", 60, None, run_alone=footprint.secure_idle),
    Suite("stalled", "memory of stalled streams", 60, None, run_alone=footprint.stalled),
    Suite("start", "from exec to listening", 40, None, run_alone=footprint.start),
    Suite("many", "very many connections on one server", 180, None, run_alone=footprint.many),
)


def run(bench: Benchmark) -> None:
    """Go through the plan's suites. Raises GateError."""
    chosen = [suite for suite in SUITES if suite.name in bench.plan.suites]
    for together, suites in itertools.groupby(chosen, key=lambda suite: suite.together):
        if together is None:
            for suite in suites:
                _run_one(bench, suite, [])
            continue
        stacks: Sequence[Stack] = getattr(bench.catalogue, together)
        if not stacks:
            continue
        bench.progress.begin(f"starting {', '.join(stack.name for stack in bench.chosen(stacks))}")
        with bench.up(bench.chosen(stacks)) as running:
            for suite in suites:
                _run_one(bench, suite, running)


def _run_one(bench: Benchmark, suite: Suite, running: Sequence[Running]) -> None:
    bench.progress.begin(suite.title)
    bench.results.suites.append(suite.name)
    began = time.monotonic()
    bench.deadline = began + suite.cap_seconds
    bench.rounds = bench.plan.rounds * suite.more
    if suite.run_with:
        suite.run_with(bench, running)
    if suite.run_alone:
        suite.run_alone(bench)
    bench.results.seconds[suite.name] = round(time.monotonic() - began, 1)
