"""What haproxy does to tunnels: it forwards addresses, makes connections wait, answers 503, restarts, dies."""

import select
import signal
from contextlib import ExitStack

import pytest

from tests.support.haproxy import MAX_CONNECTIONS, haproxy
from tests.support.programs import client, join, server
from tests.support.services import free_port
from tests.support.targets import connect, echo, eventually, receive_all, receive_exactly, target, was_reset

pytestmark = pytest.mark.programs

DEBUG = {"SOKKEN_LOG_DEBUG": "true"}


def ask(app):
    """One byte there and back: the tunnel is up."""
    app.sendall(b"?")
    assert receive_exactly(app, 1) == b"?"


def test_the_servers_log_tells_for_whom_haproxy_forwarded(tmp_path):
    with (
        target(echo) as where,
        server(where) as far,
        haproxy(far.api, tmp_path) as between,
        client(far.url(where, between.plain)) as near,
        connect(near.entry) as app,
    ):
        ask(app)
        opened = far.program.wait_for("connection_opened")
        assert opened["forwarded_for"] == "127.0.0.1"
        assert opened["connection_id"] == near.program.wait_for("connection_opened")["connection_id"]
        assert opened["peer"] not in {near.program.wait_for("connection_opened")["peer"], "127.0.0.1"}


@pytest.mark.parametrize("attempt_seconds", ["12", "1"], ids=["waiting", "trying again"])
def test_more_connections_than_haproxy_takes_wait_and_then_succeed(attempt_seconds, tmp_path):
    env = DEBUG | {"SOKKEN_ATTEMPT_TIMEOUT_SECONDS": attempt_seconds}
    with ExitStack() as stack:
        where = stack.enter_context(target(echo))
        far = stack.enter_context(server(where))
        between = stack.enter_context(haproxy(far.api, tmp_path))
        near = stack.enter_context(client(far.url(where, between.plain), env=env))
        near.program.wait_for("server_check_passed")
        first = [stack.enter_context(connect(near.entry)) for _ in range(MAX_CONNECTIONS)]
        for app in first:
            ask(app)
        late = [stack.enter_context(connect(near.entry)) for _ in range(10)]
        for app in late:
            app.sendall(b"!")
        if attempt_seconds == "1":
            near.program.wait_for("connect_retry", len(late))
        assert select.select(late, [], [], 0.5)[0] == []
        assert len(far.program.events("connection_opened")) == MAX_CONNECTIONS
        for app in first[: len(late)]:
            app.close()
        for app in late:
            assert receive_exactly(app, 1) == b"!"
        for app in first[len(late) :]:
            ask(app)


def test_a_killed_haproxy_is_a_reset_at_both_ends_and_is_waited_for(tmp_path):
    seen = []
    with ExitStack() as stack:
        where = stack.enter_context(target(lambda sock: seen.append(_echo_until_reset(sock))))
        far = stack.enter_context(server(where))
        between = stack.enter_context(haproxy(far.api, tmp_path))
        near = stack.enter_context(client(far.url(where, between.plain), env=DEBUG))
        with connect(near.entry) as app:
            ask(app)
            between.process.kill()
            assert was_reset(app)
        eventually(lambda: seen == [True])
        near.program.wait_for("connection_closed", outcome="peer_lost")
        far.program.wait_for("connection_closed", outcome="peer_lost")
        between.process.wait()

        with connect(near.entry) as app:
            near.program.wait_for("connect_retry")
            with haproxy(far.api, tmp_path, entries=between.entries):
                ask(app)


def test_a_haproxy_that_restarts_lets_live_tunnels_finish(tmp_path):
    with ExitStack() as stack:
        where = stack.enter_context(target(echo))
        far = stack.enter_context(server(where))
        between = stack.enter_context(haproxy(far.api, tmp_path))
        near = stack.enter_context(client(far.url(where, between.plain)))
        old = stack.enter_context(connect(near.entry))
        ask(old)
        with haproxy(far.api, tmp_path, replacing=between):
            eventually(lambda: "Proxy tunnels stopped" in between.log.read_text())
            with connect(near.entry) as new:
                ask(new)
                ask(old)
            old.close()
            assert between.process.wait(20) == 0  # it only waited for that tunnel


def test_a_killed_server_behind_haproxy_is_a_reset(tmp_path):
    with (
        target(echo) as where,
        server(where) as far,
        haproxy(far.api, tmp_path) as between,
        client(far.url(where, between.plain)) as near,
        connect(near.entry) as app,
    ):
        ask(app)
        far.program.signal(signal.SIGKILL)
        assert was_reset(app)
        near.program.wait_for("connection_closed", outcome="peer_lost")


def test_a_killed_client_before_haproxy_is_a_reset(tmp_path):
    seen = []
    with (
        target(lambda sock: seen.append(_echo_until_reset(sock))) as where,
        server(where) as far,
        haproxy(far.api, tmp_path) as between,
        client(far.url(where, between.plain)) as near,
        connect(near.entry) as app,
    ):
        ask(app)
        near.program.signal(signal.SIGKILL)
        assert was_reset(app)
        eventually(lambda: seen == [True])
        far.program.wait_for("connection_closed", outcome="peer_lost")


def test_haproxys_503_while_the_server_is_down_is_tried_again(tmp_path):
    listen = ("127.0.0.1", free_port())
    with target(echo) as where, haproxy(listen, tmp_path) as between:
        url = f"ws://{join(between.plain)}/tunnel/{join(where)}"
        with client(url, env=DEBUG) as near, connect(near.entry) as app:
            app.sendall(b"early")
            retry = near.program.wait_for("connect_retry")
            assert "503" in retry["detail"]
            with server(where, listen=join(listen)):
                assert receive_exactly(app, 5) == b"early"
                app.close()
                near.program.wait_for("connection_closed", outcome="completed")


def test_haproxys_503_for_longer_than_the_budget_is_a_reset(tmp_path):
    listen = ("127.0.0.1", free_port())
    with target(echo) as where, haproxy(listen, tmp_path) as between:
        url = f"ws://{join(between.plain)}/tunnel/{join(where)}"
        env = {"SOKKEN_CONNECT_TIMEOUT_SECONDS": "4"}
        with client(url, env=env) as near, connect(near.entry) as app:
            assert was_reset(app)
            failed = near.program.wait_for("connection_failed")
            assert failed["outcome"] == "server_unreachable"
            assert "503" in failed["detail"]


def _echo_until_reset(sock):
    try:
        echo(sock)
    except ConnectionResetError:
        return True
    return receive_all(sock)
