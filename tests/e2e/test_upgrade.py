"""A release's life: from the version before to this one and back under traffic, and gone without a trace."""

from pathlib import Path

from tests.e2e.namespace import eventually, is_ready
from tests.e2e.release import ECHO, begin, install, pod_names, pods_of, start_applications, values

(BEFORE,) = (Path(__file__).parent / "charts").glob("sokken-*.tgz")
LIVE = 20
DEBUG = {"settings": {"SOKKEN_LOG_DEBUG": True}}


def things(namespace):
    """All that is in a namespace, but for events."""
    listed = namespace.kubectl("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
    kinds = ",".join(kind for kind in listed if not kind.startswith("events"))
    return set(namespace.kubectl("get", kinds, "--output=name", "--ignore-not-found").split())


def test_upgrade_rollback_and_uninstall(namespace):
    applications = start_applications(namespace)
    before = things(namespace)
    install(namespace, values(), chart=BEFORE)
    applications.visit("new", ECHO)

    first = {component: pod_names(namespace, component) for component in ("server", "client")}
    install(namespace, values(server=DEBUG, client=DEBUG))
    second = {component: pod_names(namespace, component) for component in ("server", "client")}
    assert all(set(first[component]).isdisjoint(second[component]) for component in first)
    applications.wait_for_more("new")

    namespace.helm("rollback", "sokken", "1", "--wait", "--timeout", "150s")
    third = {component: pod_names(namespace, component) for component in ("server", "client")}
    assert all(set(second[component]).isdisjoint(third[component]) for component in first)
    applications.wait_for_more("new")
    applications.finish("new")
    assert applications.report("new")["failed"] == []

    namespace.helm("uninstall", "sokken", "--wait")
    eventually(lambda: things(namespace) == before)


def test_an_upgrade_that_cannot_work_replaces_nothing(namespace):
    applications = begin(namespace)
    applications.hold("live", ECHO, LIVE)
    applications.visit("new", ECHO)
    (works,) = pod_names(namespace, "client")

    install(namespace, values(client={"url": "ws://nowhere"}), wait=False)
    (mistaken,) = eventually(lambda: [pod for pod in pod_names(namespace, "client") if pod != works])
    namespace.wait_for_start(mistaken)
    eventually(lambda: any(line["event"] == "server_check_failed" for line in namespace.lines(mistaken)))
    applications.wait_for_more("new", 50)
    assert {pod["metadata"]["name"]: is_ready(pod) for pod in pods_of(namespace, "client")} == {
        works: True,
        mistaken: False,
    }

    namespace.helm("rollback", "sokken", "--wait", "--timeout", "150s")
    assert pod_names(namespace, "client") == [works]
    live, new = applications.report("live"), applications.report("new")
    assert (live["open"], live["lost"], live["failed"], new["failed"]) == (LIVE, [], [], [])
