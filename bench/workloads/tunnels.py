"""Starts a stack in front of a workload's servers: on the loopback interface, or between two network namespaces.

Used by the workloads. The stacks are those of stacks.py, with nothing changed but where their two ends run.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import LOOPBACK, Child
from bench.running import Places
from bench.stacks import Program, Stack
from bench.workloads.site import Site, wait_until_listening
from bench.workloads.work import Entered, Entry


@dataclass(frozen=True, slots=True)
class Ends:
    """Where the server and the client of a tunnel run, and the address between them."""

    far: tuple[str, ...] = ()  # the prefix of a command that is to run there
    near: tuple[str, ...] = ()
    address: str = LOOPBACK


def through(site: Site, *targets: int) -> Callable[[Stack], AbstractContextManager[Entered]]:
    """How to enter a stack on the loopback interface that leads to these ports."""

    @contextmanager
    def enter(stack: Stack) -> Iterator[Entered]:
        with ExitStack() as exits:
            tunnels = [exits.enter_context(tunnel(site, stack, target)) for target in targets]
            ports = tuple(entered.entry.port for entered in tunnels)
            yield Entered(Entry(LOOPBACK, ports), [child for entered in tunnels for child in entered.children])

    return enter


@contextmanager
def tunnel(site: Site, stack: Stack, target: int, ends: Ends | None = None) -> Iterator[Entered]:
    """Run a stack that leads to this port, where its server runs. Raises ProcessError, WorkloadError."""
    ends = ends or Ends()
    places = Places(target=str(target), dir=str(site.folder))
    with ExitStack() as exits:
        children = [exits.enter_context(_running(site, stack, program, places, ends)) for program in stack.programs]
        address = LOOPBACK if children else ends.address
        yield Entered(Entry(address, (int(places[stack.entries[0]]),), ends.near), children)


@contextmanager
def _running(site: Site, stack: Stack, program: Program, places: Places, ends: Ends) -> Iterator[Child]:
    between = [argument.replace(f"{LOOPBACK}:{{server}}", f"{ends.address}:{{server}}") for argument in program.argv]
    argv = [argument.format_map(places) for argument in between]
    prefix = ends.far if program.role == "server" else ends.near
    log = Path(site.folder, f"{stack.name}-{program.role}-{places['target']}.log".replace(" ", "-"))
    child = Child(program.role, [*prefix, *argv], program.env, log, forks=program.forks)
    try:
        wait_until_listening(child, int(places[program.port]))
        yield child
    finally:
        child.stop()
