"""Which signals the standard variables ask for, and what is said of those that cannot be had."""

import pytest

from sokken.settings import OpenTelemetry, read_opentelemetry

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def test_without_a_word_nothing_is_sent():
    asked = read_opentelemetry({})
    assert asked == OpenTelemetry(prometheus=True)
    assert (asked.traces, asked.metrics) == (False, False)


def test_an_endpoint_is_for_both_signals():
    asked = read_opentelemetry(ENDPOINT)
    assert (asked.traces, asked.metrics, asked.prometheus, asked.problems) == (True, True, True, ())


@pytest.mark.parametrize(("signal", "found"), [("TRACES", (True, False)), ("METRICS", (False, True))])
def test_an_endpoint_for_one_signal(signal, found):
    asked = read_opentelemetry({f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT": "http://collector:4318/v1"})
    assert (asked.traces, asked.metrics) == found


def test_disabled():
    assert read_opentelemetry({**ENDPOINT, "OTEL_SDK_DISABLED": " True"}) == OpenTelemetry()


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"OTEL_TRACES_EXPORTER": "none"}, (False, True, True)),
        ({"OTEL_METRICS_EXPORTER": "none"}, (True, False, False)),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, (True, True, False)),
        ({"OTEL_METRICS_EXPORTER": "Prometheus"}, (True, False, True)),
        ({"OTEL_METRICS_EXPORTER": "prometheus, otlp"}, (True, True, True)),
        ({"OTEL_METRICS_EXPORTER": "otlp,none"}, (True, False, False)),
    ],
    ids=str,
)
def test_exporters(variables, found):
    asked = read_opentelemetry({**ENDPOINT, **variables})
    assert (asked.traces, asked.metrics, asked.prometheus) == found
    assert asked.problems == ()


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER: 'zipkin' is none of none, otlp"),
        ({"OTEL_METRICS_EXPORTER": "console"}, "OTEL_METRICS_EXPORTER: 'console' is none of none, otlp, prometheus"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "OTEL_TRACES_EXPORTER is otlp: set OTEL_EXPORTER_OTLP_ENDPOINT, too"),
        (
            {**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' is not spoken here, only http/protobuf (port 4318)",
        ),
        ({"OTEL_PROPAGATORS": "b3"}, "OTEL_PROPAGATORS: 'b3' is not spoken here, only tracecontext"),
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "-1"},
            "OTEL_BSP_MAX_QUEUE_SIZE: '-1' is no whole number above 0; it is 2048",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_had_is_said_once_and_left_out(variables, problem):
    asked = read_opentelemetry(variables)
    assert asked.problems == (problem,)
    assert (asked.traces, asked.metrics) == (False, False)


def test_one_signal_may_speak_what_the_other_does_not():
    variables = {**ENDPOINT, "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc"}
    asked = read_opentelemetry(variables)
    assert (asked.traces, asked.metrics, len(asked.problems)) == (True, False, 1)


@pytest.mark.parametrize(
    ("propagators", "found"),
    [("", True), ("tracecontext,baggage", True), ("baggage", False), ("none", False), ("b3,tracecontext", True)],
)
def test_propagators(propagators, found):
    assert read_opentelemetry({"OTEL_PROPAGATORS": propagators}).propagates is found


def test_numbers_and_names():
    asked = read_opentelemetry(
        {
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
            "OTEL_BSP_SCHEDULE_DELAY": "250",
            "OTEL_SERVICE_NAME": " edge ",
        }
    )
    assert (asked.span_queue, asked.span_batch, asked.span_delay_seconds) == (100, 10, 0.25)
    assert asked.service_name == "edge"


def test_of_this_process(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "edge")
    assert read_opentelemetry().service_name == "edge"
