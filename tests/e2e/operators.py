"""The operator in a story's namespace, with rights in that one alone, and the Tunnels that a story makes there.

The definition of Tunnels belongs to the whole cluster: the suite installs it once (cluster.py).
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from tests.e2e.applications import Applications
from tests.e2e.namespace import Namespace, Thing, eventually
from tests.e2e.release import NAME, SERVER_URL, WITH_IMAGE, install, server_values, start_applications
from tests.e2e.workloads import ECHO_PORT, EXCHANGE_PORT, OTHER_ECHO_PORT

OPERATOR = "sokken-operator"
LEASE = f"lease/{OPERATOR}"
ECHO, EXCHANGE = f"web-sokken:{ECHO_PORT}", f"web-sokken:{EXCHANGE_PORT}"
FORWARDS = {"echo": ECHO_PORT, "exchange": EXCHANGE_PORT}
KINDS = ("serviceaccount", "deployment", "service")
_SMALL: Thing = {"resources": {"requests": {"cpu": "10m", "memory": "64Mi"}}}


def operator_values(namespace: Namespace, **more: object) -> Thing:
    watched = {"watchNamespaces": [namespace.name], "drainTimeoutSeconds": 10, "replicas": 1}
    return {"enabled": True, **_SMALL, **watched, **more}


def release_values(
    namespace: Namespace, server: Mapping[str, Any] | None = None, operator: Mapping[str, Any] | None = None
) -> Thing:
    """A server and an operator."""
    return {
        **WITH_IMAGE,
        "crds": {"install": False},
        "server": server_values(**(server or {})),
        "operator": operator_values(namespace, **(operator or {})),
    }


def begin_with_operator(
    namespace: Namespace, server: Mapping[str, Any] | None = None, operator: Mapping[str, Any] | None = None
) -> Applications:
    """A server with its target, and an operator; the applications that will use Tunnels."""
    applications = start_applications(namespace)
    install(namespace, release_values(namespace, server, operator))
    return applications


def install_operator(namespace: Namespace, **operator: object) -> None:
    """An operator, and no server."""
    wanted = {**release_values(namespace, operator=operator), "server": {"enabled": False}}
    install(namespace, wanted)


def forward(name: str, port: int, **more: object) -> Thing:
    return {"name": name, "listenPort": port, "target": {"host": "target", "port": port}, **more}


def tunnel(name: str = "web", url: str = SERVER_URL, **spec: object) -> Thing:
    """One to the story's server, as small as it can be."""
    return {
        "apiVersion": "sokken.dev/v1alpha1",
        "kind": "Tunnel",
        "metadata": {"name": name},
        "spec": {
            "server": {"url": url},
            "forwards": [forward(each, port) for each, port in FORWARDS.items()],
            "drainTimeoutSeconds": 5,
            "podTemplate": _SMALL,
            **spec,
        },
    }


def with_forwards(**ports: int) -> list[Thing]:
    return [forward(name.replace("_", "-"), port) for name, port in ports.items()]


ALL_FORWARDS = with_forwards(echo=ECHO_PORT, other_echo=OTHER_ECHO_PORT, exchange=EXCHANGE_PORT)


def wait_ready(namespace: Namespace, *names: str) -> None:
    """As a user does."""
    found = [f"tunnel/{name}" for name in names or ("web",)]
    namespace.kubectl("wait", "--for=condition=Ready", *found, "--timeout=150s")


def conditions(namespace: Namespace, name: str = "web") -> dict[str, Thing]:
    status = namespace.get(f"tunnel/{name}").get("status", {})
    return {condition["type"]: condition for condition in status.get("conditions", ())}


def reason(namespace: Namespace, kind: str = "Ready", name: str = "web") -> tuple[str, str] | None:
    """Status and reason of a condition."""
    found = conditions(namespace, name).get(kind)
    return found and (found["status"], found["reason"])


def wait_reason(namespace: Namespace, kind: str, wanted: str, seconds: float = 60.0) -> Thing:
    """The condition, once it has that reason."""
    return eventually(lambda: (found := conditions(namespace).get(kind, {})).get("reason") == wanted and found, seconds)


def child_uid(namespace: Namespace, kind: str, name: str = "web") -> str:
    return namespace.kubectl(
        "get", kind, f"{name}-sokken", "--ignore-not-found", "--output=jsonpath={.metadata.uid}"
    ).strip()


def client_pods(namespace: Namespace, name: str = "web") -> list[Thing]:
    return namespace.pods({"sokken.dev/tunnel": name})


def leader(namespace: Namespace) -> str:
    """The pod that has the Lease; "" if none."""
    holder = namespace.get(LEASE)["spec"].get("holderIdentity") or ""
    return holder.partition("_")[0]


def wait_for_leader(namespace: Namespace, *, other_than: str = "") -> float:
    """Seconds until another has the Lease."""
    began = time.monotonic()
    eventually(lambda: leader(namespace) not in {"", other_than}, every=0.2)
    return time.monotonic() - began


def metrics(namespace: Namespace, pod: str) -> dict[str, float]:
    """The operator's own, by name and labels."""
    url = f"/api/v1/namespaces/{namespace.name}/pods/{pod}:19000/proxy/metrics"
    lines = [line for line in namespace.kubectl("get", "--raw", url).splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def merge(namespace: Namespace, change: Thing, name: str = "web") -> None:
    namespace.kubectl("patch", "tunnel", name, "--type=merge", "--patch", json.dumps(change))


def change_connections(namespace: Namespace, most: int) -> None:
    """Change the Tunnel, and wait until the operator has dealt with that."""
    merge(namespace, {"spec": {"maxConnections": most}})
    generation = namespace.get("tunnel/web")["metadata"]["generation"]
    eventually(lambda: namespace.get("tunnel/web")["status"]["observedGeneration"] == generation)


def uninstall(namespace: Namespace) -> None:
    namespace.helm("uninstall", NAME, "--wait")
