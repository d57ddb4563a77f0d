"""The admin address of the real programs: what is served where, what it tells, and what it survives."""

import asyncio
import json
import re
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.black_holes import black_hole
from tests.support.programs import Program, address, client, join, running, server
from tests.support.raw_http import exchange, parse_answer, request
from tests.support.targets import connect, echo, eventually, receive_all, receive_exactly, target, was_reset

TOKEN = "correct-horse-battery-staple"
BEARER = ("Authorization", f"Bearer {TOKEN}")
ROUTES = ("/", "/page.js", "/statusz", "/connections", "/events")


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "admin-token"
    path.write_text(TOKEN)
    return path


def ask(where, path, *fields, method="GET"):
    return exchange(where, request(path, method, "HTTP/1.1", ("Host", join(where)), *fields))


def read(where, path, *fields):
    answer = ask(where, path, *fields)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def rows_of(where):
    """The list, which may be a tick old."""
    return read(where, "/connections")["connections"]


def admin_of(end) -> tuple[str, int]:
    return address(end.program.wait_for("admin_listening")["listen"])


@contextmanager
def open_pair(where, env=None, client_env=None):
    """A server with an admin address and a client; each with where its admin routes are."""
    with (
        server(where, env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0", **(env or {})}) as far,
        client(far.url(where), env=client_env) as near,
    ):
        yield far, near, admin_of(far)


def test_who_is_connected_to_what_is_told_at_both_ends(loop):
    with target(echo) as where, open_pair(where, loop, loop) as (_, near, admin):
        with connect(near.entry) as app:
            app.sendall(b"x" * 3000)
            receive_exactly(app, 3000)
            [there] = read(admin, "/connections")["connections"]
            [here] = read(near.api, "/connections")["connections"]
            assert there["id"] == here["id"]
            assert here["peer"] == join(app.getsockname())
            assert (here["forward"], here["server"][:5]) == ("127.0.0.1:0", "ws://")
            assert there["target"] == here["target"] == join(where)
            for row in (there, here):
                assert (row["state"], row["half_closed"]) == ("open", None)
                assert (row["bytes_up"], row["bytes_down"]) == (3000, 3000)
                assert 0 <= row["age_s"] < 20
            app.shutdown(socket.SHUT_WR)
            receive_all(app)
        for place, role in ((admin, "server"), (near.api, "client")):
            eventually(lambda place=place: read(place, "/statusz")["connections"]["now"] == 0)
            status = read(place, "/statusz")
            assert (status["role"], status["state"], status["ready"]) == (role, "serving", True)
            assert status["outcomes"] == {"completed": 1}
            assert (status["connections"]["opened"], status["connections"]["bytes_up"]) == (1, 3000)


def test_half_closed_is_seen_from_both_ends():
    over = threading.Event()

    def linger(sock):
        receive_all(sock)
        over.wait(20)

    with target(linger) as where, open_pair(where) as (_, near, admin), connect(near.entry) as app:
        app.sendall(b"last words")
        app.shutdown(socket.SHUT_WR)
        for place in (admin, near.api):
            eventually(lambda place=place: [row["half_closed"] for row in rows_of(place)] == ["up"])
            assert read(place, "/statusz")["connections"]["half_closed"] == 1
        over.set()


def test_rates_are_there_at_the_second_look():
    with target(echo) as where, open_pair(where) as (_, near, admin), connect(near.entry) as app:
        app.sendall(b"x")
        receive_exactly(app, 1)
        began = time.monotonic()
        assert read(admin, "/connections")["connections"][0]["rate_up"] is None
        app.sendall(b"x" * 500_000)
        receive_exactly(app, 500_000)
        eventually(lambda: read(admin, "/connections")["connections"][0]["rate_up"])
        [row] = read(admin, "/connections")["connections"]
        elapsed = time.monotonic() - began
        assert row["rate_up"] * elapsed >= 500_000
        assert row["rate_up"] <= 500_000 / 0.9


def test_a_servers_public_address_has_none_of_it_ever(token):
    env = {"SOKKEN_ADMIN_TOKEN_FILE": str(token)}
    with target(echo) as where, server(where, env=env) as far:
        assert [ask(far.api, path, BEARER).status for path in ROUTES] == [404] * 5
        assert not far.program.events("admin_listening")
    with target(echo) as where, server(where, env={**env, "SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}) as far:
        assert [ask(far.api, path, BEARER).status for path in (*ROUTES, "/metrics")] == [404] * 6
        admin = admin_of(far)
        assert [ask(admin, path, BEARER).status for path in ROUTES[:4]] == [200] * 4
        assert ask(admin, "/tunnel/" + join(where), BEARER).status == 404


def test_a_clients_address_has_it_on_loopback_or_with_a_token(token):
    url = "ws://127.0.0.1:1/tunnel/a:1"
    with client(url) as near:
        assert [ask(near.api, path).status for path in ROUTES[:4]] == [200] * 4
    free = ["client", ":0", "127.0.0.1:0", url]
    with open_client(free, {}) as api:
        assert [ask(api, path).status for path in (*ROUTES, "/metrics")] == [404] * 6
        assert ask(api, "/livez").status == 200
    with open_client(free, {"SOKKEN_ADMIN_TOKEN_FILE": str(token)}) as api:
        assert [ask(api, path).status for path in ROUTES] == [200, 200, 401, 401, 401]
        assert ask(api, "/statusz", BEARER).status == 200


@contextmanager
def open_client(arguments, env):
    with running(*arguments, env=env) as program:
        yield "127.0.0.1", address(program.wait_for("health_listening")["listen"])[1]


def test_metrics_are_there_where_somebody_has_asked_to_look(token):
    with target(echo) as where, open_pair(where) as (_, near, admin), connect(near.entry) as app:
        app.sendall(b"?")
        receive_exactly(app, 1)
        answer = ask(admin, "/metrics")
        assert answer.status == 200
        assert answer.fields["content-type"].startswith("text/plain; version=")
        assert re.search(rb'^sokken_connection_active\{[^}]*role="server"[^}]*\} 1(\.0)?$', answer.body, re.MULTILINE)
        nothing = ask(near.api, "/metrics")  # a client that nobody has set up for it
        assert nothing.status == 404
        assert "SOKKEN_ADMIN_ADDR" in nothing.problem["detail"]
    with client("ws://127.0.0.1:1/tunnel/a:1", env={"SOKKEN_ADMIN_TOKEN_FILE": str(token)}) as near:
        assert ask(near.api, "/metrics").status == 401
        assert b"sokken_" in ask(near.api, "/metrics", BEARER).body


def test_it_may_be_asked_for_under_the_names_that_it_was_given():
    env = {"SOKKEN_ADMIN_ADDR": "127.0.0.1:0", "SOKKEN_ADMIN_HOSTS": "sokken-admin.infra.svc, status.example"}
    with server(("127.0.0.1", 1), env=env) as far:
        names = ("sokken-admin.infra.svc:19000", "Status.Example", "evil.example")
        heads = [request("/statusz", "GET", "HTTP/1.1", ("Host", name)) for name in names]
        assert [exchange(admin_of(far), head).status for head in heads] == [200, 200, 421]


def test_probes_are_on_the_admin_address_too_whatever_the_public_one_wants():
    env = {"SOKKEN_PROXY_PROTOCOL": "required", "SOKKEN_TRUSTED_PROXIES": "127.0.0.1/32"}
    with server(("127.0.0.1", 1), env={**env, "SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}) as far:
        admin = admin_of(far)
        for path in ("/livez", "/readyz", "/health"):
            answer = exchange(admin, request(path, "GET", "HTTP/1.1", ("Host", "a-pod.example")))
            assert answer.status == 200


def test_a_connection_is_aborted_and_both_ends_see_a_reset(loop, token):
    env = {**loop, "SOKKEN_ADMIN_TOKEN_FILE": str(token)}
    with target(echo) as where, open_pair(where, env, loop) as (far, near, admin):
        with connect(near.entry) as app, connect(near.entry) as other:
            for sock in (app, other):
                sock.sendall(b"?")
                receive_exactly(sock, 1)
            rows = read(near.api, "/connections")["connections"]
            doomed = next(row["id"] for row in rows if row["peer"] == join(app.getsockname()))
            path = f"/connections/{doomed}/abort"
            assert ask(admin, path, method="POST").status == 401
            assert ask(near.api, path, method="POST").status == 403
            assert json.loads(ask(admin, path, BEARER, method="POST").body) == {"aborted": 1}
            assert was_reset(app)
            other.sendall(b"!")
            assert receive_exactly(other, 1) == b"!"
            eventually(lambda: ask(admin, path, BEARER, method="POST").status == 404)
        for program in (far.program, near.program):
            assert program.wait_for("connection_closed", connection_id=doomed)["outcome"] == "killed"
        assert far.program.wait_for("abort_asked", connection_id=doomed)["asked_by"].startswith("127.0.0.1:")


def test_what_is_still_connecting_is_aborted_too(token):
    """At the client while its server does not answer, at the server while its target does not."""
    env = {"SOKKEN_ADMIN_TOKEN_FILE": str(token)}
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"ws://{join(mute.getsockname())}/tunnel/a:1"
        with client(url, env=env) as near, connect(near.entry) as app:
            eventually(lambda: read(near.api, "/connections", BEARER)["connections"])
            [row] = read(near.api, "/connections", BEARER)["connections"]
            assert (row["state"], row["bytes_up"]) == ("connecting", 0)
            assert ask(near.api, f"/connections/{row['id']}/abort", BEARER, method="POST").status == 200
            assert was_reset(app)
            failed = near.program.wait_for("connection_failed", connection_id=row["id"])
            assert (failed["outcome"], failed["detail"]) == ("killed", "it was aborted at the admin address")
            assert read(near.api, "/statusz", BEARER)["failures"] == {"killed": 1}
    with black_hole() as where, open_pair(where, env) as (far, near, admin), connect(near.entry) as app:
        [row] = eventually(lambda: read(admin, "/connections", BEARER)["connections"])
        assert row["state"] == "connecting"
        assert ask(admin, f"/connections/{row['id']}/abort", BEARER, method="POST").status == 200
        assert was_reset(app)
        refused = far.program.wait_for("connection_refused", connection_id=row["id"])
        assert (refused["reason"], refused["detail"]) == (
            "target_timeout",
            "whoever runs this server has ended the attempt to reach the target",
        )


def test_the_token_is_in_no_line_of_the_log_and_in_no_answer(token):
    env = {"SOKKEN_ADMIN_TOKEN_FILE": str(token), "SOKKEN_LOG_DEBUG": "true"}
    with target(echo) as where, open_pair(where, env) as (far, _, admin):
        wrong = ("Authorization", "Bearer a-wrong-guess-of-mine")
        answers = [ask(admin, path, fields) for path in ROUTES[:4] for fields in (BEARER, wrong)]
        answers.append(ask(admin, "/connections/x/abort", wrong, method="POST"))
        token.write_text("x")
        answers.append(ask(admin, "/statusz", BEARER))
        assert far.program.wait_for("reload", setting="SOKKEN_ADMIN_TOKEN_FILE")["result"] == "kept_last_good"
        said = json.dumps(far.program.lines) + repr(answers)
    assert TOKEN not in said
    assert "a-wrong-guess" not in said


def test_a_drain_is_told_while_it_lasts():
    env = {"SOKKEN_ENDPOINT_DELAY_SECONDS": "1", "SOKKEN_DRAIN_TIMEOUT_SECONDS": "30"}
    with target(echo) as where, open_pair(where, env, env) as (far, near, admin), connect(near.entry) as app:
        app.sendall(b"?")
        receive_exactly(app, 1)
        for end, place in ((far, admin), (near, near.api)):
            end.program.signal(15)
            eventually(lambda place=place: read(place, "/statusz")["state"] == "draining")
            status = read(place, "/statusz")
            assert (status["ready"], status["not_ready"]) == (False, "draining")
            assert 25 < status["drain"]["remaining_s"] <= 31
            end.program.wait_for("draining")
            eventually(lambda place=place: read(place, "/statusz")["drain"]["begins_in_s"] == 0)
        app.shutdown(socket.SHUT_WR)
        receive_all(app)
        assert (far.program.wait(), near.program.wait()) == (0, 0)


def test_watchers_do_not_hold_up_the_programs_end():
    with server(("127.0.0.1", 1), env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}) as far, ExitStack() as stack:
        admin = admin_of(far)
        watching = [stack.enter_context(connect(admin)) for _ in range(16)]
        for sock in watching:
            sock.sendall(request("/events", "GET", "HTTP/1.1", ("Host", join(admin))))
            assert sock.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        began = time.monotonic()
        assert far.program.stop() == 0
        assert time.monotonic() - began < 5
        assert receive_all(watching[0]).endswith(b"0\r\n\r\n")


def test_checks_and_files_of_a_client(tmp_path):
    (tmp_path / "token").write_text("a-token")
    env = {"SOKKEN_TOKEN_FILE": str(tmp_path / "token"), "SOKKEN_HEADERS": "X-Secret: never-shown"}
    with target(echo) as where, server(where) as far:
        urls = [far.url(where), "ws://127.0.0.1:1/tunnel/a:1"]
        with client(*urls, env=env) as near:
            near.program.wait_for("server_check_passed")
            near.program.wait_for("server_check_failed")
            document = eventually(
                lambda: (found := read(near.api, "/statusz"))["servers"][1]["outcome"] is not None and found
            )
            passed, failed = document["servers"]
            assert (passed["server"], passed["passed"], passed["problem"]) == (urls[0], True, None)
            assert (failed["passed"], failed["outcome"]) == (False, "server_unreachable")
            assert "connection refused" in failed["problem"]
            [file] = document["files"]
            assert (file["setting"], file["result"]) == ("SOKKEN_TOKEN_FILE", "loaded")
            settings = {setting["variable"]: setting for setting in document["settings"]}
            assert settings["SOKKEN_HEADERS"]["value"] == "********"
            assert settings["SOKKEN_FORWARDS"]["given"]
            assert not settings["SOKKEN_READINESS"]["given"]
            assert "never-shown" not in json.dumps(document)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"SOKKEN_ADMIN_ADDR": "nonsense"}, "variable SOKKEN_ADMIN_ADDR: 'nonsense': the port is missing"),
        ({"SOKKEN_ADMIN_HOSTS": "a b/c"}, "variable SOKKEN_ADMIN_HOSTS: 'b/c': this is no host name or IP address"),
        ({"SOKKEN_ADMIN_TOKEN_FILE": "/nowhere"}, "SOKKEN_ADMIN_TOKEN_FILE: cannot use /nowhere: no such file"),
        ({"SOKKEN_ADMIN_TOKEN_FILE": ""}, "variable SOKKEN_ADMIN_TOKEN_FILE: it is empty"),
    ],
)
def test_a_mistake_is_one_line(env, says):
    program = Program("server", "127.0.0.1:0", "127.0.0.1:22", env=env)
    try:
        assert program.wait() in {2, 3}
        assert says in "".join(program.noise)
        assert len(program.noise) == 1
    finally:
        program.kill()


# What the public address survives


def test_half_heads_floods_and_slow_readers_hold_up_nobody(loop):
    with target(echo) as where, open_pair(where, loop, loop) as (far, near, admin), ExitStack() as stack:
        app = stack.enter_context(connect(near.entry))
        for _ in range(300):  # half a head each
            stack.enter_context(connect(admin)).sendall(b"GET /connections HTTP/1.1\r\nHost: 127.0")
        for _ in range(50):  # a whole one, whose answer nobody reads
            lazy = stack.enter_context(connect(admin))
            lazy.sendall(request("/connections?limit=500", "GET", "HTTP/1.1", ("Host", join(admin))))
        worst = 0.0
        for _ in range(50):
            began = time.monotonic()
            app.sendall(b"?")
            assert receive_exactly(app, 1) == b"?"
            worst = max(worst, time.monotonic() - began)
            assert read(admin, "/statusz")["connections"]["now"] == 1
        assert worst < 0.5
        for garbage in (b"\x16\x03\x01\x00\n\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n" * 20):
            with connect(admin) as sock:
                sock.sendall(garbage)
                assert parse_answer(receive_all(sock)).status in {400, 404}
        eventually(lambda: len(rows_of(admin)) == 1)
        assert not far.program.events("unhandled_exception")


@pytest.mark.timeout(60)
def test_half_a_head_is_given_up_in_time():
    with server(("127.0.0.1", 1), env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}) as far, connect(admin_of(far)) as sock:
        sock.sendall(b"GET /statusz HTTP/1.1\r\n")
        assert parse_answer(receive_all(sock)).status == 408


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_thousand_connections_are_paged_and_the_tunnels_do_not_notice():
    """All of them real; what a keystroke takes meanwhile, watched by all who may watch."""

    count = 2000
    env = {"SOKKEN_MAX_CONNECTIONS": "5000"}
    with echo_for_thousands() as where, open_pair(where, env, env) as (_, near, admin), ExitStack() as stack:
        apps = []
        for number in range(count):
            apps.append(stack.enter_context(connect(near.entry)))
            if number % 50 == 49:  # the way to here is as fast as they open
                apps[-1].sendall(b"?")
                receive_exactly(apps[-1], 1)
        eventually(lambda: read(admin, "/statusz")["connections"]["now"] == count)
        seen = set()
        for offset in range(0, count, 500):
            page = read(admin, f"/connections?sort=age&limit=500&offset={offset}")
            assert (len(page["connections"]), page["total"]) == (500, count)
            seen |= {row["id"] for row in page["connections"]}
        assert len(seen) == count
        for place in (admin, near.api):
            for sort in ("rate", "bytes", "age") * 5:
                sock = stack.enter_context(connect(place))
                path = f"/events?sort={sort}&limit=100&filter=127.0.0.1"
                sock.sendall(request(path, "GET", "HTTP/1.1", ("Host", join(place))))
        delays = []
        until = time.monotonic() + 5
        while time.monotonic() < until:
            began = time.monotonic()
            apps[7].sendall(b"!")
            assert receive_exactly(apps[7], 1) == b"!"
            delays.append(time.monotonic() - began)
        delays.sort()
        assert delays[len(delays) // 2] < 0.05


@contextmanager
def echo_for_thousands():
    """A target that needs no thread for each of its connections."""
    ready, found = threading.Event(), []

    async def serve(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def main():
        ended = asyncio.Event()
        async with await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024) as listening:
            found.extend((listening.sockets[0].getsockname(), asyncio.get_running_loop(), ended))
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    where, loop, ended = found
    try:
        yield where
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(20)
