"""The NetworkPolicy of a Tunnel in mode Managed: applications, the operator and Prometheus come in, the server is met.

A NetworkPolicy knows no host names: what is outside the cluster is any address at the server's port.
"""

from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from sokken.operator.model import Tunnel, TunnelSpec
from sokken.operator.model.names import ADMIN_PORT
from sokken.operator.resources.defaults import Defaults
from sokken.operator.resources.naming import selector_labels

_DNS: Final = [{"protocol": protocol, "port": port} for port in (53, 5353) for protocol in ("UDP", "TCP")]
"""5353 is where OpenShift's resolvers listen behind their Service."""
_PORTS: Final = {"ws": 80, "http": 80, "wss": 443, "https": 443}
_NAMESPACE: Final = "kubernetes.io/metadata.name"


def network_policy_spec(tunnel: Tunnel, defaults: Defaults) -> dict[str, Any]:
    """Who may come, and where the pods may go."""
    spec = tunnel.spec
    hops = [spec.proxy.url if spec.proxy else spec.server.url]
    if spec.telemetry.otlp_endpoint:
        hops.append(spec.telemetry.otlp_endpoint)
    egress = [{"ports": _DNS}, *(rule for url in hops for rule in _toward(url))]
    return {
        "podSelector": {"matchLabels": selector_labels(tunnel)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": _ingress(spec, defaults),
        "egress": [rule for place, rule in enumerate(egress) if rule not in egress[:place]],
    }


def _ingress(spec: TunnelSpec, defaults: Defaults) -> list[dict[str, Any]]:
    forwards: dict[str, Any] = {"ports": [_tcp(forward.listen_port) for forward in spec.forwards]}
    if spec.service.type in ("ClusterIP", "None"):
        forwards = {"from": [{"podSelector": {}}], **forwards}  # from this namespace; else from anywhere
    operator = {"podSelector": {"matchLabels": dict(defaults.operator_labels)}}
    if defaults.operator_namespace:
        operator["namespaceSelector"] = {"matchLabels": {_NAMESPACE: defaults.operator_namespace}}
    prometheus = {"namespaceSelector": {}, "podSelector": {"matchLabels": dict(defaults.metrics_labels)}}
    return [forwards, {"from": [operator, prometheus], "ports": [_tcp(ADMIN_PORT)]}]


def _toward(url: str) -> list[dict[str, Any]]:
    """Rules that let a pod reach a URL's host."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        address = ip_address(host)
    except ValueError:
        return _toward_name(host.rstrip(".").split("."), port)
    return [{"to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}], "ports": [_tcp(port)]}]


def _toward_name(labels: list[str], port: int) -> list[dict[str, Any]]:
    """Of a Service the pods are met, on whichever port they listen: SERVICE, SERVICE.NAMESPACE[.svc…], or outside."""
    outside = {"ports": [_tcp(port)]}
    if len(labels) == 1:
        return [{"to": [{"podSelector": {}}]}]
    inside = {"to": [{"namespaceSelector": {"matchLabels": {_NAMESPACE: labels[1]}}}]}
    if len(labels) == 2:
        return [inside, outside]
    return [inside] if labels[2] == "svc" else [outside]


def _tcp(port: int) -> dict[str, Any]:
    return {"protocol": "TCP", "port": port}
