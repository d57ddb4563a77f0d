"""An OpenTelemetry collector for tests: OTLP over HTTP, decoded from the real protobuf."""

import gzip
import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

from tests.support.programs import PATIENCE

KINDS = {
    Message.SPAN_KIND_INTERNAL: "internal",
    Message.SPAN_KIND_SERVER: "server",
    Message.SPAN_KIND_CLIENT: "client",
}
STATUSES = {0: "unset", 1: "ok", 2: "error"}


@dataclass
class Span:
    """One span as it came, with the resource that it is from."""

    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    status: str
    attributes: dict
    links: list[tuple[str, str]]
    events: list[str]
    seconds: float
    began: float
    resource: dict


@dataclass
class Collector:
    """What has come; ``status`` is what it answers with, after ``delay`` seconds."""

    endpoint: str = ""
    status: int = 200
    delay: float = 0.0
    requests: int = 0
    headers: list[dict] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    metrics: dict[str, list] = field(default_factory=dict)
    """Data points by the metric's name, as (attributes, value or the histogram's count)."""
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def take(self, path: str, headers: dict, body: bytes) -> None:
        with self._changed:
            self.requests += 1
            self.headers.append(headers)
            if self.status == 200 and path.endswith("/v1/traces"):
                self._take_traces(ExportTraceServiceRequest.FromString(body))
            elif self.status == 200 and path.endswith("/v1/metrics"):
                self._take_metrics(ExportMetricsServiceRequest.FromString(body))
            self._changed.notify_all()

    def _take_traces(self, request: ExportTraceServiceRequest) -> None:
        for group in request.resource_spans:
            resource = _plain(group.resource.attributes)
            self.spans += [_read(span, resource) for scope in group.scope_spans for span in scope.spans]

    def _take_metrics(self, request: ExportMetricsServiceRequest) -> None:
        for group in request.resource_metrics:
            for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
                kind = metric.WhichOneof("data")
                points = getattr(metric, kind).data_points
                self.metrics[metric.name] = [(_plain(point.attributes), _value(kind, point)) for point in points]

    def wait_for(self, name: str, count: int = 1, seconds: float = PATIENCE, **attributes: object) -> list[Span]:
        """The spans of that name with those attributes (dots as underscores), once there are so many."""
        return self._wait(lambda: [span for span in self.spans if _matches(span, name, attributes)], count, seconds)

    def wait_for_requests(self, count: int, seconds: float = PATIENCE) -> None:
        self._wait(lambda: [None] * self.requests, count, seconds)

    def wait_for_metric(self, name: str, seconds: float = PATIENCE) -> list:
        return self._wait(lambda: self.metrics.get(name, []), 1, seconds)

    def _wait(self, find, count, seconds):
        deadline = time.monotonic() + seconds
        with self._changed:
            while len(found := find()) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise AssertionError(f"not {count} but {found}; {self.requests} requests, {self.spans[-20:]}")
                self._changed.wait(left)
            return found


@contextmanager
def collector(certificate=None):
    """A collector on a free loopback port; over TLS with a certificate and its key in one file."""
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            stopping.wait(made.delay)
            made.take(self.path, headers, body)
            self.send_response(made.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    stopping = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    server.handle_error = lambda *_: None  # who sends may have left
    scheme = "http"
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    made.endpoint = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        stopping.set()
        server.shutdown()
        thread.join()
        server.server_close()


def environment(made: Collector, **more: str) -> dict[str, str]:
    """What makes a program send to it at once."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": made.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50", **more}


def _read(span: Message, resource: dict) -> Span:
    return Span(
        name=span.name,
        kind=KINDS[span.kind],
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        status=STATUSES[span.status.code],
        attributes=_plain(span.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        events=[event.name for event in span.events],
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
        began=span.start_time_unix_nano / 1e9,
        resource=resource,
    )


def _plain(attributes) -> dict:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}


def _value(kind: str, point) -> float:
    return point.count if kind == "histogram" else getattr(point, point.WhichOneof("value"))


def _matches(span: Span, name: str, attributes: dict) -> bool:
    found = {key.replace(".", "_"): value for key, value in span.attributes.items()}
    return span.name == name and attributes.items() <= found.items()
