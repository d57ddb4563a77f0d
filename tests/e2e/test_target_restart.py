"""The target's pod is restarted: sokken passes on what happens to it, and is itself not touched."""

from tests.e2e.namespace import eventually, is_ready, was_restarted
from tests.e2e.release import ECHO, begin, pods_of

LIVE = 20


def test_connections_come_back_with_their_target(namespace):
    applications = begin(namespace)
    applications.hold("live", ECHO, LIVE)
    before = {pod["metadata"]["uid"] for component in ("server", "client") for pod in pods_of(namespace, component)}
    (target,) = namespace.pods({"app": "target"})
    gone = applications.now()
    namespace.kubectl("delete", "pod", target["metadata"]["name"])
    eventually(lambda: len(applications.report("live")["lost"]) == LIVE)
    namespace.wait_for_rollout("target")
    eventually(lambda: applications.report("live")["open"] == LIVE)
    live = applications.report("live")
    assert all(lost["at"] > gone for lost in live["lost"])
    # The target ended them, and then nobody listened: the applications are told, and do not hang.
    assert {lost["how"] for lost in live["lost"]} <= {"ended", "reset"}
    assert {failed["how"] for failed in live["failed"]} <= {"reset"}
    after = [pod for component in ("server", "client") for pod in pods_of(namespace, component)]
    assert {pod["metadata"]["uid"] for pod in after} == before
    assert all(is_ready(pod) and not was_restarted(pod) for pod in after)
