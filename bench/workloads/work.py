"""What a workload is: servers of its own behind the stacks, and figures that are taken through each of them.

Every workload's module defines one `Workload`; run.py opens it, enters the stacks, and takes the figures.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from bench.processes import Child
from bench.stacks import Stack
from bench.workloads.site import Site


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a stack is entered: one port for each target. ``prefix`` runs a command from where ``host`` is seen."""

    host: str
    ports: tuple[int, ...]
    prefix: tuple[str, ...] = ()

    @property
    def port(self) -> int:
        """The first target's."""
        return self.ports[0]


@dataclass(frozen=True, slots=True)
class Sample:
    """So much work, in the measure's unit, was done in so many seconds."""

    work: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure, a rate: more is better. ``take`` raises WorkloadError also where what arrives is wrong."""

    name: str
    unit: str  # of the work: MiB, requests
    take: Callable[[Entry], Sample]


@dataclass(frozen=True, slots=True)
class Entered:
    """A stack that runs in front of a workload's servers. ``children`` are the stack's own programs."""

    entry: Entry
    children: Sequence[Child]


@dataclass(frozen=True, slots=True)
class Opened:
    """A workload whose servers run. ``enter`` starts one stack in front of them."""

    measures: Sequence[Measure]
    enter: Callable[[Stack], AbstractContextManager[Entered]]


@dataclass(frozen=True, slots=True)
class Workload:
    """``open`` starts the servers and ends them; ``seconds`` is the longest that all may take at full size."""

    name: str
    programs: tuple[str, ...]
    open: Callable[[Site], AbstractContextManager[Opened]]
    seconds: float
    root_for: str = ""  # what cannot be done as anybody else
