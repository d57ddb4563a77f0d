"""Sending spans: in batches, at rest in between, and with one word a minute where it fails."""

import logging
import threading
import time

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import SpanExportResult

from sokken.telemetry.delivery import SHARE, Complaints, SpanDelivery


class Exporter:
    """Takes batches; ``gate`` holds up the one that is being sent."""

    def __init__(self):
        self.batches = []
        self.result = SpanExportResult.SUCCESS
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Event()

    def export(self, batch):
        self.arrived.set()
        assert self.gate.wait(20)
        self.batches.append(list(batch))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def shutdown(self):
        pass


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    made = []

    def make(queue=10, batch=4, delay=600.0, build=lambda item: item):
        delivery = SpanDelivery(queue, batch, delay)
        delivery._exporter = exporter = Exporter()
        delivery.start(build)
        made.append(delivery)
        return delivery, exporter

    yield make
    for delivery in made:
        delivery._exporter.gate.set()
        delivery.close()


def test_a_full_batch_is_sent_at_once(make):
    delivery, exporter = make(batch=4)
    for number in range(4):
        delivery.put(number)
    assert exporter.arrived.wait(20)
    delivery.close()
    assert exporter.batches == [[0, 1, 2, 3]]


def test_less_is_sent_after_the_delay(make):
    delivery, exporter = make(delay=0.05)
    delivery.put(1)
    assert exporter.arrived.wait(20)


def test_what_waits_is_sent_at_the_end(make):
    delivery, exporter = make(batch=4)
    for number in range(3):
        delivery.put(number)
    delivery.close()
    assert exporter.batches == [[0, 1, 2]]
    assert delivery.dropped == 0


def test_what_does_not_fit_is_dropped_and_counted(make):
    delivery, exporter = make(queue=3, batch=3)
    exporter.gate.clear()
    for number in range(3):
        delivery.put(number)
    assert exporter.arrived.wait(20)  # these three are being sent
    for number in range(3, 8):
        delivery.put(number)
    assert not delivery.has_room()
    assert delivery.dropped == 3  # two of them, and the one that might not begin
    exporter.gate.set()
    delivery.close()
    assert exporter.batches == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("result", [SpanExportResult.FAILURE, ValueError("no such thing")], ids=str)
def test_what_the_collector_does_not_take_is_counted_and_told(make, lines, result):
    delivery, exporter = make(batch=2)
    exporter.result = result
    for number in range(2):
        delivery.put(number)
    delivery.close()
    assert delivery.dropped == 2
    [line] = [line for line in lines() if line["event"] == "telemetry_export_failed"]
    assert (line["signal"], line["dropped"], line["level"]) == ("traces", 2, "warning")


def test_it_rests_in_proportion_to_what_it_worked(make):
    """While the processor is wanted for tunnels, spans get their share of it and no more."""

    def build(item):
        until = time.thread_time() + 0.01
        while time.thread_time() < until:
            pass
        return item

    delivery, exporter = make(queue=100, batch=1, build=build)
    began = time.monotonic()
    for number in range(3):
        delivery.put(number)
    while len(exporter.batches) < 3:
        time.sleep(0.01)
    assert time.monotonic() - began > 2 * 0.01 * (1 / SHARE - 1)


def test_complaints_are_a_line_a_minute_with_the_reason(lines):
    now = [0.0]
    complaints = Complaints("traces", OTLPSpanExporter.__module__, clock=lambda: now[0])
    exporter = logging.getLogger(OTLPSpanExporter.__module__)
    try:
        for _ in range(5):
            exporter.warning("Transient error %s, retrying", "connection refused")
            exporter.error("Failed to export due to timeout")
            complaints.failed(10)
            now[0] += 15
    finally:
        complaints.close()
    told = [line for line in lines() if line["event"] == "telemetry_export_failed"]
    assert [line["dropped"] for line in told] == [10, 40]
    assert {line["detail"] for line in told} == {"Transient error connection refused, retrying"}
    assert [line["event"] for line in lines()] == ["telemetry_export_failed"] * 2


def test_without_an_attempts_reason_the_ends_is_told(lines):
    complaints = Complaints("metrics", "opentelemetry.exporter.test")
    logging.getLogger("opentelemetry.exporter.test").error("Failed to export, reason: Bad Request")
    complaints.failed()
    complaints.close()
    [line] = lines()
    assert line["detail"] == "Failed to export, reason: Bad Request"
    assert "dropped" not in line


def test_it_shows_itself(make):
    delivery, _ = make()
    assert repr(delivery) == "<SpanDelivery waiting=0 dropped=0>"
