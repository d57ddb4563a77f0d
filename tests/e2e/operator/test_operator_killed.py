"""Operators that end, in order or by force, at any step: another goes on, nothing stays half done, no pod moves."""

import time

import pytest

from tests.e2e.namespace import eventually
from tests.e2e.operators import (
    ECHO,
    OPERATOR,
    begin_with_operator,
    client_pods,
    leader,
    merge,
    reason,
    tunnel,
    wait_for_leader,
    wait_ready,
)
from tests.e2e.release import pod_names, pods_of

LIVE = 10


def kill(namespace, pod):
    """As a machine that loses its power does."""
    namespace.kubectl("delete", "pod", pod, "--grace-period=0", "--force")


@pytest.mark.timeout(420)
def test_of_two_operators_one_works_and_the_other_goes_on(namespace):
    applications = begin_with_operator(namespace, operator={"replicas": 2})
    namespace.apply(tunnel())
    wait_ready(namespace)
    applications.hold("live", ECHO, LIVE)
    (client,) = client_pods(namespace)
    first = leader(namespace)
    assert {pod["metadata"]["name"] for pod in pods_of(namespace, "operator")} > {first}

    namespace.kubectl("delete", "pod", first, "--wait=false")
    assert wait_for_leader(namespace, other_than=first) < 10

    namespace.wait_for_rollout(OPERATOR)
    second = leader(namespace)
    kill(namespace, second)
    assert wait_for_leader(namespace, other_than=second) < 20 + 5  # and what asking the cluster takes

    namespace.kubectl("rollout", "restart", f"deployment/{OPERATOR}")
    namespace.wait_for_rollout(OPERATOR)
    merge(namespace, {"spec": {"service": {"labels": {"a": "b"}}}})
    eventually(lambda: namespace.get("service/web-sokken")["metadata"]["labels"].get("a") == "b")
    assert [pod["metadata"]["uid"] for pod in client_pods(namespace)] == [client["metadata"]["uid"]]
    live = applications.report("live")
    assert (live["open"], live["lost"], live["failed"]) == (LIVE, [], [])


@pytest.mark.timeout(420)
def test_one_that_is_killed_at_each_step_leaves_nothing_half_done(namespace):
    begin_with_operator(namespace)
    services = ["ClusterIP", "None", "ClusterIP", "None", "ClusterIP"]
    for number, service in enumerate(services):
        namespace.apply(tunnel(replicas=0, service={"type": service}, maxConnections=10 + number))
        time.sleep(0.3 * number)  # at another step each time
        for pod in pod_names(namespace, "operator"):
            kill(namespace, pod)
        generation = namespace.get("tunnel/web")["metadata"]["generation"]
        eventually(lambda: namespace.get("tunnel/web").get("status", {}).get("observedGeneration") == generation)  # noqa: B023
        found = namespace.get("services", "--selector=sokken.dev/tunnel=web")["items"]
        assert len(found) == (service != "None")
        assert reason(namespace) == ("False", "Suspended")
