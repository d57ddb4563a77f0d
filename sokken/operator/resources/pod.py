"""The pod template of a Tunnel's Deployment: a restricted pod with one container, the client.

What is rendered here rolls every Tunnel when it changes, and so a golden test holds it, byte for byte
(tests/unit/operator/resources/golden).
"""

from typing import Any, Final

from sokken.operator.model import Tunnel, TunnelSpec
from sokken.operator.model.names import ADMIN_PORT, HEALTH_PORT, RESERVED_PREFIX
from sokken.operator.resources import credentials
from sokken.operator.resources.defaults import Defaults, choose_image
from sokken.operator.resources.environment import ENDPOINT_DELAY_SECONDS, client_environment, connection_hash
from sokken.operator.resources.naming import Annotation, child_name, common_labels, selector_labels

ADMIN: Final = f"{RESERVED_PREFIX}admin"
HEALTH: Final = f"{RESERVED_PREFIX}health"
CONTAINER: Final = "client"

_MARGIN_SECONDS: Final = 15
"""What the way out takes besides draining: resets, and telemetry that waits 5 s for its collector."""
_RESOURCES: Final = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}
_NO_PRIVILEGES: Final = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def pod_template(tunnel: Tunnel, defaults: Defaults) -> dict[str, Any]:
    """Metadata and spec of the pods."""
    wanted = tunnel.spec.pod_template
    return {
        "metadata": present(
            labels={**wanted.labels, **common_labels(tunnel)},
            annotations={**wanted.annotations, Annotation.CONNECTION_HASH.value: connection_hash(tunnel.spec)},
        ),
        "spec": _pod_spec(tunnel, defaults),
    }


def grace_seconds(spec: TunnelSpec) -> int:
    """How long a pod may take to go: never less than its drain needs."""
    return ENDPOINT_DELAY_SECONDS + spec.drain_timeout_seconds + _MARGIN_SECONDS


def present(**fields: Any) -> dict[str, Any]:  # noqa: ANN401 -- JSON
    """Only those that are there: a null or an empty list would be written again and again."""
    return {name: value for name, value in fields.items() if value not in (None, {}, [], ())}


def _pod_spec(tunnel: Tunnel, defaults: Defaults) -> dict[str, Any]:
    wanted = tunnel.spec.pod_template
    own = wanted.dump()
    passed: dict[str, Any] = {name: own[name] for name in _PASSED_ON if name in own}
    volume = credentials.volume(tunnel.spec)
    named = wanted.service_account_name
    return {
        **passed,
        **present(
            containers=[_container(tunnel, defaults)],
            volumes=[volume] if volume else [],
            serviceAccountName=named or child_name(tunnel.name),
            # A ServiceAccount of ours has them itself: another one is no reason to roll pods.
            imagePullSecrets=pull_secrets(tunnel.spec, defaults) if named else [],
            topologySpreadConstraints=_spread(tunnel, own.get("topologySpreadConstraints", [])),
            terminationGracePeriodSeconds=grace_seconds(tunnel.spec),
            securityContext=_pod_security(own.get("securityContext", {})),
        ),
        "automountServiceAccountToken": False,
        # Variables for each Service of the namespace: one called "sokken" would look like our settings.
        "enableServiceLinks": False,
    }


_PASSED_ON: Final = (
    "nodeSelector",
    "tolerations",
    "affinity",
    "priorityClassName",
    "runtimeClassName",
    "dnsPolicy",
    "dnsConfig",
    "hostAliases",
)


def pull_secrets(spec: TunnelSpec, defaults: Defaults) -> list[dict[str, str]]:
    """The operator's and the Tunnel's own, each once."""
    names = [*defaults.image_pull_secrets, *(secret.name for secret in spec.pod_template.image_pull_secrets)]
    return [{"name": name} for name in dict.fromkeys(names)]


def _container(tunnel: Tunnel, defaults: Defaults) -> dict[str, Any]:
    spec = tunnel.spec
    resources = _RESOURCES if spec.pod_template.resources is None else spec.pod_template.resources.dump()
    mount = {"name": credentials.VOLUME, "mountPath": credentials.MOUNT_PATH, "readOnly": True}
    return present(
        name=CONTAINER,
        image=choose_image(spec.image, defaults.image),
        imagePullPolicy=spec.image.pull_policy or defaults.image_pull_policy,
        args=["client"],
        env=client_environment(tunnel),
        ports=[
            *({"name": forward.name, "containerPort": forward.listen_port} for forward in spec.forwards),
            {"name": ADMIN, "containerPort": ADMIN_PORT},
            {"name": HEALTH, "containerPort": HEALTH_PORT},
        ],
        startupProbe=_probe("/livez", period=1, timeout=3, failures=60),
        livenessProbe=_probe("/livez", period=10, timeout=5, failures=6),
        readinessProbe=_probe("/readyz", period=5, timeout=3, failures=2),
        resources=resources,
        securityContext=_NO_PRIVILEGES,
        volumeMounts=[mount] if credentials.volume(spec) else [],
    )


def _probe(path: str, *, period: int, timeout: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": HEALTH},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _pod_security(wanted: dict[str, Any]) -> dict[str, Any]:
    """Restricted. Without a user: the image's has a number that is not 0, and OpenShift gives its own."""
    seccomp = {"type": "RuntimeDefault", **wanted.get("seccompProfile", {})}
    return {"runAsNonRoot": True, **wanted, "seccompProfile": seccomp}


def _spread(tunnel: Tunnel, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As wanted, else over nodes as far as that is possible: a hard rule would stop roll-outs in a small cluster."""
    over_nodes = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    pods = {"labelSelector": {"matchLabels": selector_labels(tunnel)}}
    return [{**pods, **constraint} for constraint in wanted or [over_nodes]]
