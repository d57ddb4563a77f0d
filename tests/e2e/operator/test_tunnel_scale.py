"""`kubectl apply --server-side`, `kubectl scale` and an autoscaler work on one Tunnel together."""

import json

from tests.e2e.namespace import eventually
from tests.e2e.operators import install_operator, reason, tunnel
from tests.e2e.tools import refused


def replicas(namespace):
    return namespace.get("deployment/web-sokken")["spec"]["replicas"]


def apply_server_side(namespace, thing, *options):
    namespace.kubectl("apply", "--server-side", *options, "--filename", "-", input=json.dumps(thing))


def test_several_writers(namespace):
    install_operator(namespace)
    manifest = tunnel(replicas=0)
    apply_server_side(namespace, manifest)
    eventually(lambda: reason(namespace) == ("False", "Suspended"))

    # As the HorizontalPodAutoscaler's controller does: through /scale, under its own name.
    scale = {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "web", "namespace": namespace.name},
        "spec": {"replicas": 2},
    }
    url = f"/apis/sokken.dev/v1alpha1/namespaces/{namespace.name}/tunnels/web/scale"
    namespace.kubectl("replace", "--raw", url, "--filename", "-", input=json.dumps(scale))
    eventually(lambda: replicas(namespace) == 2)
    found = json.loads(namespace.kubectl("get", "--raw", url))
    assert found["status"]["selector"] == "sokken.dev/tunnel=web"

    # Who goes on saying how many is told whose they are; who leaves it out keeps the autoscaler's number.
    said = refused(
        *("kubectl", "--namespace", namespace.name, "apply", "--server-side", "--filename", "-"),
        input=json.dumps(tunnel(replicas=0, maxConnections=7)),
    )
    assert ".spec.replicas" in said
    without = tunnel(maxConnections=9)
    without["spec"].pop("replicas", None)
    apply_server_side(namespace, without)
    eventually(lambda: namespace.get("tunnel/web")["status"]["observedGeneration"] >= 3)
    assert replicas(namespace) == 2

    namespace.kubectl("scale", "tunnel/web", "--replicas=0")
    eventually(lambda: replicas(namespace) == 0)

    # Whoever scales the Deployment itself is set back, and told where he should.
    direct = ("patch", "deployment", "web-sokken", "--subresource=scale", "--field-manager=an-autoscaler")
    namespace.kubectl(*direct, "--type=merge", '--patch={"spec":{"replicas":3}}')
    eventually(lambda: replicas(namespace) == 0)
    eventually(lambda: reason(namespace, "Progressing") == ("False", "ReplicasContested"))
