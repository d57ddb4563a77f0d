"""All objects that a Tunnel stands for.

Each carries its owner, so that the garbage collector takes it when the Tunnel goes, with or without an operator; no
finalizer is needed.
"""

from dataclasses import dataclass
from typing import Any, Final

from sokken.operator.model import API_VERSION, KIND, Tunnel
from sokken.operator.resources.defaults import Defaults
from sokken.operator.resources.naming import (
    Annotation,
    Manifest,
    child_name,
    common_labels,
    hash_of,
    selector_labels,
)
from sokken.operator.resources.network_policy import network_policy_spec
from sokken.operator.resources.pod import ADMIN, pod_template, present, pull_secrets


@dataclass(frozen=True, slots=True)
class ChildKind:
    """A kind of objects that a Tunnel may own."""

    api_version: str
    kind: str
    plural: str


SERVICE_ACCOUNT: Final = ChildKind("v1", "ServiceAccount", "serviceaccounts")
DEPLOYMENT: Final = ChildKind("apps/v1", "Deployment", "deployments")
SERVICE: Final = ChildKind("v1", "Service", "services")
DISRUPTION_BUDGET: Final = ChildKind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY: Final = ChildKind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
POD_MONITOR: Final = ChildKind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors")
CHILD_KINDS: Final = (SERVICE_ACCOUNT, NETWORK_POLICY, DEPLOYMENT, SERVICE, DISRUPTION_BUDGET, POD_MONITOR)
"""In the order in which they are applied."""

_FEW_REPLICAS: Final = 4


def build(tunnel: Tunnel, defaults: Defaults) -> tuple[Manifest, ...]:
    """Every object that there shall be, and no other, in the order in which they are applied."""
    spec = tunnel.spec
    wanted: list[Manifest] = []
    if spec.pod_template.service_account_name is None:
        wanted.append(_service_account(tunnel, defaults))
    if spec.network_policy.mode == "Managed" and defaults.has_network_policies:
        wanted.append(_object(tunnel, NETWORK_POLICY, spec=network_policy_spec(tunnel, defaults)))
    wanted.append(_deployment(tunnel, defaults))
    if spec.service.type != "None":
        wanted.append(_service(tunnel))
    if spec.replicas > 1:
        wanted.append(_disruption_budget(tunnel))
    if spec.monitoring.pod_monitor.enabled and defaults.has_pod_monitors:
        wanted.append(_pod_monitor(tunnel))
    for manifest in wanted:
        _stamp(manifest)
    return tuple(wanted)


def _object(
    tunnel: Tunnel,
    kind: ChildKind,
    *,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **content: Any,  # noqa: ANN401 -- JSON
) -> Manifest:
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": tunnel.name,
        "uid": tunnel.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": child_name(tunnel.name),
            "namespace": tunnel.namespace,
            "labels": {**(labels or {}), **common_labels(tunnel)},
            "annotations": dict(annotations or {}),
            "ownerReferences": [owner],
        },
        **content,
    }


def _stamp(manifest: Manifest) -> None:
    """The template has a hash of its own: it may be held back while the rest is applied."""
    rendered = {**manifest, "spec": {**manifest.get("spec", {})}}
    rendered["spec"].pop("template", None)
    manifest["metadata"]["annotations"][Annotation.MANIFEST_HASH.value] = hash_of(rendered)


def _service_account(tunnel: Tunnel, defaults: Defaults) -> Manifest:
    content = present(imagePullSecrets=pull_secrets(tunnel.spec, defaults))
    return _object(tunnel, SERVICE_ACCOUNT, automountServiceAccountToken=False, **content)


def _deployment(tunnel: Tunnel, defaults: Defaults) -> Manifest:
    template = pod_template(tunnel, defaults)
    annotations = {
        Annotation.TEMPLATE_HASH.value: hash_of(template),
        Annotation.SPEC_HASH.value: spec_hash(tunnel),
    }
    # maxUnavailable 0: a new pod must be ready, which is to say admitted by the server, before an old one goes.
    strategy = {"maxUnavailable": 0, "maxSurge": 1 if tunnel.spec.replicas <= _FEW_REPLICAS else "25%"}
    spec = {
        "replicas": tunnel.spec.replicas,
        "selector": {"matchLabels": selector_labels(tunnel)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": strategy},
        "minReadySeconds": 5,
        "progressDeadlineSeconds": 600,
        "revisionHistoryLimit": 3,
        "template": template,
    }
    return _object(tunnel, DEPLOYMENT, annotations=annotations, spec=spec)


def spec_hash(tunnel: Tunnel) -> str:
    """Of what a user has said about pods. What he left out is not in it, so that a new field changes no hash."""
    said = tunnel.spec.dump()
    return hash_of({name: value for name, value in said.items() if name not in ("replicas", "updatePolicy")})


def _service(tunnel: Tunnel) -> Manifest:
    wanted = tunnel.spec.service
    ports = [
        present(
            name=forward.name,
            port=forward.exposed_port,
            targetPort=forward.name,
            protocol="TCP",
            appProtocol=forward.app_protocol,
        )
        for forward in tunnel.spec.forwards
    ]
    spec = present(
        type=wanted.type,
        selector=selector_labels(tunnel),
        ports=ports,
        trafficDistribution=wanted.traffic_distribution,
    )
    return _object(tunnel, SERVICE, labels=wanted.labels, annotations=wanted.annotations, spec=spec)


def _disruption_budget(tunnel: Tunnel) -> Manifest:
    """One at a time. Not for a single pod: it would block the draining of its node for ever."""
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": selector_labels(tunnel)},
    }
    return _object(tunnel, DISRUPTION_BUDGET, spec=spec)


def _pod_monitor(tunnel: Tunnel) -> Manifest:
    wanted = tunnel.spec.monitoring.pod_monitor
    spec = {
        "selector": {"matchLabels": selector_labels(tunnel)},
        "podMetricsEndpoints": [{"port": ADMIN, "path": "/metrics", "interval": wanted.interval}],
    }
    return _object(tunnel, POD_MONITOR, labels=wanted.labels, spec=spec)
