"""What the operator may do in the whole cluster: what the chart's roles say, and no Secret."""

import pytest

from tests.e2e.operators import OPERATOR, release_values
from tests.e2e.release import install
from tests.support.services import run


@pytest.mark.timeout(180)
def test_in_the_whole_cluster(namespace):
    """Without a pod: it would serve the other stories' Tunnels, too."""
    wanted = {
        **release_values(namespace, operator={"replicas": 0, "watchNamespaces": []}),
        "server": {"enabled": False},
    }
    install(namespace, wanted)
    account = f"system:serviceaccount:{namespace.name}:{OPERATOR}"

    def may(verb, resource, *where):
        said = run("kubectl", "auth", "can-i", verb, resource, f"--as={account}", *(where or ("--all-namespaces",)))
        return said.stdout.strip() == "yes"

    assert all(may(verb, "tunnels.sokken.dev") for verb in ("get", "list", "watch"))
    assert all(may(verb, "deployments.apps") for verb in ("get", "list", "watch", "create", "patch", "delete"))
    assert may("patch", "tunnels.sokken.dev", "--subresource=status", "--all-namespaces")
    assert may("update", f"leases.coordination.k8s.io/{OPERATOR}", f"--namespace={namespace.name}")
    assert not may("update", "leases.coordination.k8s.io/another", f"--namespace={namespace.name}")
    for verb in ("get", "list", "watch", "create", "update", "patch", "delete"):
        assert not may(verb, "secrets")
    assert not may("create", "tunnels.sokken.dev")
    assert not may("update", "roles.rbac.authorization.k8s.io")
    assert not may("get", "pods", "--subresource=log", "--all-namespaces")
    namespace.helm("uninstall", "sokken", "--wait")
