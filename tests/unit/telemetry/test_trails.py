"""What is told of a connection, and what becomes of it in metrics; its spans are tried with a collector."""

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sokken.protocol.address import Address, parse_forward
from sokken.protocol.identity import ANONYMOUS, Claims, Identity
from sokken.telemetry.instruments import CONNECT_DURATION, DURATION, RECONNECTS, REJECTED
from sokken.telemetry.metrics import Metrics
from sokken.telemetry.trail import NO_TRAIL, NO_TRAILS, Stage
from sokken.telemetry.trails import LiveTrails

FORWARD = parse_forward("ssh=127.0.0.1:2222=ws://b/tunnel/c:22")
CLAIMS = Claims("me", None, None, None)
LOCAL = SimpleNamespace(getpeername=lambda: ("192.0.2.1", 22))
SSH = (("forward", "ssh"), ("tunnel", "office"))


@pytest.fixture
def metrics():
    return Metrics("client", SimpleNamespace())


def series(metrics, instrument):
    found = {reading.instrument: reading.series for reading in metrics.read()}.get(instrument, {})
    return {attributes: getattr(value, "counts", value) for attributes, value in found.items()}


def stages(metrics):
    return {attributes: sum(counts) for attributes, counts in series(metrics, CONNECT_DURATION).items()}


def test_without_anybody_who_wants_to_know_nothing_is_kept():
    for trail in (NO_TRAILS.of_forward(FORWARD)("id"), NO_TRAILS.of_request({}, "", CLAIMS, "id")):
        assert trail is NO_TRAIL
        trail.enter(Stage.DNS)
        trail.retry("server_dns")
        trail.identify(ANONYMOUS)
        trail.dial(Address("c", 22))
        trail.reach(LOCAL)
        trail.open()
        trail.half_close("up")
        trail.close("completed", 1, 2, 3.0)
        trail.fail("server_dns")
        assert (dict(trail.ids), dict(trail.headers)) == ({}, {})


def test_a_clients_connection_in_metrics(metrics):
    trail = LiveTrails(metrics, None, tunnel="office").of_forward(FORWARD)("id")
    for stage in (Stage.DNS, Stage.TCP, Stage.TLS, Stage.UPGRADE):
        trail.enter(stage)
    trail.open()
    trail.half_close("up")
    trail.close("completed", 1, 2, 0.2)
    assert stages(metrics) == {(("stage", stage),): 1 for stage in ("dns", "tcp", "tls", "upgrade")}
    assert series(metrics, DURATION)[*SSH, ("outcome", "completed")][1] == 1
    assert series(metrics, REJECTED) == {}
    assert (dict(trail.ids), dict(trail.headers)) == ({}, {})


def test_a_stage_that_fails_says_why_and_attempts_are_counted(metrics):
    trail = LiveTrails(metrics, None, tunnel="office").of_forward(FORWARD)("id")
    trail.enter(Stage.TCP)
    trail.retry("server_unreachable")
    trail.enter(Stage.TCP)
    trail.enter(Stage.UPGRADE)
    trail.fail("server_full", 429)
    assert stages(metrics) == {
        (("stage", "tcp"), ("error.type", "server_unreachable")): 1,
        (("stage", "tcp"),): 1,
        (("stage", "upgrade"), ("error.type", "server_full")): 1,
    }
    assert series(metrics, RECONNECTS) == {SSH: 1}
    assert series(metrics, REJECTED) == {(*SSH, ("error.type", "server_full")): 1}


def test_a_servers_connection_in_metrics(metrics):
    trails = LiveTrails(metrics, None, route="/tunnel/{target}", trust="authenticated")
    trail = trails.of_request({"traceparent": "hostile"}, "192.0.2.7:1", CLAIMS, "id")
    trail.identify(Identity("ci", "token"))
    trail.dial(Address("c", 22))
    trail.reach(LOCAL)
    trail.open()
    trail.close("peer_lost", 1, 2, 3.0)
    assert stages(metrics) == {(("stage", "target"),): 1}
    assert list(series(metrics, DURATION)) == [(("outcome", "peer_lost"),)]


def test_a_request_that_is_refused_at_once(metrics):
    trail = LiveTrails(metrics, None).of_request({}, "192.0.2.7:1", CLAIMS, "id")
    trail.fail("rate_limited", 429)
    assert stages(metrics) == {}
    assert series(metrics, REJECTED) == {(("error.type", "rate_limited"),): 1}


@pytest.mark.parametrize(
    ("trust", "known", "unknown"), [("authenticated", True, False), ("always", True, True), ("never", False, False)]
)
def test_whose_trace_is_continued(trust, known, unknown):
    trails = LiveTrails(None, None, trust=trust)
    assert (trails.trusts(Identity("ci", "token")), trails.trusts(ANONYMOUS)) == (known, unknown)


def test_metrics_alone_load_no_exporter_of_spans():
    code = """
import asyncio, sys
from types import SimpleNamespace
from sokken.settings import OpenTelemetry
from sokken.telemetry.open import open_telemetry
async def main():
    asked = OpenTelemetry(prometheus=True)
    settings = SimpleNamespace(trace_session="link")
    assert open_telemetry(asked, settings, "server", "1", is_scraped=False).metrics is None
    assert "opentelemetry" not in sys.modules
    telemetry = open_telemetry(asked, settings, "server", "1", is_scraped=True)
    assert b"sokken" in await telemetry.metrics.render()
    await telemetry.close()
    assert not {"requests", "opentelemetry.exporter.otlp"} & set(sys.modules)
asyncio.run(main())
"""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_sdk_does_not_accept_is_a_warning_and_no_end(lines):
    from sokken.settings import OpenTelemetry
    from sokken.telemetry.open import open_telemetry

    asked = OpenTelemetry(traces=True, problems=("OTEL_SOMETHING: is wrong",))

    async def main():
        telemetry = open_telemetry(asked, SimpleNamespace(), "server", "1", is_scraped=False)
        await telemetry.close()
        return telemetry

    telemetry = asyncio.run(main())
    assert telemetry.trails is NO_TRAILS
    first, second = lines()
    assert (first["event"], first["detail"]) == ("telemetry_unavailable", "OTEL_SOMETHING: is wrong")
    assert (second["event"], second["signal"]) == ("telemetry_unavailable", "traces")
