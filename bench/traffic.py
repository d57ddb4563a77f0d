"""The suites that send bytes through stacks that are all up: bulk, echo, echo beside bulk, connections, the delay line.

Called by suites.py. Each measures one stack at a time, in interleaved rounds.
"""

from collections.abc import Mapping, Sequence

from bench.benchmark import Benchmark
from bench.generator import Facts, LoadError
from bench.running import Running
from bench.stacks import LINE_DELAY_MS

GIB = 1 << 30
STILL_SECONDS = 0.5  # a bulk stream that moves nothing for so long leaves the echo alone
_LATENCIES = ("p50", "p90", "p99", "p999", "max")


def bulk(bench: Benchmark, stacks: Sequence[Running]) -> None:
    """Throughput in GiB/s of 1 and 8 streams, each way, and what a GiB costs each process."""
    plan = bench.plan
    _move(bench, "bulk", stacks, ("1 up", "1 down", "8 up", "8 down"), plan.bulk_bytes, plan.warmup_bytes)


def secure(bench: Benchmark, stacks: Sequence[Running]) -> None:
    """The same with TLS between client and server, for one stream."""
    _move(bench, "secure", stacks, ("1 up", "1 down"), bench.plan.bulk_bytes // 2, bench.plan.warmup_bytes)


def _move(
    bench: Benchmark, suite: str, stacks: Sequence[Running], variants: Sequence[str], most: int, warmup: int
) -> None:
    def measure(running: Running, variant: str) -> None:
        streams, way = variant.split()
        size = int(most * running.stack.pace)
        facts, cpu = bench.timed(running, "bulk", running.entries[0], way, streams, size, warmup)
        moved = facts["bytes"] / GIB
        costs = {f"cpu_{role}": seconds / moved for role, seconds in cpu.items()}
        bench.record(suite, variant, running, {"gib_s": moved / facts["seconds"]} | costs)

    bench.interleave(suite, stacks, variants, measure)


def echo(bench: Benchmark, stacks: Sequence[Running]) -> None:
    """Round trips of 64 bytes in microseconds, and the CPU microseconds of each process for one."""

    def measure(running: Running, variant: str) -> None:
        facts, cpu = bench.timed(running, "echo", running.entries[0], bench.plan.echoes, bench.plan.echo_seconds)
        costs = {f"cpu_{role}": seconds * 1e6 / facts["echoes"] for role, seconds in cpu.items()}
        bench.record("echo", variant, running, _latencies(facts) | costs)
        bench.results.record_histogram("echo", running.name, facts["histogram"])

    bench.interleave("echo", stacks, ("idle",), measure)


def beside(bench: Benchmark, stacks: Sequence[Running]) -> None:
    """The same beside one bulk stream down, which must move all the while."""
    seconds = bench.plan.beside_seconds

    def measure(running: Running, variant: str) -> None:
        facts, _ = bench.timed(running, "beside", running.entries[0], 1_000_000, seconds)
        if facts["beside_bytes"] == 0 or facts["beside_pause"] > STILL_SECONDS:
            raise LoadError("the bulk stream beside stood still")
        moved = facts["beside_bytes"] / GIB / facts["seconds"]
        bench.record("beside", variant, running, _latencies(facts) | {"gib_s": moved})
        bench.results.record_histogram("beside", running.name, facts["histogram"])

    bench.interleave("beside", stacks, ("1 down",), measure)


def _latencies(facts: Facts) -> dict[str, float]:
    return {name: facts[name] for name in _LATENCIES}


def connections(bench: Benchmark, stacks: Sequence[Running]) -> None:
    """New connections per second (connect, one byte there and back, close), 1 and 32 at a time."""
    _connect(bench, "connections", stacks, dict(bench.plan.connections), bench.plan.connection_seconds)


def traced(bench: Benchmark, stacks: Sequence[Running]) -> None:
    """Throughput, and the same 32 at a time, for so long that spans are sent meanwhile: what traces cost.

    In this order: the spans of many connections are sent for some seconds after these.
    """
    _move(bench, "traced", stacks, ("1 up", "1 down"), bench.plan.bulk_bytes, bench.plan.warmup_bytes)
    _connect(bench, "traced", stacks, {32: 1_000_000}, bench.plan.traced_seconds)


def _connect(
    bench: Benchmark, suite: str, stacks: Sequence[Running], counts: Mapping[int, int], seconds: float
) -> None:
    def measure(running: Running, variant: str) -> None:
        limits = (counts[int(variant)], variant, seconds)
        facts, cpu = bench.timed(running, "connect", running.entries[0], *limits)
        done = facts["connections"]
        costs = {f"cpu_{role}": seconds * 1e6 / done for role, seconds in cpu.items()}
        figures = {"per_second": done / facts["seconds"], "p50": facts["p50"], "p99": facts["p99"]}
        bench.record(suite, variant, running, figures | costs)

    bench.interleave(suite, stacks, tuple(map(str, counts)), measure)


def line(bench: Benchmark, stacks: Sequence[Running]) -> None:
    """Over a path with a delay: throughput, and the round trips until a new connection's first answered byte."""
    _move(bench, "line", stacks, ("1 up", "1 down"), bench.plan.line_bytes, bench.plan.line_warmup_bytes)

    def measure(running: Running, variant: str) -> None:
        facts, _ = bench.timed(running, "connect", running.entries[0], 3, 1, 10)
        milliseconds = facts["p50"] / 1000
        trips = round(milliseconds / (2 * LINE_DELAY_MS))
        bench.record("line", variant, running, {"round_trips": trips, "milliseconds": milliseconds})

    bench.interleave("line", stacks, ("first byte",), measure)
