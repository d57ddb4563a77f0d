"""What OpenTelemetry's own variables (OTEL_*) ask of a program: which signals go where.

Read once at start by the programs. Only what decides whether the SDK is loaded at all is read here; the SDK reads the
rest itself (endpoints, headers, certificates, time-outs, sampler, batch sizes, resource).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_PROTOCOL: Final = "http/protobuf"
_TRACES: Final = frozenset({"otlp", "none"})
_METRICS: Final = frozenset({"otlp", "prometheus", "none"})
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class OpenTelemetry:
    """``problems`` are variables that ask for what cannot be had: one line each, and that signal is off."""

    traces: bool = False
    """Send spans with OTLP."""
    metrics: bool = False
    """Send metrics with OTLP."""
    prometheus: bool = False
    """Render metrics where they can be scraped, if there is such a place."""
    propagates: bool = True
    """Take the trace from a request's ``traceparent``, and send it in one."""
    span_queue: int = 2048
    """How many spans may wait to be sent."""
    span_batch: int = 128
    """How many are sent at once: fewer than the SDK's 512, because Python's lock is held while they are made."""
    span_delay_seconds: float = 5.0
    """How long one waits for others."""
    service_name: str = ""
    problems: tuple[str, ...] = ()


def read_opentelemetry(environment: Mapping[str, str] | None = None) -> OpenTelemetry:
    """Read the variables, of this process unless given."""
    environ = os.environ if environment is None else environment
    service_name = environ.get("OTEL_SERVICE_NAME", "").strip()
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return OpenTelemetry(service_name=service_name)
    problems: list[str] = []
    traces = _exporters(environ, "TRACES", _TRACES, problems)
    metrics = _exporters(environ, "METRICS", _METRICS, problems)
    propagators = _listed(environ, "OTEL_PROPAGATORS") or ["tracecontext"]
    unknown = [name for name in propagators if name not in {"tracecontext", "baggage", "none"}]
    if unknown:
        problems.append(f"OTEL_PROPAGATORS: {unknown[0]!r} is not spoken here, only tracecontext")
    return OpenTelemetry(
        traces="otlp" in traces,
        metrics="otlp" in metrics,
        prometheus="prometheus" in metrics,
        propagates="tracecontext" in propagators,
        span_queue=_number(environ, "OTEL_BSP_MAX_QUEUE_SIZE", 2048, problems),
        span_batch=_number(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 128, problems),
        span_delay_seconds=_number(environ, "OTEL_BSP_SCHEDULE_DELAY", 5000, problems) / 1000,
        service_name=service_name,
        problems=tuple(dict.fromkeys(problems)),
    )


def _exporters(environ: Mapping[str, str], signal: str, known: frozenset[str], problems: list[str]) -> set[str]:
    """Which exporters a signal has; without a word of it, all that can be had."""
    variable = f"OTEL_{signal}_EXPORTER"
    given = _listed(environ, variable)
    chosen = set(given) & known if given else set(known) - {"none"}
    problems.extend(
        f"{variable}: {name!r} is none of {', '.join(sorted(known))}" for name in given if name not in known
    )
    if "none" in chosen:
        return set()
    if "otlp" not in chosen:
        return chosen
    protocol = _first(environ, f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    if not _first(environ, f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if given:
            problems.append(f"{variable} is otlp: set OTEL_EXPORTER_OTLP_ENDPOINT, too")
    elif protocol not in {"", _PROTOCOL}:
        problems.append(f"OTEL_EXPORTER_OTLP_PROTOCOL: {protocol!r} is not spoken here, only {_PROTOCOL} (port 4318)")
    else:
        return chosen
    return chosen - {"otlp"}


def _number(environ: Mapping[str, str], name: str, default: int, problems: list[str]) -> int:
    text = environ.get(name, "").strip()
    if text.isascii() and text.isdecimal() and int(text[:9]) > 0:
        return int(text[:9])
    if text:
        problems.append(f"{name}: {text[:_SHOWN]!r} is no whole number above 0; it is {default}")
    return default


def _first(environ: Mapping[str, str], *names: str) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def _listed(environ: Mapping[str, str], name: str) -> list[str]:
    return [item.strip().lower() for item in environ.get(name, "").split(",") if item.strip()]
