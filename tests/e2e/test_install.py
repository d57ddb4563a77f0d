"""`helm install`, and then `helm test`: does it move bytes, and does it fail when it cannot?"""

from tests.e2e.namespace import is_ready
from tests.e2e.release import install, pods_of, values
from tests.e2e.tools import refused

WITH_ECHO = {"helmTest": {"echo": {"enabled": True}}}


def test_helm_test_moves_bytes_through_client_and_server(namespace):
    said = install(namespace, {**values(), **WITH_ECHO})
    assert "helm test sokken" in said
    for component in ("server", "client"):
        (pod,) = pods_of(namespace, component)
        assert is_ready(pod)
    assert "Succeeded" in namespace.helm("test", "sokken", "--timeout", "90s")


def test_helm_test_fails_while_no_server_answers(namespace):
    install(namespace, {**values(), **WITH_ECHO})
    namespace.kubectl("scale", "deployment/sokken-server", "--replicas=0")
    namespace.kubectl("wait", "--for=delete", "pod", "--selector=app.kubernetes.io/component=server", "--timeout=90s")
    said = refused("helm", "--namespace", namespace.name, "test", "sokken", "--timeout", "90s")
    assert "failed" in said.lower()
