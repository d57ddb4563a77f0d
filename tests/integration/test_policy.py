"""A policy file at a real server: who gets which tunnel, within which limits, and what a new file changes."""

import asyncio
import json
import socket
from contextlib import contextmanager

import pytest

from sokken.protocol.address import Address
from sokken.protocol.identity import Identity
from sokken.protocol.outcomes import Reason, Refusal
from sokken.protocol.policy_document import build_policy
from sokken.server.admission import Admission
from sokken.transport.connections import Connection, Connections
from sokken.transport.dial import dial
from sokken.transport.resolve import Resolver
from tests.support.programs import Program, client, join, server
from tests.support.raw_http import exchange, request, upgrade
from tests.support.targets import PATIENCE, connect, echo, eventually, receive_exactly, target, was_reset

ALICE = ("Authorization", "Bearer alice-s-secret-token")
BOB = ("Authorization", "Bearer bob-s-secret-token")


def rule(action, *targets, identities=("*",), **limits):
    document = {"action": action, "identities": list(identities), "targets": list(targets)}
    return document | ({"limits": limits} if limits else {})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "policy.yaml"


@pytest.fixture
def where():
    """A target that echoes."""
    with target(echo) as address:
        yield address


@pytest.fixture
def other():
    with target(echo) as address:
        yield address


def write(file, *rules):
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"rules": rules}))  # JSON is YAML, too
    new.rename(file)


@contextmanager
def serving(file, *rules, **env):
    """A server with this policy, which it looks at every second."""
    write(file, *rules)
    variables = {"SOKKEN_RELOAD_INTERVAL_SECONDS": "1"} | {f"SOKKEN_{name}": value for name, value in env.items()}
    with server(options=("-policy-file", str(file)), env=variables) as s:
        yield s


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("alice:alice-s-secret-token\nbob:bob-s-secret-token\n")
    return str(path)


def path_to(where):
    return f"/tunnel/{where if isinstance(where, str) else join(where)}"


def ask(s, where, *fields):
    """What the server says to a request for a tunnel, if that is no tunnel."""
    return exchange(s.api, upgrade(path_to(where), *fields))


def check(s, where, *fields):
    return exchange(s.api, request(path_to(where), "HEAD", "HTTP/1.1", *fields)).status


@contextmanager
def tunnelled(s, where, *fields):
    """The socket of a WebSocket that is open."""
    with connect(s.api) as sock:
        sock.sendall(upgrade(path_to(where), *fields))
        assert receive_exactly(sock, 12) == b"HTTP/1.1 101"
        yield sock


def reason(answer):
    return answer.status, answer.problem["reason"]


# ------------------------------------------------------------------------------------- who may reach what
def test_bytes_go_where_the_policy_allows_and_nowhere_else(file, loop, where, other):
    with serving(file, rule("allow", join(where)), EVENT_LOOP=loop["SOKKEN_EVENT_LOOP"]) as s:
        with client(s.url(where)) as c, connect(c.entry) as app:
            app.sendall(b"hello")
            assert receive_exactly(app, 5) == b"hello"
        assert reason(ask(s, other)) == (403, "forbidden_target")
        line = s.program.wait_for("connection_refused", target=join(other))
        assert line["cause"] == "no rule allows it"
        assert check(s, where) == 204
        assert check(s, other) == 403


def test_each_identity_has_its_own_rules(file, tokens, where):
    rules = [rule("deny", "*:*", identities=["bob"]), rule("allow", join(where), identities=["al*"])]
    with serving(file, *rules, TOKENS_FILE=tokens) as s:
        with tunnelled(s, where, ALICE):
            s.program.wait_for("connection_opened", identity="alice", identity_method="token")
        answer = ask(s, where, BOB)
        assert reason(answer) == (403, "forbidden_target")
        assert "rule" not in answer.problem["detail"]
        line = s.program.wait_for("connection_refused", reason="forbidden_target")
        assert (line["identity"], line["cause"]) == ("bob", "rule 1 denies it")
        assert reason(ask(s, where)) == (401, "unauthenticated")
        assert check(s, where, ALICE) == 204
        assert check(s, where, BOB) == 403


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "localhost", "LOCALHOST."],
)
def test_loopback_is_not_reached_through_something_wide(file, host, where):
    with serving(file, rule("allow", "*:*", "0.0.0.0/0:*", "[::/0]:*", "*.*:*", "l*:*")) as s:
        assert reason(ask(s, f"{host}:{where[1]}")) == (403, "forbidden_target")
        line = s.program.wait_for("connection_refused", reason="forbidden_target")
        assert line["cause"].endswith("address, which rule 1 does not name")


def test_metadata_is_not_reached(file):
    with serving(file, rule("allow", "*:*", "169.254.0.0/16:*")) as s:
        for host in ("169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]"):
            assert reason(ask(s, f"{host}:80")) == (403, "forbidden_target")


def test_a_name_is_let_in_where_it_leads(file, where):
    with serving(file, rule("allow", f"127.0.0.0/8:{where[1]}")) as s, tunnelled(s, f"localhost:{where[1]}"):
        pass
    with serving(file, rule("deny", "127.0.0.0/8:*", "[::1]:*"), rule("allow", f"localhost:{where[1]}")) as s:
        assert check(s, f"localhost:{where[1]}") == 204  # nothing is resolved for a check
        assert reason(ask(s, f"localhost:{where[1]}")) == (403, "forbidden_target")
        s.program.wait_for("connection_refused", cause="rule 1 denies it")


# ------------------------------------------------------------------------ from the check to the connection
def looking_up(*answers):
    """A resolver's look-up that answers differently each time, and notes how often it was asked."""
    asked = []

    def look_up(host, port):
        asked.append(host)
        hosts = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]

    return look_up, asked


def dial_through(document, name, port, look_up):
    """Where a dial through a policy ends up."""
    gate = Admission(build_policy({"rules": document}), Connections(5))

    async def go():
        resolver = Resolver(asyncio.get_running_loop(), look_up)
        admitted = gate.decide(f"{name}:{port}", Identity("me", "token"))
        connection = Connection(gate._connections, "id", None, "peer", admitted.target, {}, identity=admitted.identity)
        gate._connections.admit(connection)
        with await dial(
            resolver, Address(name, port), PATIENCE, lambda found: gate.check_addresses(admitted, found)
        ) as sock:
            return sock.getpeername()[0]

    return asyncio.run(go())


def test_of_mixed_answers_only_the_allowed_one_is_dialled():
    with target(echo, host="127.0.0.2") as where:
        rules = [rule("deny", "127.0.0.1:*"), rule("allow", "127.0.0.0/8:*")]
        with socket.create_server(("127.0.0.1", where[1])) as denied:
            denied.settimeout(0.2)
            look_up, _ = looking_up(["127.0.0.1", "127.0.0.2", "127.0.0.1"])
            assert dial_through(rules, "app.internal", where[1], look_up) == "127.0.0.2"
            with pytest.raises(TimeoutError):
                denied.accept()


def test_a_name_that_changes_is_looked_up_once():
    with target(echo, host="127.0.0.2") as where, socket.create_server(("127.0.0.1", where[1])):
        rules = [rule("deny", "127.0.0.1:*"), rule("allow", "127.0.0.0/8:*")]
        look_up, asked = looking_up(["127.0.0.2"], ["127.0.0.1"])
        assert dial_through(rules, "rebinding.evil", where[1], look_up) == "127.0.0.2"
        assert asked == ["rebinding.evil"]
        look_up, _ = looking_up(["127.0.0.1"])
        with pytest.raises(Refusal) as caught:
            dial_through(rules, "rebinding.evil", where[1], look_up)
        assert caught.value.reason is Reason.FORBIDDEN_TARGET


# -------------------------------------------------------------------------------------------------- limits
def test_connections_of_an_identity_and_of_a_target_are_limited(file, tokens, where, other):
    limits = {"connections_per_identity": 1, "connections_per_target": 2}
    with serving(file, rule("allow", join(where), join(other), **limits), TOKENS_FILE=tokens) as s:
        with tunnelled(s, where, ALICE):
            answer = ask(s, other, ALICE)
            assert reason(answer) == (429, "client_full")
            assert answer.fields["retry-after"] == "1"
            assert check(s, other, ALICE) == 429
            with tunnelled(s, where, BOB):
                pass
            s.program.wait_for("connection_closed", identity="bob")
            with tunnelled(s, other, BOB):
                pass
        eventually(lambda: check(s, other, ALICE) == 204)
    with (
        serving(file, rule("allow", join(where), connections_per_target=1), TOKENS_FILE=tokens) as s,
        tunnelled(s, where, ALICE),
    ):
        answer = ask(s, where, BOB)
        assert reason(answer) == (429, "target_full")
        assert answer.fields["retry-after"] == "1"


def test_connections_that_could_not_be_dialled_do_not_count(file):
    with target(echo) as where, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = closed.getsockname()
        with serving(file, rule("allow", join(where), join(refusing), connections_per_identity=1)) as s:
            for _ in range(3):
                assert reason(ask(s, refusing)) == (502, "target_refused")
            with tunnelled(s, where):
                pass


def test_the_rate_of_an_identity_is_limited(file, tokens, where):
    with serving(file, rule("allow", join(where), rate_per_second=0.001), TOKENS_FILE=tokens) as s:
        with tunnelled(s, where, ALICE):
            pass
        answer = ask(s, where, ALICE)
        assert reason(answer) == (429, "rate_limited")
        assert 900 <= int(answer.fields["retry-after"]) <= 1000
        with tunnelled(s, where, BOB):
            pass


def test_the_rate_of_an_address_is_limited_and_health_is_not(file, where):
    with serving(file, rule("allow", join(where)), HANDSHAKE_RATE_PER_ADDRESS="0.001") as s:
        assert check(s, where) == 204
        answer = ask(s, where)
        assert reason(answer) == (429, "rate_limited")
        assert 900 <= int(answer.fields["retry-after"]) <= 1000
        assert exchange(s.api, request("/health")).status == 200


def test_an_idle_connection_is_ended_and_a_busy_one_is_not(file, loop, where):
    with (
        serving(file, rule("allow", join(where), idle_seconds=2), EVENT_LOOP=loop["SOKKEN_EVENT_LOOP"]) as s,
        client(s.url(where)) as c,
        connect(c.entry) as busy,
        connect(c.entry) as idle,
    ):
        for app in (busy, idle):
            app.sendall(b"x")
            assert receive_exactly(app, 1) == b"x"
        idle.settimeout(0.2)
        for _ in range(100):
            busy.sendall(b"x")
            assert receive_exactly(busy, 1) == b"x"
            try:
                assert idle.recv(1) == b"no end"
            except TimeoutError:
                continue
            except ConnectionResetError:
                break
        line = s.program.wait_for("connection_closed")
        assert (line["outcome"], line["bytes_up"]) == ("idle_timeout", 1)
        c.program.wait_for("connection_closed", outcome="idle_timeout")
        busy.sendall(b"y")
        assert receive_exactly(busy, 1) == b"y"
        assert len(s.program.events("connection_closed")) == 1


def test_a_connection_has_its_time(file, loop, where):
    with (
        serving(file, rule("allow", join(where), lifetime_seconds=1), EVENT_LOOP=loop["SOKKEN_EVENT_LOOP"]) as s,
        client(s.url(where)) as c,
        connect(c.entry) as app,
    ):
        assert was_reset(app)
        line = s.program.wait_for("connection_closed", outcome="lifetime_exceeded")
        assert 1 <= line["duration_s"] < 5
        c.program.wait_for("connection_closed", outcome="lifetime_exceeded")


# ------------------------------------------------------------------------------------------- a new policy
def test_a_new_policy_is_for_new_connections(file, where):
    with serving(file, rule("allow", join(where))) as s, client(s.url(where)) as c, connect(c.entry) as app:
        app.sendall(b"x")
        assert receive_exactly(app, 1) == b"x"
        write(file, rule("deny", "*:*"))
        s.program.wait_for("reload", result="loaded")
        assert reason(ask(s, where)) == (403, "forbidden_target")
        app.sendall(b"y")
        assert receive_exactly(app, 1) == b"y"


def test_a_broken_policy_leaves_the_last_good_one_in_force(file, where):
    with serving(file, rule("allow", join(where))) as s:
        write(file, rule("allow", "*"))
        line = s.program.wait_for("reload", result="kept_last_good")
        assert "rule 1: targets: '*': a target is HOST:PORT" in line["detail"]
        with tunnelled(s, where):
            pass
        file.unlink()
        s.program.wait_for("reload", 2, result="kept_last_good")
        assert check(s, where) == 204
        write(file, rule("deny", "*:*"))
        s.program.wait_for("reload", result="loaded")
        assert check(s, where) == 403


def test_a_policy_that_is_swapped_by_a_symlink_of_its_folder(tmp_path, where):
    """As Kubernetes does it."""
    for version, action in (("v1", "allow"), ("v2", "deny")):
        (tmp_path / version).mkdir()
        write(tmp_path / version / "policy.yaml", rule(action, join(where)))
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "policy.yaml").symlink_to("..data/policy.yaml")
    env = {"SOKKEN_RELOAD_INTERVAL_SECONDS": "1", "SOKKEN_POLICY_FILE": str(tmp_path / "policy.yaml")}
    with server(env=env) as s:
        assert check(s, where) == 204
        (tmp_path / "..new").symlink_to("v2")
        (tmp_path / "..new").rename(tmp_path / "..data")
        s.program.wait_for("reload", result="loaded")
        assert check(s, where) == 403


@pytest.mark.parametrize("grace", ["0", "1"])
def test_connections_that_a_new_policy_forbids_are_ended_after_their_grace(file, grace, where, other):
    with (
        serving(file, rule("allow", join(where), join(other)), REVOKE_GRACE_SECONDS=grace) as s,
        client(s.url(where), s.url(other)) as c,
        connect(c.entries[0]) as forbidden,
        connect(c.entries[1]) as allowed,
    ):
        for app in (forbidden, allowed):
            app.sendall(b"x")
            assert receive_exactly(app, 1) == b"x"
        write(file, rule("allow", join(other)))
        assert was_reset(forbidden)
        line = s.program.wait_for("connection_closed", outcome="policy_revoked")
        assert line["target"] == join(where)
        c.program.wait_for("connection_closed", outcome="policy_revoked")
        allowed.sendall(b"y")
        assert receive_exactly(allowed, 1) == b"y"


def test_many_connections_are_ended_in_turns(file, where):
    with serving(file, rule("allow", join(where)), REVOKE_GRACE_SECONDS="0") as s, client(s.url(where)) as c:
        apps = [connect(c.entry) for _ in range(50)]
        s.program.wait_for("connection_opened", 50)
        write(file, rule("deny", "*:*"))
        assert all(map(was_reset, apps))
        s.program.wait_for("connection_closed", 50, outcome="policy_revoked")
        for app in apps:
            app.close()


# ---------------------------------------------------------------------------------------------- at the start
def ended(*arguments, **env):
    program = Program("server", "127.0.0.1:0", *arguments, env={f"SOKKEN_{name}": value for name, value in env.items()})
    try:
        code = program.wait()
        assert program.lines == []
        return code, "".join(program.noise)
    finally:
        program.kill()


def test_a_policy_file_and_targets_are_an_error(file):
    write(file, rule("deny", "*:*"))
    problem = "SOKKEN_POLICY_FILE says already what may be reached; give either, not both"
    assert ended("a:1", POLICY_FILE=str(file)) == (2, f"sokken: argument REMOTE_ADDR: {problem}\n")
    assert ended("-policy-file", str(file), TARGETS="a:1") == (2, f"sokken: variable SOKKEN_TARGETS: {problem}\n")


def test_a_policy_that_is_none_is_an_error(file):
    code, text = ended(POLICY_FILE=str(file))
    assert (code, text) == (3, f"sokken: SOKKEN_POLICY_FILE: cannot use {file}: no such file or directory\n")
    write(file, rule("allow", "a:1"), rule("allow", "b:1", idle=5))
    code, text = ended(POLICY_FILE=str(file))
    assert code == 3
    assert text.startswith(f"sokken: SOKKEN_POLICY_FILE: cannot use {file}: rule 2: limits: unknown key 'idle'; ")
    assert text.count("\n") == 1


def test_an_empty_variable_is_an_error():
    code, text = ended(POLICY_FILE="")
    assert code == 3
    assert text.startswith("sokken: variable SOKKEN_POLICY_FILE: it is empty; ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HANDSHAKE_RATE_PER_ADDRESS", "-1"),
        ("HANDSHAKE_RATE_PER_ADDRESS", "many"),
        ("HANDSHAKE_RATE_PER_ADDRESS", "inf"),
        ("REVOKE_GRACE_SECONDS", "-1"),
        ("REVOKE_GRACE_SECONDS", "soon"),
    ],
)
def test_a_broken_variable_is_an_error(name, value):
    code, text = ended("a:1", **{name: value})
    assert code == 2
    assert text.startswith(f"sokken: variable SOKKEN_{name}: {value!r}: this is ")
