"""The API server goes away from the operator, by broken connections and by silence, and comes back.

The operator speaks to it through a proxy in its own pod, which the story ends and freezes: so it happens to this
operator alone. (On 127.0.0.1 the API server's certificate is good, too.)
"""

import time

import pytest

from tests.e2e.cluster import PROXY_IMAGE
from tests.e2e.namespace import eventually, was_restarted
from tests.e2e.operators import change_connections, install_operator, leader, reason, tunnel
from tests.e2e.release import pods_of

HAPROXY = (
    "printf 'defaults\\n mode tcp\\n timeout connect 5s\\n timeout client 1h\\n timeout server 1h\\n"
    "listen api\\n bind 127.0.0.1:6443\\n server api kubernetes.default.svc:443\\n' > /tmp/proxy.cfg "
    "&& exec haproxy -db -f /tmp/proxy.cfg"
)
SIDECAR = {
    "name": "proxy",
    "image": PROXY_IMAGE,
    "imagePullPolicy": "IfNotPresent",
    "command": ["sh", "-c", HAPROXY],
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
}
THROUGH = {
    "extraContainers": [SIDECAR],
    "extraEnv": [
        {"name": "KUBERNETES_SERVICE_HOST", "value": "127.0.0.1"},
        {"name": "KUBERNETES_SERVICE_PORT", "value": "6443"},
        {"name": "KUBERNETES_SERVICE_PORT_HTTPS", "value": "6443"},
    ],
}


def signal(namespace, pod, name):
    """Send a signal to the proxy; it is the first process of its container, and its worker the one that serves."""
    script = f"for p in $(pidof haproxy); do kill -{name} $p; done"
    namespace.kubectl("exec", pod, "--container=proxy", "--", "sh", "-c", script)


@pytest.mark.timeout(420)
def test_it_goes_on_when_the_api_server_is_back(namespace):
    install_operator(namespace, **THROUGH)
    namespace.apply(tunnel(replicas=0))
    eventually(lambda: reason(namespace) == ("False", "Suspended"))
    (pod,) = [pod["metadata"]["name"] for pod in pods_of(namespace, "operator")]

    signal(namespace, pod, "TERM")  # its container starts again within seconds
    change_connections(namespace, 11)

    signal(namespace, pod, "STOP")
    time.sleep(20)  # longer than who works goes on without its Lease; nothing could be waited for meanwhile
    signal(namespace, pod, "CONT")
    change_connections(namespace, 12)
    eventually(lambda: leader(namespace) == pod)
    found = namespace.get(f"pod/{pod}")
    assert not was_restarted(
        {"status": {"containerStatuses": [c for c in found["status"]["containerStatuses"] if c["name"] == "operator"]}}
    )
