"""How the programs start, or say in one line why they cannot."""

import socket

import pytest

from tests.support.programs import Program, client, running, server
from tests.support.targets import connect, echo, receive_exactly, target

URL = "ws://127.0.0.1:1/tunnel/a:1"


def refusal(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """The exit code of a program that does not start, and the one line that is not of the log."""
    program = Program(*arguments, env=env)
    try:
        code = program.wait()
        assert len(program.noise) == 1, program.noise
        return code, program.noise[0].rstrip("\n")
    finally:
        program.kill()


@pytest.fixture
def taken():
    """An address where another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield "{}:{}".format(*listener.getsockname())


IN_USE = "another program listens there; stop it or choose another port (0 for a free one)"


def test_a_port_in_use_is_one_line_that_says_which(taken):
    code, line = refusal("server", taken, "127.0.0.1:22")
    assert (code, line) == (3, f"sokken: API_ADDR: cannot listen on {taken}: {IN_USE}")
    code, line = refusal("client", "127.0.0.1:0", taken, URL)
    assert (code, line) == (3, f"sokken: forward {taken}: cannot listen on {taken}: {IN_USE}")
    code, line = refusal("client", taken, "127.0.0.1:0", URL)
    assert (code, line) == (3, f"sokken: API_ADDR: cannot listen on {taken}: {IN_USE}")
    code, line = refusal("client", env={"SOKKEN_API_ADDR": "127.0.0.1:0", "SOKKEN_FORWARDS": f"db={taken}={URL}"})
    assert (code, line) == (3, f"sokken: forward db: cannot listen on {taken}: {IN_USE}")


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("nowhere.invalid:8000", "nowhere.invalid does not resolve"),
        ("192.0.2.1:8000", "this host has no such address"),
    ],
)
def test_an_address_that_is_none_of_this_hosts(listen, words):
    code, line = refusal("server", listen, "127.0.0.1:22")
    assert code == 3
    assert line.startswith(f"sokken: API_ADDR: cannot listen on {listen}: {words}")


def test_files_that_cannot_be_used(tmp_path):
    (tmp_path / "file").touch()
    log = str(tmp_path / "file" / "log")
    for role, *addresses in (["server", "127.0.0.1:0", "a:1"], ["client", "127.0.0.1:0", "127.0.0.1:0", URL]):
        code, line = refusal(role, "-log-file", log, *addresses)
        assert code == 3
        assert log in line


def test_what_is_malformed_is_said_before_anything_is_begun(taken):
    code, line = refusal("server", taken, "127.0.0.1")
    assert code == 2
    assert "REMOTE_ADDR" in line
    code, line = refusal("client", taken, "127.0.0.1:0", "http://machine-b:8000/tunnel/a:1")
    assert code == 2
    assert "ws://" in line


def test_names_of_targets_and_servers_are_not_looked_up_at_start():
    with server(("nowhere.invalid", 22)), client("ws://nowhere.invalid/tunnel/a:1") as near:
        near.program.wait_for("server_check_failed", outcome="server_dns")


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_setting_that_nothing_reads_is_a_warning(role):
    addresses = {"server": ["a:1"], "client": ["127.0.0.1:0", URL]}[role]
    env = {
        "SOKKEN_MAX_CONECTIONS": "5",
        "SOKKEN_SERVICE_HOST": "10.0.0.1",
        "SOKKEN_PORT_8000_TCP": "tcp://10.0.0.1:8000",
    }
    with running(role, "127.0.0.1:0", *addresses, env=env) as program:
        line = program.wait_for("unknown_setting")
        assert (line["name"], line["suggestion"]) == ("SOKKEN_MAX_CONECTIONS", "SOKKEN_MAX_CONNECTIONS")
        assert line["level"] == "warning"
        program.wait_for("server_listening" if role == "server" else "health_listening")
        assert len(program.events("unknown_setting")) == 1


def test_everything_by_environment():
    with target(echo) as (host, port):
        far_env = {"SOKKEN_API_ADDR": "127.0.0.1:0", "SOKKEN_TARGETS": f"a.test:1, {host}:{port}"}
        with running("server", env=far_env) as far:
            listening = far.wait_for("server_listening")
            assert listening["targets"] == ["a.test:1", f"{host}:{port}"]
            url = f"ws://{listening['listen']}/tunnel/{host}:{port}"
            near_env = {"SOKKEN_API_ADDR": "127.0.0.1:0", "SOKKEN_FORWARDS": f"echo=127.0.0.1:0={url}"}
            with running("client", env=near_env) as near:
                entry = near.wait_for("forward_listening", forward="echo")["listen"]
                with connect((entry.rpartition(":")[0], int(entry.rpartition(":")[2]))) as app:
                    app.sendall(b"hello")
                    assert receive_exactly(app, 5) == b"hello"
                assert near.wait_for("connection_opened")["forward"] == "echo"
