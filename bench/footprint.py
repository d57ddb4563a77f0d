"""The suites about what a stack takes: memory for idle and stalled connections, time to start, very many connections.

Called by suites.py. Each starts processes of its own, because memory that was used before would hide what is new.
"""

import http.client
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from bench.benchmark import Benchmark
from bench.processes import LOOPBACK
from bench.running import Running
from bench.stacks import Stack

WATCH_SECONDS = 1.0
SETTLE_SECONDS = 0.4
HEALTH_INTERVAL_SECONDS = 0.2
SPARE_DESCRIPTORS = 500
WARM_CONNECTIONS = 20


def _each(bench: Benchmark, suite: str, stack: Stack, measure: Callable[[Running], None]) -> None:
    """Measure a stack that is started for it."""

    def run() -> None:
        with bench.fresh(stack) as running:
            measure(running)

    bench.progress.step(stack.name)
    bench.attempt(suite, stack.name, run)


def idle(bench: Benchmark) -> None:
    """KiB of each process at a few numbers of idle connections, and the slope between."""
    for stack in bench.alone():
        _each(bench, "idle", stack, lambda running: _measure_idle(bench, "idle", running))


def secure_idle(bench: Benchmark) -> None:
    """The same with TLS between client and server."""
    for stack in bench.alone_and_secure():
        _each(bench, "secure-idle", stack, lambda running: _measure_idle(bench, "secure-idle", running))


def _measure_idle(bench: Benchmark, suite: str, running: Running) -> None:
    points: dict[int, dict[str, float]] = {}
    with bench.load("idle", *running.entries) as load:
        for count in running.stack.idle:
            load.wait_ready()
            load.go(f"open {count}")
            time.sleep(SETTLE_SECONDS)
            points[count] = running.anonymous_kib()
            bench.record(suite, str(count), running, points[count])
    slopes = {role: _slope({count: point[role] for count, point in points.items()}) for role in points[count]}
    bench.record(suite, "slope", running, slopes)


def _slope(points: dict[int, float]) -> float:
    """Of the line of least squares."""
    middle_x, middle_y = (sum(values) / len(points) for values in (points.keys(), points.values()))
    above = sum((x - middle_x) * (y - middle_y) for x, y in points.items())
    return above / sum((x - middle_x) ** 2 for x in points)


def stalled(bench: Benchmark) -> None:
    """KiB of each process for a stream of which one end has stopped reading, more than for the same stream idle."""
    for stack in bench.alone():
        _each(bench, "stalled", stack, lambda running: _measure_stalled(bench, running))


def _measure_stalled(bench: Benchmark, running: Running) -> None:
    """A stalled reader on this one, a stalled writer on another one: both at once, because this mostly waits."""
    streams = bench.plan.stalled_streams
    with ExitStack() as held:
        stacks = {"reader": running, "writer": held.enter_context(bench.fresh(running.stack))}
        loads = [held.enter_context(bench.load("stall", one.entries[0], kind, streams)) for kind, one in stacks.items()]
        for load in loads:
            load.wait_ready()
        time.sleep(SETTLE_SECONDS)
        before = _memory(stacks)
        for load in loads:
            load.go()
        most = before
        until = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < until:
            time.sleep(0.1)
            most = {what: max(most[what], kib) for what, kib in _memory(stacks).items()}
    for kind in stacks:
        growth = {role: (most[of, role] - before[of, role]) / streams for of, role in most if of == kind}
        bench.record("stalled", kind, running, growth)


def _memory(stacks: Mapping[str, Running]) -> dict[tuple[str, str], float]:
    return {(kind, role): kib for kind, one in stacks.items() for role, kib in one.anonymous_kib().items()}


def start(bench: Benchmark) -> None:
    """Seconds from exec to listening, of each program."""
    for _ in range(bench.plan.starts):
        for stack in bench.alone():
            _each(bench, "start", stack, lambda running: _measure_start(bench, running))


def _measure_start(bench: Benchmark, running: Running) -> None:
    bench.record("start", "listening", running, dict(running.listening))


# --- very many connections ------------------------------------------------------------------------------------------


def many(bench: Benchmark) -> None:
    """One server process with as many connections as its descriptors allow: what one costs, and whether all hold."""
    if bench.catalogue.many:
        _each(bench, "many", bench.catalogue.many, lambda running: _measure_many(bench, running))


def possible_connections(bench: Benchmark) -> int:
    """As many as the plan wants; fewer where the hard limit of descriptors is low: a server has two for each."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed, most = bench.plan.many_with_descriptors
    if hard >= needed or hard == resource.RLIM_INFINITY:
        return most
    return min(bench.plan.many, (hard - SPARE_DESCRIPTORS) // 2)


def _measure_many(bench: Benchmark, running: Running) -> None:
    total = possible_connections(bench)
    with bench.load("idle", *running.entries) as load:
        before = WARM_CONNECTIONS  # with the first ones come late imports
        load.wait_ready()
        load.go(f"open {before}")
        time.sleep(SETTLE_SECONDS)
        for count in sorted({100, 1000, total}):
            load.wait_ready()
            cpu = running.cpu_seconds()
            load.go(f"open {count}")
            after = running.cpu_seconds()
            costs = {f"cpu_{role}": (after[role] - cpu[role]) * 1e6 / (count - before) for role in after}
            before = count
            facts, _ = bench.timed(running, "echo", running.entries[0], 1000, 1.0)
            memory = running.anonymous_kib()
            bench.record("many", str(count), running, {"p50": facts["p50"], "p99": facts["p99"]} | costs | memory)
        load.wait_ready()
        held = _hold(bench, running)
        checked = load.go("check")
    figures = {"connections": total, "lost": checked["lost"], "check_seconds": checked["seconds"]}
    bench.record("many", "hold", running, figures | held)


def _hold(bench: Benchmark, running: Running) -> dict[str, float]:
    """Ask the server for its health all the while; milliseconds, and the share of a core that each role takes."""
    api = int(running.places["server"])
    cpu, began = running.cpu_seconds(), time.monotonic()
    took = []
    while time.monotonic() < began + bench.plan.hold_seconds:
        asked = time.perf_counter()
        connection = http.client.HTTPConnection(LOOPBACK, api, timeout=5)
        connection.request("GET", "/health")
        connection.getresponse().read()
        connection.close()
        took.append((time.perf_counter() - asked) * 1000)
        time.sleep(HEALTH_INTERVAL_SECONDS)
    seconds = time.monotonic() - began
    shares = {f"core_{role}": (now - cpu[role]) / seconds for role, now in running.cpu_seconds().items()}
    return {"seconds": seconds, "health_median": sorted(took)[len(took) // 2], "health_max": max(took)} | shares
