"""Redis through a tunnel: one command, a pipe full of them, subscriptions, and a client that blocks."""

import os
import signal
import subprocess
from contextlib import contextmanager

import pytest

from tests.support.pairs import pair
from tests.support.redis import redis
from tests.support.services import end, installed, succeed
from tests.support.targets import PATIENCE, eventually

pytestmark = pytest.mark.programs

INSERTED = 200_000


@pytest.fixture(scope="module")
def tunnels(tmp_path_factory):
    with redis(tmp_path_factory.mktemp("redis")) as where, pair({"redis": where}) as both:
        yield both


def redis_cli(where):
    return (installed("redis-cli"), "-h", where[0], "-p", where[1])


@pytest.fixture
def ask(tunnels):
    """Ask through the tunnel."""
    return lambda *command, **settings: succeed(*redis_cli(tunnels.entries["redis"]), *command, **settings).strip()


@contextmanager
def session(tunnels, *command):
    """A redis-cli that goes on while the test does."""
    words = [str(word) for word in (*redis_cli(tunnels.entries["redis"]), *command)]
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        end(process, signal.SIGKILL)


def number(tunnels, name):
    """A number of the server's own account, asked past the tunnel."""
    account = succeed(*redis_cli(tunnels.targets["redis"]), "info").split()
    return int(next(line.partition(":")[2] for line in account if line.startswith(f"{name}:")))


def test_ping(ask):
    assert ask("ping") == "PONG"


def test_a_large_value(ask, tmp_path):
    value = os.urandom(8_000_000).hex()
    assert ask("-x", "set", "large", input=value) == "OK"
    assert ask("get", "large") == value


def test_a_pipe_full_of_commands(ask):
    """Writes and their answers cross each other, faster than either end reads."""
    commands = "".join(f"set key:{n} {n}\r\n" for n in range(INSERTED))
    assert f"errors: 0, replies: {INSERTED}" in ask("--pipe", input=commands)
    assert ask("get", f"key:{INSERTED - 1}") == str(INSERTED - 1)
    assert int(ask("eval", "return #redis.call('keys', 'key:*')", "0")) == INSERTED


def test_a_message_reaches_who_subscribed(tunnels, ask):
    with session(tunnels, "subscribe", "news") as subscriber:
        assert [subscriber.stdout.readline() for _ in range(3)] == ["subscribe\n", "news\n", "1\n"]
        for text in ("one", "two"):
            assert ask("publish", "news", text) == "1"
            assert [subscriber.stdout.readline() for _ in range(3)] == ["message\n", "news\n", f"{text}\n"]


def test_a_client_that_blocks_is_woken(tunnels, ask):
    with session(tunnels, "blpop", "queue", "0") as waiting:
        eventually(lambda: number(tunnels, "blocked_clients") == 1)
        assert ask("rpush", "queue", "work") == "1"
        assert waiting.communicate(timeout=PATIENCE)[0] == "queue\nwork\n"


def test_a_blocked_client_that_is_killed_leaves_nothing_behind(tunnels):
    before = number(tunnels, "connected_clients")
    with session(tunnels, "blpop", "never", "0") as waiting:
        eventually(lambda: number(tunnels, "blocked_clients") == 1)
        waiting.kill()
        eventually(lambda: number(tunnels, "blocked_clients") == 0)
    eventually(lambda: number(tunnels, "connected_clients") <= before)


def test_a_client_that_the_server_drops_sees_the_end(tunnels, ask):
    with session(tunnels, "subscribe", "dropped") as subscriber:
        assert subscriber.stdout.readline() == "subscribe\n"
        assert int(ask("client", "kill", "type", "pubsub")) == 1
        assert subscriber.wait(PATIENCE) != 0
