"""How much is measured, as data: the full run and the smoke run for CI."""

from dataclasses import dataclass

from bench.stacks import HAPROXY, OURS, SOCAT

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts are fixed; seconds are caps for what is slow. Empty stacks mean all.

    ``stacks`` are up together and send bytes; ``alone`` are those of which memory and start-up are measured.
    """

    name: str
    suites: tuple[str, ...]
    stacks: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    margin: float = 1.0  # share of a `must` that must be held
    is_repeated: bool = False  # whether what is missed is measured a second time: the machine may do other things, too
    rounds: int = 3
    warmup_bytes: int = 16 * MIB
    bulk_bytes: int = 512 * MIB
    line_bytes: int = 51 * MIB  # not whole windows of the delay line: a frame header more would cost a round trip
    line_warmup_bytes: int = 8 * MIB
    echoes: int = 5000
    echo_seconds: float = 1.5
    beside_seconds: float = 0.7
    connections: tuple[tuple[int, int], ...] = ((1, 500), (32, 1500))  # at a time, in all
    connection_seconds: float = 1.0
    traced_seconds: float = 3.0
    starts: int = 9
    stalled_streams: int = 8
    many: int = 9500
    many_with_descriptors: tuple[int, int] = (21_000, 10_000)  # where the hard limit allows, so many
    hold_seconds: float = 25.0  # longer than the 22 in which every connection has pinged


FULL = Plan(
    name="full",
    suites=(
        *("bulk", "echo", "beside", "connections", "traced", "secure", "line"),
        *("idle", "secure-idle", "stalled", "start", "many"),
    ),
)
SMOKE = Plan(
    name="smoke",
    suites=("bulk", "echo", "beside", "connections", "idle", "start"),
    stacks=(SOCAT, HAPROXY, *OURS),
    alone=OURS,
    margin=0.6,
    is_repeated=True,
    bulk_bytes=192 * MIB,
    echoes=2000,
    echo_seconds=0.5,
    beside_seconds=0.3,
    connections=((1, 150), (32, 450)),
    connection_seconds=0.6,
    starts=3,
)
