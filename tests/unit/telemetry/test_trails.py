"""What is told of a connection, and what becomes of it in metrics; its spans are tried with a collector."""

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
