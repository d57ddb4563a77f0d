"""`sokken probe` beside the real programs, with the environment that they run with."""

import signal
import socket
import subprocess
import sys

import pytest

from tests.support.addresses import closed_port
from tests.support.certificates import Authority
from tests.support.programs import client, join, running, server
from tests.support.services import free_port
from tests.support.targets import echo, eventually, target


def probe(env, *words):
    """Its exit code, and what it said on standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "sokken", "probe", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env=env,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("host", ["", "127.0.0.1", "[::1]", "[::]", "0.0.0.0", "localhost"])
def test_a_server_wherever_it_listens(host):
    env = {"SOKKEN_API_ADDR": f"{host}:{free_port()}", "SOKKEN_TARGETS": "127.0.0.1:9"}
    with running("server", env=env) as program:
        program.wait_for("server_listening")
        assert probe(env, "live") == (0, "")
        assert probe(env) == (0, "")
        assert not program.events("bad_request")


def test_a_client_is_ready_when_its_server_is():
    with closed_port() as where:
        listen = f"127.0.0.1:{free_port()}"
        env = {"SOKKEN_API_ADDR": listen, "SOKKEN_FORWARDS": f"127.0.0.1:0=ws://{join(where)}/tunnel/a:1"}
        with running("client", env=env) as program:
            program.wait_for("server_check_failed")
            assert probe(env, "live") == (0, "")
            code, said = probe(env, "ready")
            assert code == 1
            assert said.startswith(f"sokken probe: {listen}: /readyz answers 503: server check: ")


def test_a_draining_server_is_alive_and_not_ready():
    env = {
        "SOKKEN_API_ADDR": f":{free_port()}",
        "SOKKEN_TARGETS": "127.0.0.1:9",
        "SOKKEN_ENDPOINT_DELAY_SECONDS": "60",
    }
    with running("server", env=env) as program:
        program.wait_for("server_listening")
        assert probe(env) == (0, "")
        program.signal(signal.SIGTERM)
        program.wait_for("leaving")
        assert probe(env, "live") == (0, "")
        assert probe(env) == (1, f"sokken probe: {env['SOKKEN_API_ADDR']}: /readyz answers 503: draining\n")
        program.signal(signal.SIGTERM)
        assert program.wait() == 1
    assert probe(env, "live") == (1, f"sokken probe: {env['SOKKEN_API_ADDR']}: nothing listens there\n")


@pytest.mark.parametrize("proxies", [None, "127.0.0.1", "192.0.2.1"])
@pytest.mark.parametrize("asks_for_certificates", [False, True])
def test_a_server_with_tls_and_behind_a_proxy(authority, proxies, asks_for_certificates):
    """Its certificate is for another name; clients are to show one; only a proxy elsewhere is trusted: no matter."""
    env = {
        "SOKKEN_API_ADDR": f":{free_port()}",
        "SOKKEN_TARGETS": "127.0.0.1:9",
        "SOKKEN_TLS_CERT_FILE": str(authority.issue("DNS:tunnel.example")),
    }
    if asks_for_certificates:
        env["SOKKEN_CLIENT_CA_FILE"] = str(authority.file)
    if proxies:
        env |= {"SOKKEN_PROXY_PROTOCOL": "required", "SOKKEN_TRUSTED_PROXIES": proxies}
    with running("server", env=env) as program:
        program.wait_for("server_listening")
        assert probe(env, "live") == (0, "")
        assert probe(env) == (0, "")
        assert not program.events("proxy_header_rejected")
        assert not program.events("tls_handshake_failed")


def test_a_client_in_the_environment_of_a_server(authority):
    """One environment may serve both: the client speaks neither TLS nor the PROXY protocol at API_ADDR."""
    with target(echo) as where, server(where) as far:
        env = {
            "SOKKEN_API_ADDR": f"127.0.0.1:{free_port()}",
            "SOKKEN_FORWARDS": f"127.0.0.1:0={far.url(where)}",
            "SOKKEN_TLS_CERT_FILE": str(authority.issue("DNS:tunnel.example")),
            "SOKKEN_PROXY_PROTOCOL": "required",
            "SOKKEN_TRUSTED_PROXIES": "127.0.0.1",
        }
        with running("client", env=env) as program:
            program.wait_for("server_check_passed")
            assert probe(env) == (0, "")


def test_a_stopped_program_does_not_answer():
    with target(echo) as where, server(where) as far, client(far.url(where)) as near:
        env = {"SOKKEN_API_ADDR": join(near.api)}
        eventually(lambda: probe(env) == (0, ""))
        near.program.signal(signal.SIGSTOP)
        try:
            assert probe(env, "live", "-timeout", "0.5") == (
                1,
                f"sokken probe: {join(near.api)} did not answer within 0.5 s\n",
            )
        finally:
            near.program.signal(signal.SIGCONT)
        assert probe(env, "live") == (0, "")


def test_this_host_asks_as_itself_and_as_nobody_else():
    """Where only a proxy elsewhere is trusted: what comes from another address, or names a client, is closed."""
    env = {
        "SOKKEN_API_ADDR": f":{free_port()}",
        "SOKKEN_TARGETS": "127.0.0.1:9",
        "SOKKEN_PROXY_PROTOCOL": "required",
        "SOKKEN_TRUSTED_PROXIES": "192.0.2.1",
    }
    port = int(env["SOKKEN_API_ADDR"][1:])
    request = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with running("server", env=env) as program:
        program.wait_for("server_listening")
        for source, header in [
            ("127.0.0.2", b"PROXY UNKNOWN\r\n"),
            ("127.0.0.1", b"PROXY TCP4 1.2.3.4 5.6.7.8 9 9\r\n"),
        ]:
            with socket.create_connection(("127.0.0.1", port), 20, (source, 0)) as sock:
                sock.sendall(header + request)
                with pytest.raises(ConnectionResetError):
                    sock.recv(1)
        program.wait_for("proxy_header_rejected", count=2, detail="it comes from no proxy in SOKKEN_TRUSTED_PROXIES")
        with socket.create_connection(("127.0.0.1", port), 20) as sock:
            sock.sendall(b"PROXY UNKNOWN\r\n" + request)
            assert sock.recv(12) == b"HTTP/1.1 200"
