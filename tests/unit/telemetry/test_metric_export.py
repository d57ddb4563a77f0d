"""Metrics on their way out: to a collector, to who scrapes, and when the loop does not turn."""

import asyncio
import logging
import threading

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

from sokken.telemetry import metrics as numbers
from sokken.telemetry.instruments import ACTIVE, DURATION, REJECTED
from sokken.telemetry.metric_export import open_metrics
from tests.support.collector import collector
from tests.support.loops import run, soon


def test_a_collector_gets_counters_gauges_and_histograms_and_the_last_ones_at_the_end(monkeypatch):
    with collector() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")

        async def main():
            metrics = open_metrics("server", "1", asyncio.get_running_loop(), otlp=True)
            metrics.observe(lambda: [(ACTIVE, (), 3)])
            metrics.count(REJECTED, (("error.type", "server_full"),), 2)
            metrics.record(DURATION, 0.2, (("outcome", "completed"),))
            metrics.record(DURATION, 4.0, (("outcome", "completed"),))
            await soon(lambda: REJECTED.name in sink.metrics)
            metrics.count(REJECTED, (("error.type", "server_full"),))
            await asyncio.to_thread(metrics.close)

        run(main())
        assert sink.metrics[ACTIVE.name] == [({"role": "server"}, 3)]
        assert sink.metrics[REJECTED.name] == [({"role": "server", "error.type": "server_full"}, 3)]
        assert sink.metrics[DURATION.name] == [({"role": "server", "outcome": "completed"}, 2)]


def test_what_is_not_taken_is_told_once_and_the_exporter_is_left_as_it_was(monkeypatch, lines):
    exporter = logging.getLogger(OTLPMetricExporter.__module__)
    before = list(exporter.filters)
    with collector() as sink:
        sink.status = 400
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")

        async def main():
            metrics = open_metrics("server", "1", asyncio.get_running_loop(), otlp=True)
            metrics.count(REJECTED)
            await soon(lambda: sink.requests >= 3)
            await asyncio.to_thread(metrics.close)

        run(main())
    told = [(line["event"], line["signal"]) for line in lines() if line["level"] != "info"]
    assert told == [("telemetry_export_failed", "metrics")]
    assert exporter.filters == before


def test_a_loop_that_does_not_turn_costs_one_reading_and_no_reader(monkeypatch):
    monkeypatch.setattr(numbers, "_PATIENCE_SECONDS", 0.1)

    async def main():
        metrics = open_metrics("server", "1", asyncio.get_running_loop(), otlp=False)
        metrics.count(REJECTED)
        rendered = []
        thread = threading.Thread(target=lambda: rendered.append(metrics._publisher.render()))
        thread.start()
        thread.join(20)  # and the loop stands still meanwhile
        assert b"sokken_connection_rejected" not in rendered[0]
        assert b"sokken_connection_rejected" in await metrics.render()
        await asyncio.to_thread(metrics.close)

    run(main())
