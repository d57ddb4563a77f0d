from sokken.protocol.trace_context import TraceContext
from sokken.telemetry.instruments import RECONCILE_DURATION
from sokken.telemetry.reconciles import Reconciles


class Counted:
    def __init__(self):
        self.recorded = []

    def record(self, histogram, value, attributes=()):
        self.recorded.append((histogram, attributes))
        assert value >= 0


class Spans:
    def __init__(self, *, is_recorded=True):
        self.kept = []
        self._is_recorded = is_recorded

    def start(self, name, attributes):
        assert (name, attributes["sokken.tunnel.name"]) == ("sokken.reconcile", "web")
        return TraceContext("a" * 32, "b" * 16, self._is_recorded, "")

    def keep(self, make):
        self.kept.append(make(self))


def test_nobody_wants_to_know():
    Reconciles().begin("team", "web").end("applied")


def test_how_long_it_took_is_counted_by_its_result():
    metrics = Counted()
    reconciles = Reconciles(metrics)
    reconciles.begin("team", "web").end("applied")
    reconciles.begin("team", "web").end("failed", "busy")
    assert metrics.recorded == [
        (RECONCILE_DURATION, (("result", "applied"),)),
        (RECONCILE_DURATION, (("result", "failed"), ("error.type", "busy"))),
    ]


def test_it_is_a_span():
    spans = Spans()
    Reconciles(None, spans).begin("team", "web").end("failed", "conflict")
    (draft,) = spans.kept
    assert (draft.name, draft.error, draft.parent) == ("sokken.reconcile", "conflict", None)
    assert draft.attributes == {
        "k8s.namespace.name": "team",
        "sokken.tunnel.name": "web",
        "sokken.reconcile.result": "failed",
    }
    assert draft.began <= draft.ended


def test_one_that_is_not_recorded_leaves_none():
    spans = Spans(is_recorded=False)
    Reconciles(None, spans).begin("team", "web").end("applied")
    assert spans.kept == []
