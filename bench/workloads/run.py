"""Real programs through the tunnel: `make bench-workloads`, which is `python -m bench.workloads.run`.

Takes every workload's figures through nothing, through sokken, and through the original in Go where it is present:
all at once, in interleaved rounds. Writes bench/results/workloads/, and prints the table that `make bench-report` puts
into docs/performance.md.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.machine import describe_machine, describe_versions
from bench.processes import ProcessError
from bench.progress import Progress
from bench.results import MIN_ROUNDS, Results
from bench.stacks import DIRECT, ORIGINAL, OURS, MissingReferenceError, Stack, catalogue
from bench.workloads import clone, nfs, pgbench, scp, vpn, web
from bench.workloads.site import FULL, QUICK, Scale, Site, WorkloadError, find
from bench.workloads.table import ALL, CPU, RESULTS, format_table
from bench.workloads.work import Entered, Measure, Workload

WORKLOADS = (scp.WORKLOAD, pgbench.WORKLOAD, web.WORKLOAD, clone.WORKLOAD, nfs.WORKLOAD, vpn.WORKLOAD)
PACKAGES = ("openssh-server", "git", "postgresql-[0-9]*", "nginx-light", "wrk", "nfs-ganesha", "libnfs1*", "openvpn")
MEMORY = Path("/dev/shm")  # noqa: S108 -- in a folder of our own in it
FOLDERS = "sokken-bench-"  # followed by the process that made them
BIG_FILES_AT_ONCE = 6

_Error = (WorkloadError, ProcessError, OSError)


class Run:
    """One run: what is measured, and what came out."""

    def __init__(self, stacks: Sequence[Stack], scale: Scale, rounds: int, results: Results) -> None:
        self.stacks = stacks
        self.scale = scale
        self.rounds = rounds
        self.results = results
        self.progress = Progress()

    def measure(self, workload: Workload) -> None:
        """Take all figures of a workload, or note why there are none."""
        self.progress.begin(workload.name)
        self.results.suites.append(workload.name)
        began = time.monotonic()
        try:
            _check(workload)
            with _site(self.scale, began + workload.seconds * self.scale.cap_share) as site:
                self._measure_at(workload, site)
        except _Error as error:
            self._fail(workload.name, ALL, error)
        self.results.seconds[workload.name] = round(time.monotonic() - began, 1)

    def _measure_at(self, workload: Workload, site: Site) -> None:
        with workload.open(site) as opened, ExitStack() as exits:
            entered: dict[str, Entered] = {}
            for stack in self.stacks:
                try:
                    entered[stack.name] = exits.enter_context(opened.enter(stack))
                except _Error as error:
                    self._fail(workload.name, stack.name, error)
            for measure in opened.measures:
                self._take(workload.name, measure, entered)

    def _take(self, workload: str, measure: Measure, entered: Mapping[str, Entered]) -> None:
        """Rounds go A B C, C B A; a stack that fails is out of this figure only."""
        suite = f"{workload}: {measure.name}"
        for number in range(self.rounds):
            names = list(entered)[:: -1 if number % 2 else 1]
            for name in names:
                if self.results.has_failed(suite, name):
                    continue
                self.progress.step(f"{measure.name}, round {number + 1}, {name}")
                try:
                    self._take_once(workload, measure, name, entered[name])
                except _Error as error:
                    self._fail(suite, name, error)

    def _take_once(self, workload: str, measure: Measure, name: str, entered: Entered) -> None:
        before = _cpu_seconds(entered)
        try:
            sample = measure.take(entered.entry)
        except _Error:
            _cpu_seconds(entered)  # if a program has ended, that is the reason
            raise
        values = {f"{measure.unit}/s": sample.work / sample.seconds}
        if entered.children:
            values[CPU] = (_cpu_seconds(entered) - before) / sample.work
        self.results.record(workload, measure.name, name, values)

    def _fail(self, suite: str, name: str, error: Exception) -> None:
        self.results.fail(suite, name, str(error))
        self.progress.tell(f"{suite}: {name}: {error}")


def _cpu_seconds(entered: Entered) -> float:
    """Of a stack's programs so far. Raises ProcessError if one has ended."""
    for child in entered.children:
        child.check()
    return sum(child.cpu_seconds() for child in entered.children)


def _check(workload: Workload) -> None:
    if workload.root_for and os.geteuid() != 0:
        raise WorkloadError(f"only root can do this: {workload.root_for}")
    for program in workload.programs:
        find(program)


@contextmanager
def _site(scale: Scale, deadline: float) -> Iterator[Site]:
    """A folder in memory, where there is room: disks are not what is measured."""
    room = scale.big_bytes * BIG_FILES_AT_ONCE
    where = MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= room <= _available_memory() else None
    prefix = f"{FOLDERS}{os.getpid()}-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=where, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL runs as somebody else
        yield Site(folder, scale, deadline)


def _remove_leftovers() -> None:
    """Folders in memory of runs that were killed: nobody else frees them before the machine's next start."""
    for left in MEMORY.glob(f"{FOLDERS}*"):
        if not Path("/proc", left.name.split("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)


def _available_memory() -> int:
    facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(facts["MemAvailable"].split()[0]) << 10


def _stacks(results: Results) -> list[Stack]:
    found = catalogue()
    present = {stack.name: stack for stack in found.plain}
    ours = next(name for name in OURS if name in present)
    if ORIGINAL not in present:
        results.absent[ORIGINAL] = found.absent[ORIGINAL]
    return [present[name] for name in (DIRECT, ours, ORIGINAL) if name in present]


def _package_versions() -> dict[str, str]:
    """Of Debian's packages that do the work, where it is a Debian."""
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Version}\\n", *PACKAGES]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = (line.split() for line in shown.splitlines())
    return {words[1]: words[2] for words in lines if words[0] == "installed"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.workloads.run", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, short times: does everything work?")
    parser.add_argument("--only", action="append", choices=[each.name for each in WORKLOADS], help="may be repeated")
    parser.add_argument("--rounds", type=int, default=MIN_ROUNDS, help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write the values, as JSON")
    return parser.parse_args()


def _measure(arguments: argparse.Namespace) -> Results:
    plan = "workloads quick" if arguments.quick else "workloads"
    results = Results(plan, datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"), machine=describe_machine())
    _remove_leftovers()
    stacks = _stacks(results)
    results.versions = describe_versions(stacks) | _package_versions()
    run = Run(stacks, QUICK if arguments.quick else FULL, arguments.rounds, results)
    for workload in WORKLOADS:
        if not arguments.only or workload.name in arguments.only:
            run.measure(workload)
    return results


def main() -> int:
    """Run what was asked for; 1 if something does not work through sokken that works without."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        results = _measure(arguments)
    except MissingReferenceError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("bench: interrupted; nothing is kept", file=sys.stderr)
        return 130
    print(format_table(results))
    is_whole = not (arguments.quick or arguments.only)
    if arguments.out or is_whole:
        path = arguments.out or RESULTS / f"{results.began.replace(':', '').replace('-', '')}.json"
        results.save(path)
        print(f"\nThe values of all rounds are in {path.name}; `make bench-report` puts them into docs/performance.md.")
    return int(any(set(failed) & set(OURS) for failed in results.failures.values()))


if __name__ == "__main__":
    sys.exit(main())
