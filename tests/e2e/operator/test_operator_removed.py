"""The operator goes first, then the namespace; or the other way round: nothing waits for anybody."""

import time

import pytest

from tests.e2e import tools
from tests.e2e.namespace import eventually, exists
from tests.e2e.operators import (
    ECHO,
    begin_with_operator,
    child_uid,
    client_pods,
    install_operator,
    reason,
    tunnel,
    uninstall,
    wait_ready,
)
from tests.e2e.release import WITH_IMAGE, install, server_values


@pytest.mark.timeout(420)
def test_without_an_operator_tunnels_go_on_and_can_be_deleted(namespace):
    applications = begin_with_operator(namespace)
    namespace.apply(tunnel())
    wait_ready(namespace)
    applications.hold("live", ECHO, 10)
    (client,) = client_pods(namespace)

    install(namespace, {**WITH_IMAGE, "server": server_values()})
    eventually(lambda: namespace.pods({"app.kubernetes.io/component": "operator"}) == [])
    assert [pod["metadata"]["uid"] for pod in client_pods(namespace)] == [client["metadata"]["uid"]]
    live = applications.report("live")
    assert (live["open"], live["lost"]) == (10, [])

    namespace.kubectl("delete", "tunnel", "web", "--timeout=60s")
    eventually(lambda: not child_uid(namespace, "deployment") and client_pods(namespace) == [])


@pytest.mark.timeout(420)
@pytest.mark.parametrize("first", ["operator", "namespace"])
def test_a_namespace_is_gone_within_a_minute(namespace, first):
    install_operator(namespace)
    namespace.apply(*[tunnel(f"t{n}", replicas=0) for n in range(10)])
    eventually(lambda: all(reason(namespace, name=f"t{n}") == ("False", "Suspended") for n in range(10)))
    if first == "operator":
        uninstall(namespace)
    began = time.monotonic()
    tools.kubectl("delete", "namespace", namespace.name, "--wait=false")
    eventually(lambda: not exists(namespace.name))
    assert time.monotonic() - began < 60
