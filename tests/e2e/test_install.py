"""`helm install`, and then `helm test`: does it move bytes, and does it fail when it cannot?"""

from tests.e2e.namespace import is_ready
from tests.e2e.release import install, pods_of, start_applications, values
from tests.e2e.tools import refused

# How long a forward must stay open to be one that leads to its target.
SETTINGS = {"settings": {"SOKKEN_CONNECT_TIMEOUT_SECONDS": 5}}
WITH_ECHO = {"helmTest": {"echo": {"enabled": True}, "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}}}}


def test_helm_test_moves_bytes_through_client_and_server(namespace):
    start_applications(namespace)
    said = install(namespace, {**values(client=SETTINGS), **WITH_ECHO})
    assert "helm test sokken" in said
    for component in ("server", "client"):
        (pod,) = pods_of(namespace, component)
        assert is_ready(pod)
    said = namespace.helm("test", "sokken", "--timeout", "90s", "--logs")
    assert "back as they were" in said


def test_helm_test_fails_while_no_server_answers(namespace):
    install(namespace, {**values(client=SETTINGS), **WITH_ECHO})
    namespace.kubectl("scale", "deployment/sokken-server", "--replicas=0")
    namespace.kubectl("wait", "--for=delete", "pod", "--selector=app.kubernetes.io/component=server", "--timeout=90s")
    said = refused("helm", "--namespace", namespace.name, "test", "sokken", "--timeout", "90s")
    assert "failed" in said.lower()
