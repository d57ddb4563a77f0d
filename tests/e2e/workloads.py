"""What stands around sokken in a story: its target, the applications, an ingress. Pods, as restricted as any.

The programs of `apps/` run on the Python of sokken's own image, mounted from a ConfigMap.
"""

import base64
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.cluster import IMAGE, PROXY_IMAGE
from tests.e2e.namespace import Namespace, Thing

APPS = Path(__file__).parent / "apps"
ECHO_PORT, OTHER_ECHO_PORT, EXCHANGE_PORT = 7007, 7008, 7009
APPLICATIONS_PORT = 8080
INGRESS_PORT = 8443
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_NOBODY = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}


def add_programs(namespace: Namespace) -> None:
    namespace.apply(config_map("programs", {path.name: path.read_text() for path in APPS.glob("*.py")}))


def add_target(namespace: Namespace) -> None:
    """``target``: two echoes and an exchange."""
    namespace.apply(*_program("target", "target", ECHO_PORT, OTHER_ECHO_PORT, EXCHANGE_PORT))


def add_applications(namespace: Namespace, name: str) -> None:
    """A pod of applications, told what to do by ``Applications``."""
    namespace.apply(*_program(name, "applications", APPLICATIONS_PORT))


def add_ingress(namespace: Namespace, name: str) -> None:
    """``haproxy`` or ``nginx``, before ``sokken-server``; its certificate is in the Secret ``ingress``."""
    command = {
        "haproxy": ["haproxy", "-db", "-f", "/etc/proxy/haproxy.cfg"],
        "nginx": ["nginx", "-c", "/etc/proxy/nginx.conf", "-e", "/dev/stderr", "-g", "daemon off;"],
    }[name]
    certificate = {"name": "tls", "secret": {"secretName": "ingress"}}
    namespace.apply(*_workload(name, PROXY_IMAGE, command, certificate, "/tls", INGRESS_PORT))


def config_map(name: str, files: Mapping[str, str]) -> Thing:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(files)}


def secret(name: str, files: Mapping[str, str | bytes]) -> Thing:
    encoded = {
        key: base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()
        for key, text in files.items()
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


def tls_secret(name: str, certificate: Path) -> Thing:
    """Of a certificate that tests.support.certificates has issued."""
    crt, key = (certificate.with_suffix(suffix).read_bytes() for suffix in (".crt", ".key"))
    return {**secret(name, {"tls.crt": crt, "tls.key": key}), "type": "kubernetes.io/tls"}


def _program(name: str, program: str, *ports: int) -> list[Thing]:
    programs = {"name": "programs", "configMap": {"name": "programs"}}
    return _workload(name, IMAGE, ["python", "-u", f"/programs/{program}.py"], programs, "/programs", *ports)


def _workload(name: str, image: str, command: list[str], volume: Thing, where: str, *ports: int) -> list[Thing]:
    """A Deployment of one pod, and a Service, which is there for its ports."""
    labels = {"app": name}
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": _RESTRICTED,
        "ports": [{"containerPort": port} for port in ports],
        "readinessProbe": {"tcpSocket": {"port": ports[0]}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
        "volumeMounts": [{"name": volume["name"], "mountPath": where}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 2,
        "securityContext": _NOBODY,
        "containers": [container],
        "volumes": [volume, {"name": "tmp", "emptyDir": {}}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"name": f"p{port}", "port": port} for port in ports]},
    }
    return [deployment, service]
