"""What `helm test` runs in the cluster, here against real programs: it passes where bytes pass, and else fails."""

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.support.charts import CHART, CLIENT, TARGETS, merged, render
from tests.support.programs import client, join, server
from tests.support.services import free_port, run
from tests.support.targets import connect, echo, eventually, receive_all, reset, target

SCRIPTS = CHART / "files" / "test"
ECHO_PORT = 17007


def round_trip(*checks, patience=30):
    """``patience``: what is silent for so long is a tunnel."""
    return run(sys.executable, SCRIPTS / "round_trip.py", *checks, env={"PATIENCE_SECONDS": str(patience)})


@contextmanager
def chart_echo():
    """The chart's own echo."""
    program = subprocess.Popen([sys.executable, SCRIPTS / "echo.py"])
    try:
        eventually(lambda: answers(("127.0.0.1", ECHO_PORT)))
        yield ("127.0.0.1", ECHO_PORT)
    finally:
        program.terminate()
        program.wait()


def answers(where):
    try:
        connect(where).close()
    except OSError:
        return False
    return True


def test_bytes_go_to_the_charts_echo_and_back_through_both_programs():
    with chart_echo() as where, server(where) as far, client(far.url(where)) as near:
        done = round_trip("echo", join(near.entry), "forward", join(near.entry), patience=3)
    assert done.returncode == 0, done.stdout
    assert "bytes back as they were" in done.stdout
    assert "leads to its target" in done.stdout


def test_a_server_is_ready():
    with target(echo) as where, server(where) as far:
        done = round_trip("ready", f"http://{join(far.api)}/readyz")
    assert (done.returncode, done.stdout.split()[-2:]) == (0, ["is", "ready"])


def test_a_program_that_is_not_ready_fails():
    with client(f"ws://127.0.0.1:{free_port()}/tunnel/a:1") as near:
        done = round_trip("ready", f"http://{join(near.api)}/readyz", patience=2)
    assert done.returncode == 1
    assert "answers 503" in done.stdout


def garble(sock):
    """Send back as much, but not the same."""
    while chunk := sock.recv(65536):
        sock.sendall(bytes(len(chunk)))


def close_at_once(sock):
    sock.close()


@pytest.mark.parametrize(
    ("kind", "handle", "said"),
    [("echo", garble, "or other ones"), ("echo", receive_all, "0 of 4194304 bytes"), ("echo", reset, "was reset")],
)
def test_what_comes_back_otherwise_fails(kind, handle, said):
    with target(handle) as where, server(where) as far, client(far.url(where)) as near:
        done = round_trip(kind, join(near.entry))
    assert done.returncode == 1
    assert said in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_target_that_refuses_fails():
    refusing = ("127.0.0.1", free_port())
    with server(refusing) as far, client(far.url(refusing)) as near:
        done = round_trip("forward", join(near.entry))
    assert done.returncode == 1
    assert "was reset: the client's log says why" in done.stdout


def test_a_target_that_does_not_like_to_wait_is_there():
    with target(close_at_once) as where, server(where) as far, client(far.url(where)) as near:
        done = round_trip("forward", join(near.entry))
    assert (done.returncode, "leads to its target" in done.stdout) == (0, True)


def test_nothing_that_listens_fails():
    done = round_trip("forward", f"127.0.0.1:{free_port()}")
    assert (done.returncode, "refused" in done.stdout) == (1, True)


def test_what_the_chart_asks_of_it():
    def asked(*layers):
        return render(*layers).one("Pod")["spec"]["containers"][0]["args"]

    both = merged(TARGETS, CLIENT, {"server": {"enabled": True}})
    ready = ["ready", "http://sokken-server:80/readyz"]
    assert asked(TARGETS) == ready
    assert asked(both) == [*ready, "forward", "sokken-client:5432"]
    assert asked(CLIENT) == ["forward", "sokken-client:5432"]
    echoing = asked(both, {"helmTest": {"echo": {"enabled": True}}})
    assert echoing == [*ready, "forward", "sokken-client:5432", "echo", "sokken-client:17007"]
    patience = {"name": "PATIENCE_SECONDS", "value": "33"}
    assert render(TARGETS).one("Pod")["spec"]["containers"][0]["env"] == [patience]
    secure = {"server": {"tls": {"existingSecret": "a"}}}
    assert asked(TARGETS, secure) == ["ready", "https://sokken-server:443/readyz"]


def test_its_script_is_the_one_of_the_chart():
    scripts = render(TARGETS).one("ConfigMap", "sokken-test")["data"]
    assert scripts == {"round_trip.py": (SCRIPTS / "round_trip.py").read_text()}


def test_a_release_without_it():
    objects = render(TARGETS, {"helmTest": {"enabled": False}})
    assert (objects.of("Pod"), objects.of("ConfigMap")) == ([], [])
    assert "round_trip" not in json.dumps(objects)
