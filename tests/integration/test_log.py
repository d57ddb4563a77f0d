"""The log of a session: two lines at each end tell its whole story; and the file behind it can be changed."""

import json
import signal
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import pytest

from sokken import __version__
from sokken.protocol.identity import is_connection_id
from tests.support.fake_server import fake_server
from tests.support.programs import Program, address, client, join, server
from tests.support.targets import connect, eventually, receive_all, receive_exactly, reset, target
from tests.support.wire import accept_tunnel, open_tunnel

CLIENT_ID = "laptop-7"
TUNNEL = "office/ssh"


def sshd(sock):
    """A banner, an answer to each line, and the end when it is asked for: who ends first is the target."""
    sock.sendall(b"SSH-2.0-fake\r\n")
    while (line := receive_exactly(sock, 10)) != b"exit      ":
        sock.sendall(b"did: " + line)


def at(line):
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def test_two_lines_at_each_end_tell_who_what_when_how_long_how_much_and_how_it_ended():
    with ExitStack() as stack:
        to = stack.enter_context(target(sshd))
        far = stack.enter_context(server(to))
        claims = {"SOKKEN_CLIENT_ID": CLIENT_ID, "SOKKEN_TUNNEL_NAME": TUNNEL}
        near = stack.enter_context(client(far.url(to), env=claims))
        began = time.time()
        with connect(near.entry) as application:
            banner = receive_exactly(application, 14)
            application.sendall(b"ls        ")
            answer = receive_exactly(application, 15)
            application.sendall(b"exit      ")
            assert receive_all(application) == b""
            source = join(application.getsockname())
        opened = [end.program.wait_for("connection_opened") for end in (near, far)]
        closed = [end.program.wait_for("connection_closed") for end in (near, far)]
        ended = time.time()

    (connection_id,) = {line["connection_id"] for line in opened + closed}
    assert is_connection_id(connection_id)
    for line in opened + closed:
        assert (line["level"], line["version"]) == ("info", __version__)
        assert (line["client_id"], line["target"]) == (CLIENT_ID, join(to))
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == UTC.utcoffset(None)
        assert began - 0.001 <= at(line) <= ended
    for line in opened[0], closed[0]:
        assert (line["role"], line["peer"], line["server"]) == ("client", source, far.url(to))
    for line in opened[1], closed[1]:
        assert (line["role"], line["tunnel"], line["client_version"]) == ("server", TUNNEL, __version__)
        assert line["peer"].startswith("127.0.0.1:")
    for start, end in zip(opened, closed, strict=True):
        assert (end["bytes_up"], end["bytes_down"]) == (20, len(banner) + len(answer))
        assert (end["outcome"], end["close_code"]) == ("completed", 1000)
        assert end["duration_s"] == pytest.approx(at(end) - at(start), abs=0.05)
    for end in (near, far):
        lines = [line for line in end.program.lines if line.get("connection_id")]
        assert [line["event"] for line in lines] == ["connection_opened", "connection_closed"]


@contextmanager
def logging_to(path, role):
    """A program that logs to a file, and how to make it write a line there."""
    with ExitStack() as stack:
        if role == "server":
            to = stack.enter_context(target(reset))
            arguments = ["server", "-log-file", str(path), "127.0.0.1:0", join(to)]
        else:
            fake = stack.enter_context(fake_server(lambda request: accept_tunnel(request).reset()))
            arguments = ["client", "-log-file", str(path), "127.0.0.1:0", "127.0.0.1:0", fake.url("/tunnel/target:1")]
        program = Program(*arguments)
        stack.callback(program.kill)
        where = eventually(lambda: events(path, {"server_listening", "forward_listening"}))[0]["listen"]

        def make_a_line():
            if role == "server":
                open_tunnel(address(where), f"/tunnel/{join(to)}")[1].sock.close()
            else:
                connect(address(where)).close()

        yield program, make_a_line
        assert program.stop() == 0
        assert (program.lines, program.noise) == ([], [])


def events(path, names):
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["event"] in names]


@pytest.mark.parametrize("role", ["server", "client"])
def test_after_sighup_it_writes_to_a_new_file(tmp_path, role):
    path, moved = tmp_path / "sokken.log", tmp_path / "moved.log"
    with logging_to(path, role) as (program, make_a_line):
        make_a_line()
        eventually(lambda: len(events(path, {"connection_closed"})) == 1)
        path.rename(moved)
        before = moved.read_bytes()
        program.signal(signal.SIGHUP)
        eventually(path.exists)  # by the signal alone: nothing is logged
        assert path.read_bytes() == b""
        make_a_line()
        eventually(lambda: len(events(path, {"connection_closed"})) == 1)
        assert moved.read_bytes() == before
    assert events(path, {"drained"})
