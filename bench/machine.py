"""What a run ran on, and which versions: facts for the report. No host name, no path."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from bench.processes import ROOT
from bench.stacks import WEBSOCKIFY, Stack
from sokken import __version__


def describe_machine() -> dict[str, str]:
    """Processor, memory, kernel, and the limits that matter."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return {
        "processor": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {re.match(r'[0-9.]*', platform.release())[0]} {platform.machine()}",  # type: ignore[index]
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return found[1] if found else platform.machine()


def describe_versions(stacks: Iterable[Stack]) -> dict[str, str]:
    """Of sokken, what it runs on, and every stack that can tell."""
    versions = {"sokken": f"{__version__}{_commit()}"}
    for package in ("aiohttp", "uvloop", WEBSOCKIFY):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    versions |= {stack.name: _ask(stack.version) for stack in stacks if stack.version}
    return versions


def _commit() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return f" ({found.stdout.strip()})" if found.returncode == 0 else ""


def _ask(argv: tuple[str, ...]) -> str:
    answer = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    text = answer.stdout or answer.stderr
    found = re.search(r"(?:version )?v?(\d+\.\d+[-+.\w]*)", text)
    return found[1] if found else (text.splitlines() or ["unknown"])[0]


if sys.platform != "linux":
    raise SystemExit("The benchmark reads CPU time and memory from /proc: it needs Linux.")
