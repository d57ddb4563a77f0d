"""A server and a client in containers of their own, and a target in a third: bytes, ends, health, and the way out."""

import hashlib
import os
import socket
import threading

import pytest

from tests.support.targets import PATIENCE, connect, eventually, receive_all, receive_exactly

SIZE = 16 * 1024 * 1024 + 1
FORWARDS = ["echo=:7000=ws://server:8000/tunnel/target:7000", "count=:9000=ws://server:8000/tunnel/target:9000"]
# So that nobody waits for a check's turn.
EAGER = {"SOKKEN_CHECK_INTERVAL_SECONDS": "1"}
ADMIN = {"SOKKEN_ADMIN_ADDR": "127.0.0.1:19000"}
OFTEN = ["--health-interval", "1s", "--health-start-period", "1s", "--health-timeout", "10s"]


@pytest.fixture
def network(docker):
    return docker.network()


@pytest.fixture
def start_server(docker, network):
    """Start a server; everything is said by its environment."""

    def start():
        env = {"SOKKEN_API_ADDR": ":8000", "SOKKEN_TARGETS": "target:7000 target:9000"}
        return docker.start("server", env=env, options=["--network", network, "--network-alias", "server", *OFTEN])

    return start


@pytest.fixture
def start_client(docker, network):
    """Start a client; its forwards are published on the host."""

    def start(*options):
        env = {"SOKKEN_API_ADDR": ":1234", "SOKKEN_FORWARDS": " ".join(FORWARDS)} | EAGER | ADMIN
        ports = [word for port in (7000, 9000) for word in ("--publish", f"127.0.0.1::{port}")]
        return docker.start("client", env=env, options=["--network", network, *ports, *OFTEN, *options])

    return start


@pytest.fixture
def pair(docker, network, base, start_server, start_client):
    docker.targets(network, base)
    server, client = start_server(), start_client()
    client.wait_for("server_check_passed")
    return server, client


def digest(content):
    return hashlib.sha256(content).hexdigest()


def test_bytes_cross_each_other_unharmed(pair):
    _, client = pair
    payload = os.urandom(SIZE)
    with connect(client.published(7000)) as application:
        writer = threading.Thread(target=lambda: (application.sendall(payload), application.shutdown(socket.SHUT_WR)))
        writer.start()
        assert digest(receive_all(application)) == digest(payload)
        writer.join(PATIENCE)
    for end in pair:
        line = end.wait_for("connection_closed")
        assert (line["bytes_up"], line["bytes_down"], line["outcome"]) == (SIZE, SIZE, "completed")


def test_the_end_of_an_upload_brings_the_answer(pair):
    with connect(pair[1].published(9000)) as application:
        application.sendall(bytes(SIZE))
        application.shutdown(socket.SHUT_WR)
        assert receive_all(application) == b"%d" % SIZE


def say(application, words):
    application.sendall(words)
    assert receive_exactly(application, len(words)) == words


@pytest.mark.parametrize("leaving", [0, 1], ids=["server", "client"])
def test_sigterm_waits_for_a_live_connection_and_ends_with_0(pair, leaving):
    end = pair[leaving]
    with connect(pair[1].published(7000)) as application:
        say(application, b"before")
        end.signal("TERM")
        end.wait_for("draining", connections=1)
        say(application, b"meanwhile")
        assert end.inspect(".State.Running")
        application.shutdown(socket.SHUT_WR)
        assert receive_all(application) == b""
    assert end.wait() == 0
    end.wait_for("connection_closed", outcome="completed", close_code=1000)
    assert not end.lines("drain_deadline")


def is_health(container, status):
    return lambda: container.inspect(".State.Health.Status") == status


def test_a_program_that_works_is_healthy_until_it_drains(pair):
    for end in pair:
        eventually(is_health(end, "healthy"), 60)
    with connect(pair[1].published(7000)) as application:
        say(application, b"hold on")
        for end in pair:
            end.signal("TERM")
        for end in pair:
            eventually(is_health(end, "unhealthy"), 60)
        say(application, b"still here")


def test_a_client_that_no_server_has_let_in_is_unhealthy_until_one_does(start_server, start_client):
    client, patient = start_client(), start_client("--health-cmd", "sokken probe live")
    eventually(is_health(client, "unhealthy"), 60)
    eventually(is_health(patient, "healthy"), 60)
    assert client.inspect(".State.Running")
    start_server()
    eventually(is_health(client, "healthy"), 60)


def test_it_can_be_looked_into(pair):
    _, client = pair
    assert client.execute("sokken", "probe").returncode == 0
    with connect(client.published(7000)) as application:
        say(application, b"here I am")
        shown = client.execute("sokken", "top", "http://127.0.0.1:19000")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "target:7000" in shown.stdout
