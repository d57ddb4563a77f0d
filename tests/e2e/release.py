"""sokken in the cluster, as a user has it: the chart with some values, and a tunnel from applications to a target."""

import json
from collections.abc import Mapping
from typing import Any

from tests.e2e.applications import Applications
from tests.e2e.cluster import IMAGE
from tests.e2e.namespace import Namespace, Thing
from tests.e2e.tools import ROOT
from tests.e2e.workloads import ECHO_PORT, EXCHANGE_PORT, OTHER_ECHO_PORT, add_programs, add_target

CHART = ROOT / "charts" / "sokken"
NAME = "sokken"
CLIENT, SERVER = "sokken-client", "sokken-server"
ECHO = f"{CLIENT}:{ECHO_PORT}"
OTHER_ECHO = f"{CLIENT}:{OTHER_ECHO_PORT}"
EXCHANGE = f"{CLIENT}:{EXCHANGE_PORT}"
SERVER_URL = f"ws://{SERVER}"
FORWARDS = {"echo": ECHO_PORT, "other-echo": OTHER_ECHO_PORT, "exchange": EXCHANGE_PORT}
_REPOSITORY, _, _TAG = IMAGE.rpartition(":")
WITH_IMAGE: Thing = {"image": {"repository": _REPOSITORY, "tag": _TAG}}
# A drain that a story can wait for; and many pods on one node.
PATIENT: Thing = {
    "drainTimeoutSeconds": 20,
    "endpointDelaySeconds": 5,
    "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
}


def server_values(**more: object) -> Thing:
    targets = [f"target:{port}" for port in FORWARDS.values()]
    return {**PATIENT, "enabled": True, "targets": targets, "replicas": 1, **more}


def client_values(url: str = SERVER_URL, **more: object) -> Thing:
    """A forward to each port of the target, listening on the same."""
    forwards = [
        {"name": name, "listenPort": port, "servicePort": port, "target": {"host": "target", "port": port}}
        for name, port in FORWARDS.items()
    ]
    return {**PATIENT, "enabled": True, "server": {"url": url}, "forwards": forwards, "replicas": 1, **more}


def values(server: Mapping[str, Any] | None = None, client: Mapping[str, Any] | None = None) -> Thing:
    """A server and a client of it, one pod each unless told otherwise."""
    return {
        **WITH_IMAGE,
        "server": server_values(**(server or {})),
        "client": client_values(**(client or {})),
    }


def install(
    namespace: Namespace, wanted: Thing, release: str = NAME, chart: object = CHART, *, wait: bool = True
) -> str:
    """Install or upgrade a release, and wait until it is there unless told not to; what helm said."""
    options = ["--install", "--values", "-", *(["--wait", "--timeout", "150s"] if wait else [])]
    return namespace.helm("upgrade", release, chart, *options, input=json.dumps(wanted))


def start_applications(namespace: Namespace) -> Applications:
    """The two ends of a tunnel that is still to come: applications, and their target."""
    add_programs(namespace)
    add_target(namespace)
    applications = Applications(namespace)
    namespace.wait_for_rollout("target")
    return applications


def begin(namespace: Namespace, wanted: Thing | None = None) -> Applications:
    """A whole tunnel, up and ready; the applications at its one end."""
    applications = start_applications(namespace)
    install(namespace, wanted or values())
    return applications


def pods_of(namespace: Namespace, component: str, release: str = NAME) -> list[Thing]:
    """Of the server or the client, without those on their way out."""
    return namespace.pods({"app.kubernetes.io/instance": release, "app.kubernetes.io/component": component})


def pod_names(namespace: Namespace, component: str, release: str = NAME) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods_of(namespace, component, release)]
