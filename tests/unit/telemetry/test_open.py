"""What is opened of traces and metrics: what was asked for, and nothing that cannot work keeps a program from it."""

import asyncio
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from sokken.settings import OpenTelemetry
from sokken.telemetry import open as opening
from sokken.telemetry.open import open_telemetry
from sokken.telemetry.trail import NO_TRAILS
from tests.support.collector import collector
from tests.support.loops import run

SETTINGS = SimpleNamespace(trace_session="link")


def test_nobody_asked_and_nothing_is_opened():
    async def main():
        telemetry = open_telemetry(OpenTelemetry(), SETTINGS, "server", "1", is_scraped=True)
        assert (telemetry.metrics, telemetry.trails) == (None, NO_TRAILS)
        await telemetry.close()

    run(main())


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


class Unacceptable:
    """Settings that the SDK does not take."""

    @property
    def trace_session(self):
        raise ValueError("this is not accepted")


def test_what_the_sdk_does_not_accept_is_a_warning_and_no_end(lines):
    asked = OpenTelemetry(traces=True, problems=("OTEL_SOMETHING: is wrong",))

    async def main():
        telemetry = open_telemetry(asked, Unacceptable(), "server", "1", is_scraped=False)
        await telemetry.close()
        return telemetry

    telemetry = asyncio.run(main())
    assert telemetry.trails is NO_TRAILS
    first, second = lines()
    assert (first["event"], first["detail"]) == ("telemetry_unavailable", "OTEL_SOMETHING: is wrong")
    assert (second["event"], second["signal"]) == ("telemetry_unavailable", "traces")


def test_what_could_not_be_opened_leaves_nothing_behind(lines):
    exporter = logging.getLogger(OTLPSpanExporter.__module__)
    before = list(exporter.filters)

    async def main():
        asked = OpenTelemetry(traces=True)
        await open_telemetry(asked, Unacceptable(), "server", "1", is_scraped=False).close()

    run(main())
    assert [line["event"] for line in lines()] == ["telemetry_unavailable"]
    assert exporter.filters == before


def test_spans_that_were_dropped_are_a_number(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")

    async def main():
        asked = OpenTelemetry(traces=True, prometheus=True, span_queue=1, span_delay_seconds=60)
        telemetry = open_telemetry(asked, SETTINGS, "server", "1", is_scraped=True)
        delivery = telemetry._spans.delivery
        for _ in range(3):
            delivery._waiting.append(None)  # as if they had been put while none was sent
            assert not delivery.has_room()
        delivery._waiting.clear()
        assert b"sokken_span_dropped_total{" in (text := await telemetry.metrics.render())
        assert b"} 3.0" in next(line for line in text.splitlines() if line.startswith(b"sokken_span_dropped_total"))
        await telemetry.close()

    run(main())


def test_a_collector_that_is_slow_delays_the_end_no_longer_than_was_agreed(monkeypatch, lines):
    monkeypatch.setattr(opening, "FAREWELL_SECONDS", 0.3)
    with collector() as sink:
        sink.delay = 2
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")

        async def main():
            telemetry = open_telemetry(OpenTelemetry(metrics=True), SETTINGS, "server", "1", is_scraped=False)
            began = time.monotonic()
            await telemetry.close()
            return time.monotonic() - began

        before = set(threading.enumerate())
        assert 0.29 <= run(main()) < 1.5
        for thread in set(threading.enumerate()) - before:
            thread.join(20)  # what the exit of a program does not wait for
    told = [line for line in lines() if line["event"] == "telemetry_not_delivered"]
    assert [line["detail"] for line in told] == ["the collector takes too long"]


@pytest.mark.parametrize("is_scraped", [False, True])
def test_metrics_to_be_scraped_are_there_if_somebody_can_scrape_them(is_scraped):
    async def main():
        telemetry = open_telemetry(OpenTelemetry(prometheus=True), SETTINGS, "server", "1", is_scraped=is_scraped)
        assert (telemetry.metrics is not None) is is_scraped
        assert (telemetry.trails is not NO_TRAILS) is is_scraped
        await telemetry.close()

    run(main())
