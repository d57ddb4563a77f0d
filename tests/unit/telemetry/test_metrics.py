"""The numbers: counted on the loop, read as of one moment by whoever asks, rendered for Prometheus."""

import asyncio
import threading
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sokken.telemetry.instruments import ACTIVE, DURATION, IO, LOOP_LAG, PING_RTT, REJECTED, Distribution
from sokken.telemetry.metric_export import open_metrics
from sokken.telemetry.metrics import Metrics
from tests.support.loops import run


def on_loop(test):
    """Run it on a loop of its own."""
    return lambda: run(test())


def find(readings, instrument):
    return next((reading.series for reading in readings if reading.instrument is instrument), {})


@on_loop
async def test_counters_add_up_by_their_attributes():
    metrics = Metrics("server", asyncio.get_running_loop())
    full, draining = (("error.type", "server_full"),), (("error.type", "draining"),)
    metrics.count(REJECTED, full)
    metrics.count(REJECTED, full, 2)
    metrics.count(REJECTED, draining)
    assert find(metrics.read(), REJECTED) == {full: 3, draining: 1}


@on_loop
async def test_a_value_falls_into_the_bucket_whose_bound_it_does_not_exceed():
    metrics = Metrics("server", asyncio.get_running_loop())
    for value in (0.05, 0.1, 0.2, 100_000.0):
        metrics.record(DURATION, value)
    [distribution] = find(metrics.read(), DURATION).values()
    counts = [0] * (len(DURATION.bounds) + 1)
    counts[0], counts[1], counts[-1] = 2, 1, 1
    assert distribution == Distribution(tuple(counts), 100_000.35, 0.05, 100_000.0)


@on_loop
async def test_what_is_observed_is_asked_for_at_each_reading():
    metrics = Metrics("server", asyncio.get_running_loop())
    values = iter([1, 2])
    metrics.observe(lambda: [(ACTIVE, (), next(values))])
    assert [find(metrics.read(), ACTIVE)[()] for _ in range(2)] == [1, 2]


@on_loop
async def test_another_thread_reads_on_the_loops():
    metrics = Metrics("server", asyncio.get_running_loop())
    seen = []
    metrics.observe(lambda: [(ACTIVE, (), seen.append(threading.get_ident()) or 7)])
    readings = await asyncio.to_thread(metrics.read)
    assert find(readings, ACTIVE) == {(): 7}
    assert seen == [threading.get_ident()]


@on_loop
async def test_an_error_in_what_is_observed_reaches_who_asked():
    metrics = Metrics("server", asyncio.get_running_loop())
    metrics.observe(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(metrics.read)


@on_loop
async def test_the_loops_lag_is_recorded():
    metrics = open_metrics("server", "1", asyncio.get_running_loop(), otlp=False)
    try:
        await asyncio.sleep(0.05)
        time.sleep(0.4)
        await asyncio.sleep(0.05)
        [lag] = find(metrics.read(), LOOP_LAG).values()
        assert sum(lag.counts) == 1
        assert 0.1 < lag.largest < 10
    finally:
        await asyncio.to_thread(metrics.close)


@on_loop
async def test_rendered_for_prometheus():
    metrics = open_metrics("client", "1", asyncio.get_running_loop(), otlp=False)
    try:
        metrics.count(REJECTED, (("forward", "ssh"), ("error.type", "server_dns")))
        metrics.record(PING_RTT, 0.002)
        metrics.observe(lambda: [(IO, (("network.io.direction", "transmit"),), 12), (ACTIVE, (), 3)])
        families = {family.name: family for family in text_string_to_metric_families((await metrics.render()).decode())}
    finally:
        await asyncio.to_thread(metrics.close)
    assert families["sokken_connection_rejected"].samples[0].labels == {
        "role": "client",
        "forward": "ssh",
        "error_type": "server_dns",
    }
    assert families["sokken_connection_rejected"].type == "counter"
    assert families["sokken_connection_active"].samples[0].value == 3
    assert families["sokken_connection_active"].type == "gauge"
    assert families["sokken_connection_io_bytes"].samples[0].labels["network_io_direction"] == "transmit"
    rtt = families["sokken_ping_rtt_seconds"]
    assert rtt.type == "histogram"
    assert {sample.labels["le"]: sample.value for sample in rtt.samples if "le" in sample.labels}["0.0025"] == 1
    assert families["target_info"].samples[0].labels["service_name"] == "sokken-client"


@on_loop
async def test_after_the_end_nothing_is_rendered():
    metrics = open_metrics("client", "1", asyncio.get_running_loop(), otlp=False)
    await asyncio.to_thread(metrics.close)
    assert await metrics.render() == b""


@on_loop
async def test_to_count_costs_next_to_nothing():
    """Far below what the SDK's own instruments take (8 microseconds): a bound for any machine, not a measurement."""
    metrics = Metrics("server", asyncio.get_running_loop())
    attributes = (("stage", "dns"),)
    began = time.process_time()
    for _ in range(10_000):
        metrics.record(DURATION, 0.3, attributes)
    assert time.process_time() - began < 0.08
