"""netcat through a tunnel: `nc -N` ends its direction after its input, and must still get every answer."""

import hashlib
import os
import signal
import subprocess
from contextlib import contextmanager

import pytest

from tests.support.pairs import pair
from tests.support.services import end, free_port, installed, run
from tests.support.targets import PATIENCE, count, echo, eventually, target

pytestmark = pytest.mark.programs

SIZE = 16 * 1024 * 1024 + 1


@pytest.fixture(scope="module")
def tunnels():
    """To a target that counts, one that echoes, and a port for a netcat."""
    with target(count) as counting, target(echo) as echoing:
        listening = ("127.0.0.1", free_port())
        with pair({"count": counting, "echo": echoing, "netcat": listening}) as both:
            yield both


@pytest.fixture
def files(tmp_path):
    """Two files of random bytes."""
    paths = [tmp_path / "up", tmp_path / "down"]
    for path in paths:
        path.write_bytes(os.urandom(SIZE))
    return paths


def nc(entry, *options, **settings):
    """A netcat as the application, run to its end."""
    return run(installed("nc"), *options, *entry, text=False, **settings)


@contextmanager
def started(*command, **settings):
    process = subprocess.Popen([installed("nc"), *map(str, command)], **settings)
    try:
        yield process
    finally:
        end(process, signal.SIGKILL)


@contextmanager
def listening_nc(where, source, result):
    """A netcat as the target: sends ``source`` and ends its direction, writes what comes into ``result``."""
    with (
        source.open("rb") as given,
        result.open("wb") as taken,
        started("-v", "-N", "-l", *where, stdin=given, stdout=taken, stderr=subprocess.PIPE) as process,
    ):
        assert b"Listening" in process.stderr.readline()
        yield process


def digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_the_end_of_an_upload_brings_the_answer(tunnels, files):
    with files[0].open("rb") as source:
        done = nc(tunnels.entries["count"], "-N", stdin=source)
    assert (done.returncode, done.stdout) == (0, b"%d" % SIZE)


def test_an_echo_of_a_whole_file(tunnels, files, tmp_path):
    result = tmp_path / "result"
    with files[0].open("rb") as source, result.open("wb") as taken:
        nc(tunnels.entries["echo"], "-N", stdin=source, stdout=taken, capture_output=False)
    assert digest(result) == digest(files[0])


def test_an_empty_upload_is_answered_too(tunnels):
    done = nc(tunnels.entries["count"], "-N")
    assert (done.returncode, done.stdout) == (0, b"0")


def test_the_target_ends_first_and_still_gets_everything(tunnels, files, tmp_path):
    """The listening netcat has sent its file and ended before the other one begins."""
    up, down = files
    far_result, near_result = tmp_path / "far", tmp_path / "near"
    with (
        listening_nc(tunnels.targets["netcat"], down, far_result) as far,
        near_result.open("wb") as taken,
        started("-N", *tunnels.entries["netcat"], stdin=subprocess.PIPE, stdout=taken) as near,
    ):
        eventually(lambda: near_result.stat().st_size == SIZE)
        near.stdin.write(up.read_bytes())
        near.stdin.close()
        assert (near.wait(PATIENCE), far.wait(PATIENCE)) == (0, 0)
    assert digest(near_result) == digest(down)
    assert digest(far_result) == digest(up)


def test_files_cross_each_other(tunnels, files, tmp_path):
    up, down = files
    far_result, near_result = tmp_path / "far", tmp_path / "near"
    with (
        listening_nc(tunnels.targets["netcat"], down, far_result) as far,
        near_result.open("wb") as taken,
        up.open("rb") as given,
    ):
        done = nc(tunnels.entries["netcat"], "-N", stdin=given, stdout=taken, capture_output=False)
        assert (done.returncode, far.wait(PATIENCE)) == (0, 0)
    assert digest(near_result) == digest(down)
    assert digest(far_result) == digest(up)


def test_a_port_where_nobody_listens_gives_nothing(tunnels):
    done = nc(tunnels.entries["netcat"], "-N", input=b"x")
    assert done.stdout == b""
    tunnels.client.program.wait_for("connection_failed", outcome="target_refused")
