"""Spans as a collector gets them, and what the sampler, a parent and baggage have to do with them."""

import time

import pytest

from sokken.protocol.trace_context import TraceContext
from sokken.telemetry.delivery import SpanDelivery
from sokken.telemetry.drafts import Draft
from sokken.telemetry.spans import Spans
from tests.support.collector import collector

PARENT = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", is_recorded=True, state="a=1,b=2")


@pytest.fixture
def make(monkeypatch):
    """Make spans that are sent to a collector; both are gone when the test ends."""
    with collector() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
        made = []

        def make(sampler="", queue=100, **given):
            if sampler:
                name, _, argument = sampler.partition("=")
                monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
                monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
            spans = Spans("server", "1.2.3", SpanDelivery(queue, 10, 0.02), session="link", **given)
            made.append(spans)
            return spans, sink

        yield make
        for spans in made:
            spans.close()


def test_a_draft_becomes_a_span(make):
    spans, sink = make()
    context = spans.start("sokken.accept", {}, PARENT)
    now = time.time_ns()
    draft = Draft(
        "sokken.accept",
        context,
        PARENT,
        now - 1_500_000_000,
        now,
        {"sokken.connection.id": "id", "http.response.status_code": 403},
        error="target_not_allowed",
        link=spans.start_beside(context),
        events=[("up_ended", now - 1)],
    )
    spans.keep(lambda asked: draft if asked is spans else None)
    [span] = sink.wait_for("sokken.accept")
    assert (span.trace_id, span.span_id, span.parent_id) == (PARENT.trace_id, context.span_id, PARENT.span_id)
    assert (span.kind, span.status, span.events) == ("server", "error", ["up_ended"])
    assert span.seconds == pytest.approx(1.5)
    assert span.attributes == {
        "sokken.connection.id": "id",
        "http.response.status_code": 403,
        "error.type": "target_not_allowed",
    }
    assert span.links == [(draft.link.trace_id, draft.link.span_id)]
    assert span.resource["service.name"] == "sokken-server"


@pytest.mark.parametrize(
    ("sampler", "alone", "within"),
    [
        ("", True, True),
        ("always_off", False, False),
        ("always_on", True, True),
        ("parentbased_always_off", False, True),
        ("traceidratio=0", False, False),
        ("traceidratio=1", True, True),
    ],
)
def test_the_sampler_decides_and_the_trace_goes_on_all_the_same(make, sampler, alone, within):
    spans, _ = make(sampler)
    assert spans.start("sokken.accept", {}).is_recorded is alone
    child = spans.start("sokken.accept", {}, PARENT)
    assert (child.trace_id, child.is_recorded) == (PARENT.trace_id, within)
    assert child.span_id != PARENT.span_id


def test_what_its_parent_does_not_record_is_not_recorded_and_keeps_its_state(make):
    spans, _ = make()
    child = spans.start("sokken.accept", {}, PARENT._replace(is_recorded=False))
    assert (child.is_recorded, child.state) == (False, PARENT.state)


def test_spans_of_one_trace_share_what_was_decided(make):
    spans, _ = make()
    first = spans.start("sokken.connect", {})
    child, beside = spans.start_child(first), spans.start_beside(first)
    assert (child.trace_id, child.is_recorded) == (first.trace_id, True)
    assert beside.trace_id != first.trace_id
    assert len({first.span_id, child.span_id, beside.span_id}) == 3


def test_while_too_many_wait_none_begins_and_each_is_counted(make):
    spans, _ = make(queue=1)
    spans.delivery._most = 0  # as full as it gets
    assert not spans.start("sokken.accept", {}).is_recorded
    assert spans.delivery.dropped == 1


def test_a_parent_is_read_unless_propagation_is_off(make):
    headers = {"traceparent": str(PARENT), "tracestate": PARENT.state}
    assert make()[0].read_parent(headers) == PARENT
    assert make(propagates=False)[0].read_parent(headers) is None


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        ("team=blue,other=1", {"baggage.team": "blue"}),
        ("team=a%20b", {"baggage.team": "a b"}),
        ("team=" + "x" * 1000, {"baggage.team": "x" * 256}),
        ("team=blue," + "y" * 9000, {}),
        ("", {}),
        ("=,;;,team", {}),
    ],
)
def test_of_baggage_only_what_is_asked_for_and_never_much(make, sent, found):
    spans, _ = make(baggage_keys=("team",))
    assert spans.read_baggage({"baggage": sent}) == found
    assert make()[0].read_baggage({"baggage": sent}) == {}


def test_a_sampler_that_does_not_exist_is_told_by_the_sdk_and_another_is_used(make, lines):
    spans, _ = make("no_such_sampler")
    assert spans.start("sokken.accept", {}).is_recorded
    assert "Couldn't recognize sampler no_such_sampler" in lines()[0]["message"]


def test_it_shows_itself(make):
    assert repr(make()[0]) == "<Spans <SpanDelivery waiting=0 dropped=0>>"
