"""`kubectl rollout restart` under 100 live connections and ten new ones a second: what users would notice of it.

Half of the live connections end by themselves while the old pods drain, and do so in order; the others are cut, by a
reset, when the drain time is over and not before, and are made again. No new one fails.
"""

from contextlib import ExitStack

import pytest

from tests.e2e.drains import CLOCK, assert_nothing_was_cut_before_its_time, follow
from tests.e2e.namespace import eventually, was_restarted
from tests.e2e.release import ECHO, begin, pod_names, pods_of, values

LIVE = 100
PODS = 2


@pytest.mark.parametrize("components", [["server"], ["client"], ["server", "client"]], ids="-and-".join)
def test_a_rolling_restart_cuts_nothing_before_its_time(namespace, folder, components):
    applications = begin(namespace, values(server={"replicas": PODS}, client={"replicas": PODS}))
    applications.hold("live", ECHO, LIVE)
    applications.visit("new", ECHO)
    with ExitStack() as stack:
        before = {component: set(pod_names(namespace, component)) for component in ("server", "client")}
        leaving = follow(stack, namespace, [pod for component in components for pod in before[component]], folder)
        assert len(leaving) == PODS * len(components)
        for component in components:
            namespace.kubectl("rollout", "restart", f"deployment/sokken-{component}")
        eventually(lambda: any(pod.events("draining") for pod in leaving))
        applications.finish("live", LIVE // 2)
        applications.wait_finished("live", LIVE // 2)
        deadline = assert_nothing_was_cut_before_its_time(leaving)
    namespace.wait_for_rollout(*(f"sokken-{component}" for component in components))
    eventually(lambda: applications.report("live")["open"] == LIVE - LIVE // 2)
    applications.wait_for_more("new")
    live, new = applications.report("live"), applications.report("new")
    # Who is reset and dials again at once may meet the kernel's memory of its last connection (applications.py), and
    # dials once more: that all are open again is above.
    assert (live["finished"], new["failed"]) == (LIVE // 2, [])
    assert {lost["how"] for lost in live["lost"]} == {"reset"}
    assert min(lost["at"] for lost in live["lost"]) >= deadline - CLOCK
    for component in ("server", "client"):
        pods = pods_of(namespace, component)
        assert len(pods) == PODS
        assert not any(was_restarted(pod) for pod in pods)
        stayed = before[component] & {pod["metadata"]["name"] for pod in pods}
        assert stayed == (set() if component in components else before[component])
