"""What the tests of the logs share: the log of this very process in a file, and programs that log."""

import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from sokken.telemetry import logs

ROOT = Path(__file__).parents[3]
PREAMBLE = """
import sys
from pathlib import Path
from types import SimpleNamespace
from sokken.telemetry import logs

def configure(**given):
    defaults = dict(log_debug=False, log_pretty=False, log_file=None, log_peer="full",
                    log_max_size_mb=10, log_max_age_days=1, log_max_rotated=7)
    logs.configure(SimpleNamespace(**defaults | given), "server", "1.2.3")

log = logs.get_logger("sokken.test")
"""


def make_settings(**given):
    defaults = {
        "log_debug": False,
        "log_pretty": False,
        "log_file": None,
        "log_peer": "full",
        "log_max_size_mb": 10,
        "log_max_age_days": 1,
        "log_max_rotated": 7,
    }
    return SimpleNamespace(**defaults | given)


@pytest.fixture
def undo_configure(monkeypatch):
    """Leave the process as it was, whatever is configured in the test."""
    process, root, access = logs._process, logging.root, logging.getLogger("aiohttp.access")
    for name, value in vars(process).items():
        monkeypatch.setattr(process, name, value)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(access, "disabled", access.disabled)
    before = structlog.get_config()
    yield
    process.sink.close()
    structlog.configure(**before)
    root.setLevel(root.level)  # forgets what loggers have remembered of it


@pytest.fixture
def log_to(undo_configure, tmp_path):
    """Configure the log of this process into a file; returns what reads its lines."""

    def configure(role="server", **given):
        path = tmp_path / "sokken.log"
        logs.configure(make_settings(**{"log_file": path} | given), role, "1.2.3")
        return lambda: [json.loads(line) for line in path.read_text().splitlines()]

    return configure


@pytest.fixture
def lines(log_to):
    return log_to()


@pytest.fixture
def start_program():
    """Start Python code that may use ``configure``, ``logs`` and ``log``; it is gone when the test ends."""
    started = []

    def start(code, *arguments, **options):
        command = [sys.executable, "-c", PREAMBLE + code, *map(str, arguments)]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        program = subprocess.Popen(command, cwd=ROOT, **streams | options)
        started.append(program)
        return program

    yield start
    for program in started:
        program.kill()
        program.wait()
        for stream in (program.stdin, program.stdout, program.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def run_program(start_program):
    """Run such code to its end; returns its exit code, its output and its standard error."""

    def run(code, *arguments, **options):
        program = start_program(code, *arguments, **options)
        output, error = program.communicate(timeout=30)
        return SimpleNamespace(code=program.returncode, output=output.decode(), error=(error or b"").decode())

    return run
