"""A Tunnel's life: applied, ready, edited in every way, scaled, deleted; bytes flow, and nothing is cut."""

from tests.e2e.namespace import eventually, is_ready
from tests.e2e.operators import (
    ALL_FORWARDS,
    ECHO,
    EXCHANGE,
    KINDS,
    begin_with_operator,
    child_uid,
    client_pods,
    conditions,
    merge,
    reason,
    tunnel,
    wait_ready,
)
from tests.e2e.workloads import OTHER_ECHO_PORT

LIVE = 20


def test_from_apply_to_delete(namespace):
    applications = begin_with_operator(namespace)
    namespace.apply(tunnel())
    wait_ready(namespace)
    assert applications.exchange(EXCHANGE, 1_000_000, 1)["right"]
    applications.hold("live", ECHO, LIVE)
    applications.visit("new", ECHO)

    # Another port, and another pod for it: old connections end by themselves, new ones find either.
    merge(namespace, {"spec": {"forwards": ALL_FORWARDS, "drainTimeoutSeconds": 120}})
    wait_ready(namespace)
    eventually(lambda: reason(namespace, "Progressing")[1] in {"RolloutComplete", "Draining"})
    assert applications.exchange(EXCHANGE, 100_000, 2)["right"]
    applications.visit("other", f"web-sokken:{OTHER_ECHO_PORT}")

    merge(namespace, {"spec": {"replicas": 2, "maxConnections": 50}})
    eventually(lambda: sum(is_ready(pod) for pod in client_pods(namespace)) == 2)
    assert child_uid(namespace, "poddisruptionbudget")
    wait_ready(namespace)
    assert applications.report("new")["failed"] == applications.report("other")["failed"] == []

    merge(namespace, {"spec": {"replicas": 0}})
    eventually(lambda: reason(namespace) == ("False", "Suspended"))
    eventually(lambda: client_pods(namespace) == [])
    assert not child_uid(namespace, "poddisruptionbudget")
    assert child_uid(namespace, "service")
    applications.finish("new")
    applications.finish("other")

    merge(namespace, {"spec": {"replicas": 1, "service": {"type": "None"}}})
    wait_ready(namespace)
    assert not child_uid(namespace, "service")

    namespace.kubectl("delete", "tunnel", "web", "--timeout=60s")
    eventually(lambda: not any(child_uid(namespace, kind) for kind in KINDS))
    eventually(lambda: client_pods(namespace) == [])


def test_what_the_operator_writes_is_told_in_the_status_alone(namespace):
    begin_with_operator(namespace)
    namespace.apply(tunnel())
    wait_ready(namespace)
    found = namespace.get("tunnel/web", "--show-managed-fields")
    managers = {entry["manager"]: entry.get("subresource") for entry in found["metadata"]["managedFields"]}
    assert managers.pop("sokken-operator-status") == "status"
    assert set(managers.values()) == {None}
    assert not any("sokken" in manager for manager in managers)
    assert "finalizers" not in found["metadata"]
    assert set(found["metadata"].get("annotations", {})) == {"kubectl.kubernetes.io/last-applied-configuration"}
    assert found["status"]["addresses"][0]["host"] == f"web-sokken.{namespace.name}.svc"
    assert set(conditions(namespace)) == {
        "Ready",
        "Accepted",
        "ReferencesResolved",
        "Available",
        "Progressing",
        "Connected",
    }
    described = namespace.kubectl("describe", "tunnel", "web")
    assert "the server admits this client to every target" in described
