"""PostgreSQL through a tunnel: psql copies in and out, listens, waits for long queries, and is ended in the middle."""

import hashlib
import os
import random
import signal
import subprocess
from contextlib import contextmanager

import pytest

from tests.support.pairs import pair
from tests.support.postgresql import SUPERUSER, postgresql
from tests.support.services import end, installed, run, succeed
from tests.support.targets import PATIENCE, eventually

pytestmark = pytest.mark.programs

ROWS = 300_000
SLEEP = "select pg_sleep(600)"
FLOOD = "copy (select repeat('x', 400) from generate_series(1, 10000000)) to stdout"
# What the cluster knows of a session, by its name.
RUNNING = "select count(*) from pg_stat_activity where application_name = :'name' and state = 'active'"
STALLED = RUNNING + " and wait_event = 'ClientWrite'"
TERMINATE = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = :'name'"


@pytest.fixture(scope="module")
def tunnels():
    with postgresql() as where, pair({"postgresql": where}) as both:
        eventually(lambda: run(*psql(where, "-c", "select 1")).returncode == 0)  # it listens before it answers
        yield both


def psql(where, *arguments):
    address = ("-h", where[0], "-p", where[1], "-U", SUPERUSER, "-d", "postgres")
    flags = ("--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1")
    return [installed("psql"), *flags, *address, *arguments]


def ask(tunnels, commands, **settings):
    """What the commands give, asked through the tunnel."""
    return succeed(*psql(tunnels.entries["postgresql"]), input=commands, **settings).strip()


def look(tunnels, question, name):
    """Ask the cluster about the session of that name, past the tunnel."""
    return succeed(*psql(tunnels.targets["postgresql"], f"--set=name={name}"), input=question).strip()


def is_running(tunnels, name):
    return look(tunnels, RUNNING, name) == "1"


def is_stalled(tunnels, name):
    return look(tunnels, STALLED, name) == "1"


@contextmanager
def session(tunnels, name, *arguments):
    """A psql that goes on while the test does."""
    command = [str(part) for part in psql(tunnels.entries["postgresql"], *arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, env=os.environ | {"PGAPPNAME": name}, text=True, **pipes)
    try:
        yield process
    finally:
        end(process, signal.SIGKILL)


def test_rows_are_copied_in_and_out(tunnels, tmp_path):
    given, taken = tmp_path / "given.csv", tmp_path / "taken.csv"
    with given.open("w") as file:
        file.writelines(f"{number},{random.getrandbits(256):064x}\n" for number in range(ROWS))
    commands = """
        create table copied (number integer primary key, words text);
        \\copy copied from 'given.csv' csv
        \\copy (select * from copied order by number) to 'taken.csv' csv
        select count(*), sum(number) from copied;
    """
    assert ask(tunnels, commands, cwd=tmp_path) == f"{ROWS}|{sum(range(ROWS))}"
    assert hashlib.sha256(taken.read_bytes()).digest() == hashlib.sha256(given.read_bytes()).digest()


def test_a_notification_reaches_who_listens(tunnels):
    with session(tunnels, "listener") as listener:
        listener.stdin.write("listen news;\n\\echo listening\n")
        listener.stdin.flush()
        assert listener.stdout.readline() == "listening\n"
        ask(tunnels, "notify news, 'it works'")
        # psql looks for notifications when it has done a command.
        shown, _ = listener.communicate("select pg_sleep(0.1);\n", PATIENCE)
        assert 'notification "news" with payload "it works"' in shown
        assert listener.returncode == 0


def test_a_reader_that_waits_gets_everything(tunnels):
    """The backend fills every buffer on the way and has to wait."""
    rows = "copy (select repeat('x', 400) from generate_series(1, 200000)) to stdout"
    with session(tunnels, "slow reader", "-c", rows) as reader:
        eventually(lambda: is_stalled(tunnels, "slow reader"))
        assert reader.communicate(timeout=PATIENCE)[0] == ("x" * 400 + "\n") * 200_000
        assert reader.returncode == 0


def test_ctrl_c_cancels_the_query(tunnels):
    """psql asks for that over a second connection, through the same tunnel."""
    with session(tunnels, "cancelled", "-c", SLEEP) as waiting:
        eventually(lambda: is_running(tunnels, "cancelled"))
        waiting.send_signal(signal.SIGINT)
        assert "canceling statement due to user request" in waiting.communicate(timeout=PATIENCE)[1]
        assert waiting.returncode == 1
    assert not is_running(tunnels, "cancelled")


def test_a_killed_psql_ends_its_query(tunnels):
    """The kernel ends its connection with a FIN, which is passed on; the cluster looks for that during a query."""
    with session(tunnels, "killed", "-c", SLEEP) as waiting:
        eventually(lambda: is_running(tunnels, "killed"))
        waiting.kill()
        eventually(lambda: not is_running(tunnels, "killed"))
    eventually(lambda: has_ended(tunnels))


def test_a_psql_that_is_killed_with_an_answer_unread_is_a_reset(tunnels):
    """The kernel ends its connection with a RST, because bytes were not read."""
    with session(tunnels, "unread", "-c", FLOOD) as reader:
        eventually(lambda: is_stalled(tunnels, "unread"))
        reader.kill()
        eventually(lambda: not is_running(tunnels, "unread"))
    closed = tunnels.client.program.wait_for("connection_closed", outcome="local_reset")
    tunnels.server.program.wait_for("connection_closed", connection_id=closed["connection_id"], outcome="peer_reset")
    eventually(lambda: has_ended(tunnels))


def has_ended(tunnels):
    """Whether every tunnel that was opened has ended, at both ends."""
    programs = (tunnels.client.program, tunnels.server.program)
    return all(len(p.events("connection_opened")) == len(p.events("connection_closed")) for p in programs)


def test_the_last_words_of_a_session_that_is_terminated_arrive(tunnels):
    with session(tunnels, "terminated", "-c", SLEEP) as waiting:
        eventually(lambda: is_running(tunnels, "terminated"))
        assert look(tunnels, TERMINATE, "terminated") == "t"
        assert "terminating connection due to administrator command" in waiting.communicate(timeout=PATIENCE)[1]
        assert waiting.returncode == 2  # psql: the connection went bad
