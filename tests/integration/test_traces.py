"""A trace for each tunnelled connection, as a collector receives it from a real server and a real client."""

import os
import signal
import socket
import time

import pytest

from tests.support.addresses import closed_port
from tests.support.certificates import Authority
from tests.support.collector import collector, environment
from tests.support.programs import client, join, server, tunnel
from tests.support.raw_http import exchange, upgrade
from tests.support.refused import meet_reset
from tests.support.targets import connect, echo, eventually, receive_all, reset, target

IMPATIENT = {"OTEL_EXPORTER_OTLP_TIMEOUT": "3"}
"""Seconds for all attempts: enough for a second one, without which the SDK does not say why the first has failed."""
TOKEN = "the-t0ken"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def sink():
    with collector() as made:
        yield made


@pytest.fixture
def known(tmp_path):
    """Variables of a client that the server knows: one environment serves both."""
    (tmp_path / "tokens").write_text(f"ci:{TOKEN}\n")
    (tmp_path / "token").write_text(TOKEN)
    return {
        "SOKKEN_TOKENS_FILE": str(tmp_path / "tokens"),
        "SOKKEN_TOKEN_FILE": str(tmp_path / "token"),
        "SOKKEN_CLIENT_ID": "laptop",
        "SOKKEN_TUNNEL_NAME": "office",
    }


def use(entry, payload=b"hello"):
    with connect(entry) as app:
        app.sendall(payload)
        app.shutdown(socket.SHUT_WR)
        assert receive_all(app) == payload


def test_both_ends_of_a_connection_are_in_one_trace(loop, sink, known):
    env = environment(sink, **known, **loop)
    with target(echo) as where, tunnel(where, env=env) as t:
        use(t.entry)
        near, far = sink.wait_for("sokken.session", 2, sokken_outcome="completed")
        [connected] = sink.wait_for("sokken.connect")
        [accepted] = sink.wait_for("sokken.accept")
        [dialled] = sink.wait_for("sokken.target.connect")
        opened = t.client.program.wait_for("connection_opened")
        closed = t.server.program.wait_for("connection_closed")
        server_port = t.server.api[1]

    assert [span.kind for span in (connected, accepted, dialled, near)] == ["client", "server", "client", "internal"]
    assert connected.trace_id == accepted.trace_id == dialled.trace_id
    assert connected.parent_id == ""
    assert accepted.parent_id == connected.span_id
    assert dialled.parent_id == accepted.span_id
    assert {span.status for span in sink.spans} == {"unset"}

    assert connected.attributes == {
        "server.address": "127.0.0.1",
        "server.port": server_port,
        "url.scheme": "ws",
        "http.response.status_code": 101,
        "sokken.tunnel.name": "office",
        "sokken.forward.name": opened["forward"],
        "sokken.connection.id": opened["connection_id"],
        "sokken.attempt": 1,
    }
    assert accepted.attributes == {
        "http.request.method": "GET",
        "http.route": "/tunnel/{target}",
        "http.response.status_code": 101,
        "sokken.connection.id": opened["connection_id"],
        "sokken.client.id": "ci",
        "sokken.client.claimed_id": "laptop",
        "sokken.auth.method": "token",
    }
    assert dialled.attributes == {
        "server.address": where[0],
        "server.port": where[1],
        "network.peer.address": where[0],
        "network.transport": "tcp",
    }

    # Sessions are traces of their own, each with a link to its end's half of the common one.
    assert {near.links[0], far.links[0]} == {(span.trace_id, span.span_id) for span in (connected, accepted)}
    assert len({near.trace_id, far.trace_id, connected.trace_id}) == 3
    for session in (near, far):
        assert session.parent_id == ""
        assert session.events == ["up_ended", "down_ended"]
        assert session.attributes == {
            "sokken.connection.id": opened["connection_id"],
            "sokken.outcome": "completed",
            "sokken.bytes.up": 5,
            "sokken.bytes.down": 5,
        }

    # The log of either end leads to its span, from the first line to the last.
    assert (opened["trace_id"], opened["span_id"]) == (connected.trace_id, connected.span_id)
    assert (closed["trace_id"], closed["span_id"]) == (accepted.trace_id, accepted.span_id)
    assert opened["trace_flags"] == closed["trace_flags"] == "01"

    services = {span.name: span.resource["service.name"] for span in (connected, accepted)}
    assert services == {"sokken.connect": "sokken-client", "sokken.accept": "sokken-server"}
    assert connected.resource["service.version"]
    assert connected.resource["service.instance.id"] != accepted.resource["service.instance.id"]


def test_a_client_that_nobody_knows_cannot_have_its_trace_recorded(sink):
    """It gets a trace of the server's own, with a link to what it says."""
    with target(echo) as where, tunnel(where, env=environment(sink)) as t:
        use(t.entry)
        [connected] = sink.wait_for("sokken.connect")
        [accepted] = sink.wait_for("sokken.accept")
    assert accepted.trace_id != connected.trace_id
    assert accepted.parent_id == ""
    assert accepted.links == [(connected.trace_id, connected.span_id)]
    assert "sokken.client.id" not in accepted.attributes


@pytest.mark.parametrize(
    ("trust", "continues"), [("always", True), ("never", False)], ids=["always trusted", "never trusted"]
)
def test_whose_trace_the_server_continues(sink, known, trust, continues):
    known = {} if trust == "always" else known
    with target(echo) as where, tunnel(where, env=environment(sink, SOKKEN_TRACE_TRUST_PARENT=trust, **known)) as t:
        use(t.entry)
        [connected] = sink.wait_for("sokken.connect")
        [accepted] = sink.wait_for("sokken.accept")
    assert (accepted.trace_id == connected.trace_id) is continues


def test_a_session_within_its_connections_trace(sink, known):
    with target(echo) as where, tunnel(where, env=environment(sink, SOKKEN_TRACE_SESSION="child", **known)) as t:
        use(t.entry)
        sessions = sink.wait_for("sokken.session", 2)
        [connected] = sink.wait_for("sokken.connect")
        [accepted] = sink.wait_for("sokken.accept")
    assert {span.trace_id for span in sessions} == {connected.trace_id}
    assert {span.parent_id for span in sessions} == {connected.span_id, accepted.span_id}
    assert [span.links for span in sessions] == [[], []]


def test_without_sessions(sink, known):
    with target(echo) as where, tunnel(where, env=environment(sink, SOKKEN_TRACE_SESSION="off", **known)) as t:
        use(t.entry)
    sink.wait_for("sokken.connect")  # both have ended, and so has sent whatever there was
    assert {span.name for span in sink.spans} == {"sokken.connect", "sokken.accept", "sokken.target.connect"}


def test_a_session_is_recorded_exactly_if_its_opening_was(sink, known):
    """Nobody samples twice: with a ratio of a half, none of the spans of a connection is there without the others."""
    sampled = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}
    with target(echo) as where, tunnel(where, env=environment(sink, **known, **sampled)) as t:
        for _ in range(40):
            use(t.entry)
        logged = t.client.program.wait_for("connection_closed", 40) and t.client.program.events("connection_closed")
        t.server.program.wait_for("connection_closed", 40)
    recorded = {}
    for span in sink.spans:
        if span.name != "sokken.target.connect":
            recorded.setdefault(span.attributes["sokken.connection.id"], []).append(span.name)
    assert 0 < len(recorded) < 40
    for names in recorded.values():
        assert sorted(names) == ["sokken.accept", "sokken.connect", "sokken.session", "sokken.session"]
    assert {line["connection_id"] for line in logged if "trace_id" in line} == recorded.keys()


def test_a_refusal_is_an_error_of_the_client_and_the_log_quotes_the_servers_trace(sink, known):
    forbidden = ("127.0.0.1", 9)
    with (
        target(echo) as where,
        server(where, env=environment(sink, **known)) as far,
        client(far.url(forbidden), options=["-readiness", "listener"], env=environment(sink, **known)) as near,
    ):
        meet_reset(near.entry)
        [connected] = sink.wait_for("sokken.connect")
        [accepted] = sink.wait_for("sokken.accept")
        failed = near.program.wait_for("connection_failed")
        refused = far.program.wait_for("connection_refused")
    assert (connected.status, connected.attributes["error.type"]) == ("error", "forbidden_target")
    assert connected.attributes["http.response.status_code"] == 403
    assert accepted.status == "unset"
    assert (accepted.attributes["http.response.status_code"], accepted.attributes["sokken.reason"]) == (
        403,
        "forbidden_target",
    )
    assert "error.type" not in accepted.attributes
    assert failed["server_trace_id"] == refused["trace_id"] == accepted.trace_id
    assert failed["trace_id"] == connected.trace_id


def test_a_client_without_traces_quotes_the_servers(sink):
    with (
        target(echo) as where,
        server(where, env=environment(sink)) as far,
        client(far.url(("127.0.0.1", 9)), options=["-readiness", "listener"]) as near,
    ):
        meet_reset(near.entry)
        failed = near.program.wait_for("connection_failed")
        [accepted] = sink.wait_for("sokken.accept")
    assert failed["server_trace_id"] == accepted.trace_id
    assert "trace_id" not in failed


def test_a_target_that_refuses_is_an_error_at_both_ends(sink, known):
    with closed_port() as where, tunnel(where, env=environment(sink, **known)) as t:
        meet_reset(t.entry)
        spans = [sink.wait_for(name)[0] for name in ("sokken.connect", "sokken.accept", "sokken.target.connect")]
    for span in spans:
        assert (span.status, span.attributes["error.type"]) == ("error", "target_refused"), span
    assert "network.peer.address" not in spans[2].attributes


def test_attempts_are_one_span(sink):
    """Here nobody answers: the client tries until its time is up."""
    patience = ["-readiness", "listener", "-connect-timeout-seconds", "1"]
    with (
        closed_port() as where,
        client(f"ws://{join(where)}/tunnel/127.0.0.1:9", options=patience, env=environment(sink)) as near,
    ):
        meet_reset(near.entry)
        [connected] = sink.wait_for("sokken.connect")
    assert (connected.status, connected.attributes["error.type"]) == ("error", "server_unreachable")
    assert connected.attributes["sokken.attempt"] > 1


def test_a_connection_that_breaks_is_an_error_of_its_sessions(sink, known):
    with target(echo) as where, tunnel(where, env=environment(sink, **known)) as t:
        app = connect(t.entry)
        app.sendall(b"x")
        t.server.program.wait_for("connection_opened")
        t.client.program.wait_for("connection_opened")
        reset(app)
        [near] = sink.wait_for("sokken.session", sokken_outcome="local_reset")
        [far] = sink.wait_for("sokken.session", sokken_outcome="peer_reset")
    assert (near.status, near.attributes["error.type"]) == ("error", "local_reset")
    assert (far.status, far.attributes["error.type"]) == ("error", "peer_reset")


def test_what_a_drain_ends_is_told_before_the_exit(sink, known):
    """Also without the delay after which spans are sent: what waits is sent at the end."""
    env = environment(sink, OTEL_BSP_SCHEDULE_DELAY="600000", SOKKEN_DRAIN_TIMEOUT_SECONDS="0", **known)
    with target(echo) as where, tunnel(where, env=env) as t, connect(t.entry) as app:
        app.sendall(b"x")
        assert app.recv(1) == b"x"
        t.server.program.signal(signal.SIGTERM)
        assert t.server.program.wait() == 0
        [session] = sink.wait_for("sokken.session", sokken_outcome="drain_deadline")
    assert session.attributes["sokken.bytes.up"] == 1
    assert session.resource["service.name"] == "sokken-server"


def test_the_resource_is_what_the_environment_says(sink):
    env = environment(
        sink,
        OTEL_SERVICE_NAME="edge",
        OTEL_RESOURCE_ATTRIBUTES="k8s.namespace.name=prod,service.instance.id=prod.sokken-0.sokken",
    )
    with target(echo) as where, tunnel(where, env=env) as t:
        use(t.entry)
        [connected] = sink.wait_for("sokken.connect")
        assert t.client.program.wait_for("connection_opened")["service"] == "edge"
    assert connected.resource["service.name"] == "edge"
    assert connected.resource["k8s.namespace.name"] == "prod"
    assert connected.resource["service.instance.id"] == "prod.sokken-0.sokken"


def ask(sink, *fields, **more):
    """A request by hand; its span, and the head of the answer."""
    with target(echo) as where, server(where, env=environment(sink, **more)) as far:
        answer = exchange(far.api, upgrade(f"/tunnel/{join(('127.0.0.1', 9))}", *fields))
        return sink.wait_for("sokken.accept")[0], answer, far.program.lines, where


@pytest.mark.parametrize(
    "parent",
    [
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        "00-" + "f" * 4000,
        "'; DROP TABLE spans; --",
        "\xff\xfe",
    ],
)
def test_a_hostile_traceparent_is_as_none(sink, parent):
    fields = [("traceparent", parent), ("tracestate", "a=1"), ("baggage", "secret=1")]
    accepted, answer, lines, _ = ask(sink, *fields, SOKKEN_TRACE_TRUST_PARENT="always")
    assert (accepted.parent_id, accepted.links) == ("", [])
    assert answer.status == 403
    assert answer.fields["traceresponse"].split("-")[1:3] == [accepted.trace_id, accepted.span_id]
    assert not [line for line in lines if line["event"] == "library_message"]


@pytest.mark.parametrize("state", ["x" * 9000, "a=1,a=2", "=,=", ",".join(f"k{n}=v" for n in range(100)), "\xff=1"])
def test_a_hostile_tracestate_costs_the_trace_nothing(sink, state):
    fields = [("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", state)]
    accepted, _, lines, _ = ask(sink, *fields, SOKKEN_TRACE_TRUST_PARENT="always")
    assert (accepted.trace_id, accepted.parent_id) == (TRACE, SPAN)
    assert not [line for line in lines if line["event"] == "library_message"]


def test_a_trace_that_its_client_does_not_record_is_not_recorded(sink):
    fields = [("traceparent", f"00-{TRACE}-{SPAN}-00")]
    with target(echo) as where, server(where, env=environment(sink, SOKKEN_TRACE_TRUST_PARENT="always")) as far:
        answer = exchange(far.api, upgrade("/tunnel/127.0.0.1:9", *fields))
        refused = far.program.wait_for("connection_refused")
    assert "traceresponse" not in answer.fields
    assert "trace_id" not in refused
    assert sink.spans == []


def test_baggage_is_taken_only_where_it_is_asked_for(sink):
    fields = [("baggage", f"team=blue,secret=1,long={'x' * 3000}")]
    accepted, *_ = ask(sink, *fields, SOKKEN_BAGGAGE_KEYS="team, long")
    assert accepted.attributes["baggage.team"] == "blue"
    assert accepted.attributes["baggage.long"] == "x" * 256
    assert not [name for name in accepted.attributes if "secret" in name]


@pytest.mark.parametrize("baggage", ["team", "team=%ZZ", "=;=,,", "team=" + "x" * 9000], ids=len)
def test_hostile_baggage_is_bounded(sink, baggage):
    accepted, *_ = ask(sink, ("baggage", baggage), SOKKEN_BAGGAGE_KEYS="team")
    assert len(accepted.attributes.get("baggage.team", "")) <= 256


def test_what_a_client_says_of_itself_is_bounded_and_never_its_identity(sink):
    hostile = [("Sokken-Client-Id", "x" * 500), ("User-Agent", "y" * 900), ("Sokken-Connection-Id", "not one")]
    accepted, *_ = ask(sink, *hostile)
    assert "sokken.client.claimed_id" not in accepted.attributes
    assert "sokken.client.id" not in accepted.attributes
    assert accepted.attributes["user_agent.original"] == "y" * 256
    assert accepted.attributes["sokken.connection.id"] != "not one"
    assert "client.address" not in accepted.attributes


def test_a_clients_address_is_there_if_it_is_asked_for(sink):
    accepted, *_ = ask(sink, SOKKEN_TRACE_CLIENT_ADDRESS="true")
    assert accepted.attributes["client.address"] == "127.0.0.1"


# --- the collector is in trouble --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_a_collector_that_refuses_is_one_warning_and_the_tunnels_go_on(status):
    with collector() as sink, target(echo) as where, tunnel(where, env=environment(sink, **IMPATIENT)) as t:
        sink.status = status
        for _ in range(3):
            use(t.entry)
            sink.wait_for_requests(sink.requests + 1)
        warning = t.client.program.wait_for("telemetry_export_failed", signal="traces")
        use(t.entry)
    assert warning["dropped"] >= 1
    assert str(status) in warning["detail"] or "Too Many" in warning["detail"] or "Unavailable" in warning["detail"]
    for program in (t.client.program, t.server.program):
        assert len(program.events("telemetry_export_failed", signal="traces")) == 1
        assert not program.events("library_message")


def test_without_a_collector_the_tunnels_go_on_and_the_exit_is_not_late(loop):
    with closed_port() as nobody, target(echo) as where:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{join(nobody)}", "OTEL_BSP_SCHEDULE_DELAY": "50", **loop}
        stop_quickly(where, env)


def stop_quickly(where, env):
    with server(where) as far, client(far.url(where), env=env) as near:
        use(near.entry)
        near.program.wait_for("connection_closed")
        began = time.monotonic()
        near.program.signal(signal.SIGTERM)
        assert near.program.wait() == 0
        assert time.monotonic() - began < 7


def test_a_collector_that_never_answers_delays_the_exit_by_five_seconds_at_most():
    with (
        collector() as sink,
        target(echo) as where,
        server(where) as far,
        client(far.url(where), env=environment(sink)) as near,
    ):
        sink.delay = 60
        for _ in range(5):
            use(near.entry)
        began = time.monotonic()
        near.program.signal(signal.SIGTERM)
        assert near.program.wait() == 0
        assert time.monotonic() - began < 7
        assert near.program.events("telemetry_not_delivered")


def test_a_collector_with_another_certificate_gets_nothing(tmp_path, authority):
    stranger = Authority(tmp_path, "stranger")
    env = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(stranger.file), **IMPATIENT}
    with collector(authority.server) as sink, target(echo) as where:
        with tunnel(where, env=environment(sink, **env)) as t:
            use(t.entry)
            warning = t.client.program.wait_for("telemetry_export_failed", signal="traces")
            use(t.entry)
        assert "certificate" in warning["detail"].lower()
        assert sink.requests == 0


def test_a_collector_over_tls_and_with_a_header(authority, tmp_path):
    env = {
        "REQUESTS_CA_BUNDLE": str(Authority(tmp_path, "stranger").file),  # what is said for other programs holds less
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.file),
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s3cret",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }
    with collector(authority.server) as sink, target(echo) as where:
        with tunnel(where, env=environment(sink, **env)) as t:
            use(t.entry)
            sink.wait_for("sokken.session", 2)
        assert {headers["authorization"] for headers in sink.headers} == {"Bearer s3cret"}
        assert "s3cret" not in str(t.client.program.lines)


def test_a_malformed_header_is_not_quoted(sink):
    env = environment(sink, OTEL_EXPORTER_OTLP_HEADERS="s3cret without a name")
    with target(echo) as where, tunnel(where, env=env) as t:
        use(t.entry)
        sink.wait_for("sokken.connect")
        assert "OTEL_EXPORTER_OTLP_HEADERS" in t.client.program.wait_for("library_message")["message"]
    assert "s3cret" not in str(t.client.program.lines)


def test_a_collector_behind_a_proxy(sink):
    """The sender goes through HTTP_PROXY like other programs, and the tunnels to loopback do not."""
    seen = []

    def proxy(sock):
        seen.append(sock.recv(65536).split(b"\r\n")[0])
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with target(proxy) as through, target(echo) as where:
        env = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.invalid:4318",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "HTTP_PROXY": f"http://{join(through)}",
        }
        with tunnel(where, env=env) as t:
            use(t.entry)
            eventually(lambda: b"POST http://collector.invalid:4318/v1/traces HTTP/1.1" in seen)


def test_too_many_spans_are_dropped_whole_and_counted(known):
    """A collector that is slow while the queue is small: what is delivered are whole traces."""
    with collector() as sink, target(echo) as where:
        env = environment(sink, OTEL_BSP_MAX_QUEUE_SIZE="8", OTEL_METRIC_EXPORT_INTERVAL="300", **known)
        with tunnel(where, env=env) as t:
            sink.delay = 1
            for _ in range(20):
                use(t.entry)
            t.server.program.wait_for("connection_closed", 20)
            sink.delay = 0
            dropped = eventually(lambda: dict_of(sink.wait_for_metric("sokken.span.dropped")))
            assert dropped > 0
            use(t.entry)


def dict_of(points):
    return max(value for _, value in points)


# --- and where nobody asks for any of it ------------------------------------------------------------------------------

LOADED = """
import sys, threading
from sokken.cli.main import main
def tell():
    print(*sorted({name.partition(".")[0] for name in sys.modules}), flush=True)
threading.Timer(2.5, tell).start()
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("variables", [{}, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}])
def test_nothing_is_loaded_that_nobody_asked_for(variables, tmp_path):
    import subprocess
    import sys

    clean = {name: value for name, value in os.environ.items() if not name.startswith(("SOKKEN_", "OTEL_"))}
    for program in (
        ["server", "127.0.0.1:0", "127.0.0.1:9"],
        ["client", "127.0.0.1:0", "127.0.0.1:0", "ws://127.0.0.1:9/tunnel/a:1"],
    ):
        with subprocess.Popen(
            [sys.executable, "-c", LOADED, *program],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**clean, **variables},
            text=True,
        ) as running:
            loaded = running.stdout.readline().split()
            running.terminate()
        assert "aiohttp" in loaded
        assert not {"opentelemetry", "prometheus_client", "requests", "google"} & set(loaded)
