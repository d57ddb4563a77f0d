"""What the settings of the log, and of the event loop, do at a real program."""

import re
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.programs import join, running, server
from tests.support.raw_http import exchange, upgrade
from tests.support.services import free_port, is_listening
from tests.support.targets import connect, echo, eventually, target

LONG = ("X-Forwarded-For", "x" * 200), ("Sokken-Client-Id", "y" * 128), ("Sokken-Tunnel", "z" * 128)
MIB = 1024 * 1024


@contextmanager
def logging_to(path, **env):
    """A server that says nothing on standard error, and where it is."""
    where = ("127.0.0.1", free_port())
    given = {"SOKKEN_LOG_FILE": str(path)} | {f"SOKKEN_{name}": value for name, value in env.items()}
    with running("server", f"127.0.0.1:{where[1]}", "a.test:1", env=given) as program:
        eventually(lambda: is_listening(where))
        yield program, where


def refuse(where):
    """Make it write a line of about a thousand bytes."""
    assert exchange(where, upgrade(f"/tunnel/{'t' * 63}.{'u' * 63}.{'v' * 63}.test:1", *LONG)).status == 403


def rotated(folder):
    return sorted(folder.glob("sokken-*.log"))


def test_a_file_of_that_size_is_rotated_and_so_many_are_kept(tmp_path):
    path = tmp_path / "sokken.log"
    with logging_to(path, LOG_MAX_SIZE_MB="1", LOG_MAX_ROTATED="1") as (_, where):
        seen = set()
        deadline = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < deadline:
            refuse(where)
            seen.update(rotated(tmp_path))
    assert len(seen) == 2
    (kept,) = rotated(tmp_path)
    assert kept == max(seen)
    assert MIB - 2000 < kept.stat().st_size <= MIB
    assert path.stat().st_size <= MIB


@pytest.mark.parametrize(("days", "is_rotated"), [("1", True), ("3", False)])
def test_a_file_of_that_age_is_rotated(tmp_path, days, is_rotated):
    path = tmp_path / "sokken.log"
    begun = datetime.now(UTC) - timedelta(days=2)
    path.write_text(f'{{"timestamp":"{begun:%Y-%m-%dT%H:%M:%S.%f}Z","event":"old"}}\n')
    with logging_to(path, LOG_MAX_AGE_DAYS=days) as (_, where):
        refuse(where)
        eventually(lambda: "connection_refused" in path.read_text())
    assert bool(rotated(tmp_path)) is is_rotated
    assert ('"old"' not in path.read_text()) is is_rotated


def test_a_log_for_people_overrides_the_file(tmp_path):
    path = tmp_path / "sokken.log"
    with logging_to(path, LOG_PRETTY="true") as (program, _):
        eventually(lambda: any("listening on 127.0.0.1:" in line for line in program.noise))
        assert program.lines == []
        assert not path.exists()
        program.stop()
        program.noise.clear()


@pytest.mark.parametrize(
    ("given", "peer", "forwarded"),
    [("full", r"127\.0\.0\.1:\d+", "2001:db8:1:2:3::7"), ("network", r"127\.0\.0\.0/24", "2001:db8:1::/56")],
)
def test_peers_are_told_whole_or_as_their_network(given, peer, forwarded):
    env = {"SOKKEN_LOG_PEER": given, "SOKKEN_LOG_DEBUG": "true"}
    with target(echo) as where, server(where, env=env) as far, connect(far.api) as sock:
        sock.sendall(upgrade(f"/tunnel/{join(where)}", ("X-Forwarded-For", "2001:db8:1:2:3::7")))
        assert sock.recv(1000).startswith(b"HTTP/1.1 101 ")
        assert exchange(far.api, upgrade("/tunnel/elsewhere.test:1")).status == 403
        opened = far.program.wait_for("connection_opened")
        refused = far.program.wait_for("connection_refused")
        assert re.fullmatch(peer, opened["peer"])
        assert re.fullmatch(peer, refused["peer"])
        assert opened["forwarded_for"] == forwarded


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_the_event_loop_is_the_one_that_was_asked_for(tmp_path, name):
    with logging_to(tmp_path / "sokken.log", EVENT_LOOP=name) as (program, _):
        assert ("uvloop" in Path(f"/proc/{program.pid}/maps").read_text()) is (name == "uvloop")
