"""A Tunnel's spec as the client's settings: the variables of its container.

They are the ones of docs/settings.md. What a user writes is a literal: Kubernetes would take ``$(NAME)`` in a value
for another variable, so each ``$`` is doubled.
"""

from typing import Any, Final

from sokken.operator.model import Tunnel, TunnelSpec
from sokken.operator.model.names import ADMIN_PORT, HEALTH_PORT
from sokken.operator.model.spec import Forward, Target, Telemetry
from sokken.operator.resources.credentials import file_settings
from sokken.operator.resources.naming import hash_of

ENDPOINT_DELAY_SECONDS: Final = 5
"""How long a pod that is to go still takes connections: kube-proxy and load balancers learn of it late."""
CHECK_INTERVAL_SECONDS: Final = 20
"""How often a pod asks its server whether it would be let in."""
POD_NAME: Final = "POD_NAME"


def client_environment(tunnel: Tunnel) -> list[dict[str, Any]]:
    """All variables, in an order that is always the same. The user's own come last, and never replace a setting."""
    ours = {name: _literal(value) for name, value in literal_settings(tunnel).items()}
    telemetry = _telemetry(tunnel)
    own = {each.name: {"value": each.value} for each in tunnel.spec.pod_template.env if each.name != POD_NAME}
    pod_name = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    ours["SOKKEN_CLIENT_ID"] = {"value": f"{tunnel.namespace}/$({POD_NAME})"}
    merged = {POD_NAME: pod_name, **ours, **telemetry, **own}  # the rules let no setting of ours into ``own``
    return [{"name": name, **value} for name, value in merged.items()]


def literal_settings(tunnel: Tunnel) -> dict[str, str]:
    """The client's settings, but for its id, which the pod's name is part of."""
    spec = tunnel.spec
    settings = {
        "SOKKEN_API_ADDR": f":{HEALTH_PORT}",
        "SOKKEN_ADMIN_ADDR": f":{ADMIN_PORT}",
        "SOKKEN_TUNNEL_NAME": f"{tunnel.namespace}/{tunnel.name}",
        "SOKKEN_FORWARDS": "\n".join(format_forward(spec, forward) for forward in spec.forwards),
        "SOKKEN_MAX_CONNECTIONS": str(spec.max_connections),
        "SOKKEN_CHECK_INTERVAL_SECONDS": str(CHECK_INTERVAL_SECONDS),
        "SOKKEN_ENDPOINT_DELAY_SECONDS": str(ENDPOINT_DELAY_SECONDS),
        "SOKKEN_DRAIN_TIMEOUT_SECONDS": str(spec.drain_timeout_seconds),
        "SOKKEN_LOG_DEBUG": "true" if spec.telemetry.log_level == "Debug" else "",
        "SOKKEN_LOG_PRETTY": "true" if spec.telemetry.log_format == "Pretty" else "",
        "SOKKEN_SERVER_NAME": spec.server.server_name or "",
        "SOKKEN_HEADERS": "\n".join(f"{header.name}: {header.value}" for header in spec.server.headers),
        "SOKKEN_PROXY": spec.proxy.url if spec.proxy else "",
        **file_settings(spec),
    }
    return {name: value for name, value in settings.items() if value}


def connection_hash(spec: TunnelSpec) -> str:
    """Of all that decides whether the server would let a pod in. What a pod says is about this spec if it has this."""
    said = {name: value for name, value in spec.dump().items() if name in ("server", "auth", "proxy")}
    return hash_of([said, [format_forward(spec, forward) for forward in spec.forwards]])


def format_forward(spec: TunnelSpec, forward: Forward) -> str:
    """A forward as SOKKEN_FORWARDS has it."""
    return f"{forward.name}=:{forward.listen_port}={tunnel_url(spec, forward)}"


def tunnel_url(spec: TunnelSpec, forward: Forward) -> str:
    """Where a forward's connections go. A comma would end it in a list (docs/settings.md)."""
    return f"{spec.server.url.rstrip('/')}/tunnel/{format_target(forward.target)}".replace(",", "%2C")


def format_target(target: Target) -> str:
    """``HOST:PORT``, an IPv6 address in brackets."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"{host}:{target.port}"


def _telemetry(tunnel: Tunnel) -> dict[str, dict[str, Any]]:
    asked = tunnel.spec.telemetry
    if not asked.otlp_endpoint or not _is_sent(asked):
        return {}
    attributes = f"k8s.namespace.name={tunnel.namespace},k8s.pod.name=$({POD_NAME}),sokken.tunnel.name={tunnel.name}"
    variables: dict[str, dict[str, Any]] = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": _literal(asked.otlp_endpoint),
        "OTEL_TRACES_EXPORTER": {"value": "otlp" if asked.tracing == "Enabled" else "none"},
        "OTEL_METRICS_EXPORTER": {"value": "prometheus,otlp" if asked.metrics == "Pushed" else "prometheus"},
        "OTEL_SERVICE_NAME": {"value": "sokken-client"},
        "OTEL_RESOURCE_ATTRIBUTES": {"value": attributes},
    }
    if asked.sampling_ratio is not None:
        variables["OTEL_TRACES_SAMPLER"] = {"value": "parentbased_traceidratio"}
        variables["OTEL_TRACES_SAMPLER_ARG"] = {"value": asked.sampling_ratio}
    if asked.headers_secret_ref:
        key = {"name": asked.headers_secret_ref.name, "key": asked.headers_secret_ref.key, "optional": True}
        variables["OTEL_EXPORTER_OTLP_HEADERS"] = {"valueFrom": {"secretKeyRef": key}}
    return variables


def _is_sent(asked: Telemetry) -> bool:
    return asked.tracing == "Enabled" or asked.metrics == "Pushed"


def _literal(value: str) -> dict[str, Any]:
    return {"value": value.replace("$", "$$")}
