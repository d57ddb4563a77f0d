"""One run, from the first process to the results: what is up when, in which order, and for how long.

Used by __main__.py; the suites (traffic.py, footprint.py) are given a `Benchmark` and measure with its means.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from bench import gate
from bench.generator import OUT_OF_TIME, Facts, Load, LoadError
from bench.plan import Plan
from bench.processes import ProcessError, free_port
from bench.progress import Progress
from bench.results import Results
from bench.running import Running
from bench.stacks import MUST_PASS, Catalogue, Stack

START_SECONDS = 30.0
DEATH_SECONDS = 0.2  # between a connection's end and that of the process which caused it
SETTLE_SECONDS = 0.02  # for connections of the measurement before to end


class GateError(Exception):
    """A stack that must be right is not, and so no figure is taken."""


@dataclass(slots=True)
class Benchmark:
    """What all suites share."""

    plan: Plan
    catalogue: Catalogue
    generator: tuple[str, ...]
    folder: Path
    results: Results
    progress: Progress
    deadline: float = 0.0  # of the suite, monotonic seconds
    rounds: int = 0  # of the suite
    started: int = field(default=0)

    # --- stacks -----------------------------------------------------------------------------------------------------

    def chosen(self, stacks: Sequence[Stack]) -> list[Stack]:
        """Those that the plan wants up together."""
        return [stack for stack in stacks if not self.plan.stacks or stack.name in self.plan.stacks]

    def alone(self) -> list[Stack]:
        """Those that the plan wants to be started by themselves."""
        return self._wanted_alone(self.catalogue.plain)

    def alone_and_secure(self) -> list[Stack]:
        """The same, with TLS between client and server."""
        return self._wanted_alone(self.catalogue.secure)

    def _wanted_alone(self, stacks: Sequence[Stack]) -> list[Stack]:
        wanted = self.plan.alone
        return [one for one in stacks if one.programs and (not wanted or one.name in wanted)]

    @contextmanager
    def fresh(self, stack: Stack) -> Iterator[Running]:
        """A stack of its own for one measurement, with its target behind it. Raises ProcessError, LoadError."""
        self.started += 1
        with (
            Running(stack, self.folder / str(self.started), self.generator, free_port()) as running,
            self.load("target", running.target) as target,
            _naming_who_died(running),
        ):
            target.wait_ready()
            yield running

    @contextmanager
    def up(self, stacks: Sequence[Stack]) -> Iterator[list[Running]]:
        """All these at once, through the gate, with one target process behind them. Raises GateError."""
        with ExitStack() as held:
            running = [one for stack in stacks if (one := self._start(held, stack))]
            passed = self._pass_gate(running)
            self.deadline = time.monotonic() + START_SECONDS
            target = held.enter_context(self.load("target", *(one.target for one in passed)))
            target.wait_ready()
            yield passed

    def _start(self, held: ExitStack, stack: Stack) -> Running | None:
        self.started += 1
        running = Running(stack, self.folder / str(self.started), self.generator, free_port())
        try:
            return held.enter_context(running)
        except (OSError, ProcessError) as error:
            self._refuse(stack.name, str(error))
            return None

    def _pass_gate(self, running: Sequence[Running]) -> list[Running]:
        self.progress.step("bytes and half-closes")
        with ThreadPoolExecutor(max(1, len(running))) as pool:
            verdicts = list(pool.map(lambda one: gate.judge(one.entries[0], one.target), running))
        passed = []
        for one, verdict in zip(running, verdicts, strict=True):
            self.results.gate.setdefault(one.name, asdict(verdict))
            must = one.name in MUST_PASS
            problem = verdict.problem() if must else verdict.integrity != "yes" and verdict.integrity
            if problem:
                self._refuse(one.name, problem)
            else:
                passed.append(one)
        return passed

    def _refuse(self, name: str, problem: str) -> None:
        if name in MUST_PASS:
            raise GateError(f"{name}: {problem}")
        self.results.fail("gate", name, problem)
        self.progress.tell(f"{name}: {problem}")

    # --- measuring --------------------------------------------------------------------------------------------------

    def load(self, *arguments: object) -> Load:
        """Start the load generator."""
        return Load(self.generator, *arguments, deadline=self.deadline)

    def timed(self, running: Running, *arguments: object) -> tuple[Facts, dict[str, float]]:
        """Run one load on a stack: what it says, and the CPU seconds that each role took meanwhile."""
        with self.load(*arguments) as load:
            load.wait_ready()
            before = running.cpu_seconds()
            facts = load.go()
            after = running.cpu_seconds()
        return facts, {role: after[role] - before[role] for role in after}

    def interleave(
        self, suite: str, stacks: Sequence[Running], variants: Sequence[str], measure: Callable[[Running, str], None]
    ) -> None:
        """Rounds of A B C, then C B A: what changes on the machine changes for all. A stack that fails is out."""
        for number in range(self.rounds):
            for variant in variants:
                for running in stacks if number % 2 == 0 else reversed(stacks):
                    self.progress.step(f"round {number + 1} of {self.rounds}: {variant}, {running.name}")
                    self.attempt(suite, running.name, partial(_measure, running, variant, measure))
                    time.sleep(SETTLE_SECONDS)

    def attempt(self, suite: str, name: str, measure: Callable[[], None]) -> None:
        """Measure, unless that stack is out or the suite's time is over."""
        if self.results.has_failed(suite, name):
            return
        try:
            if time.monotonic() < self.deadline:
                measure()
                return
            reason = OUT_OF_TIME
        except (OSError, ProcessError, LoadError) as error:
            reason = str(error)
        self.results.fail(suite, name, reason)
        self.progress.tell(f"{name}: {reason}")

    def record(self, suite: str, variant: str, running: Running, values: Mapping[str, float]) -> None:
        """Keep one round's figures."""
        self.results.record(suite, variant, running.name, values)


def _measure(running: Running, variant: str, measure: Callable[[Running, str], None]) -> None:
    with _naming_who_died(running):
        measure(running, variant)


@contextmanager
def _naming_who_died(running: Running) -> Iterator[None]:
    """A process that ended says more than what happened to the load because of it."""
    running.check()
    try:
        yield
    except (OSError, LoadError):
        time.sleep(DEATH_SECONDS)
        running.check()
        raise
