"""The README's commands for docker, as they stand there: run, in a network of the test's own, and believed."""

import re
import shlex
import socket
import threading
import time
from pathlib import Path

import pytest

from sokken import __version__
from sokken.lifecycle import FAREWELL_SECONDS
from sokken.settings.models import ServerSettings
from tests.support.docker import Container
from tests.support.services import run
from tests.support.targets import connect, eventually, receive_all, receive_exactly

README = Path(__file__).parents[2] / "README.md"
DOCKER_STOP_SECONDS = 10  # the engine's own, before it kills


def commands():
    """The words of each docker command in the README, and the lines that it shows below."""
    text = README.read_text().replace("\\\n", " ")
    shown = re.findall(r"^    machine-[ab]\$ (docker .*)\n((?:    (?!machine).*\n)*)", text, re.MULTILINE)
    return [(shlex.split(command), [line.strip() for line in output.splitlines()]) for command, output in shown]


@pytest.fixture
def follow(docker, image):
    """Run a command of the README; names, networks and the host's ports are the test's own."""
    network = docker.network()
    own = f"-{network}"

    def run_as_it_stands(words):
        words = [image if word == f"sokken:{__version__}" else word for word in words]
        if words[1] != "run":
            return run(*[word + own if word.startswith("sokken-") else word for word in words])
        changes = {
            "--name": lambda name: name + own,
            "--publish": lambda ports: "127.0.0.1::" + ports.rpartition(":")[2],
            "--network": lambda _: network,
        }
        for place, word in enumerate(words[:-1]):
            if word in changes:
                words[place + 1] = changes[word](words[place + 1])
        there = ["--network-alias", "machine-b"] if "--network" in words else ["--network", network]
        done = run("docker", "run", "--label", docker.label, *there, *words[2:])
        docker.containers.append(Container(done.stdout.strip(), words))
        return done

    run_as_it_stands.network = network
    return run_as_it_stands


def test_the_commands_make_a_tunnel_that_is_healthy_and_ends_in_order(docker, base, follow):
    docker.targets(follow.network, base, name="db", echo=5432)
    (server, _), (client, _), (health, shown) = commands()
    for words in (server, client):
        done = follow(words)
        assert done.returncode == 0, done.stderr
    near = docker.containers[-1]
    near.wait_for("server_check_passed")
    assert shown == ["healthy"]
    eventually(lambda: follow(health).stdout.splitlines() == shown, 60)
    with connect(near.published(5432)) as application:
        stopping = threading.Thread(target=follow, args=[["docker", "stop", "sokken-client"]])
        stopping.start()
        near.wait_for("draining", connections=1)
        kills_unless_told = time.monotonic() + DOCKER_STOP_SECONDS + 1
        while time.monotonic() < kills_unless_told:
            application.sendall(b"goes on")
            assert receive_exactly(application, 7) == b"goes on"
            time.sleep(0.1)
        application.shutdown(socket.SHUT_WR)
        assert receive_all(application) == b""
        stopping.join()
    assert near.wait() == 0


@pytest.mark.parametrize("place", [0, 1], ids=["server", "client"])
def test_the_time_to_stop_is_enough_to_drain(place):
    words = commands()[place][0]
    patience = int(words[words.index("--stop-timeout") + 1])
    assert patience > ServerSettings.model_fields["drain_timeout_seconds"].default + FAREWELL_SECONDS
