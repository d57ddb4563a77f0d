"""`kubectl scale` to fewer pods under load is as gentle as a roll-out."""

from contextlib import ExitStack

import pytest

from tests.e2e.drains import CLOCK, assert_nothing_was_cut_before_its_time, follow
from tests.e2e.namespace import eventually
from tests.e2e.release import ECHO, begin, pod_names, values

LIVE = 60
PODS = 3


@pytest.mark.parametrize("component", ["server", "client"])
def test_what_goes_finishes_first(namespace, folder, component):
    applications = begin(namespace, values(**{component: {"replicas": PODS}}))
    applications.hold("live", ECHO, LIVE)
    applications.visit("new", ECHO)
    with ExitStack() as stack:
        everybody = {pod.pod: pod for pod in follow(stack, namespace, pod_names(namespace, component), folder)}
        namespace.kubectl("scale", f"deployment/sokken-{component}", "--replicas=1")
        eventually(lambda: len(pod_names(namespace, component)) == 1)
        (stays,) = pod_names(namespace, component)
        leaving = [pod for name, pod in everybody.items() if name != stays]
        deadline = assert_nothing_was_cut_before_its_time(leaving)
    eventually(lambda: applications.report("live")["open"] == LIVE)
    applications.wait_for_more("new")
    live, new = applications.report("live"), applications.report("new")
    assert (live["failed"], new["failed"]) == ([], [])
    assert {lost["how"] for lost in live["lost"]} <= {"reset"}
    assert all(lost["at"] >= deadline - CLOCK for lost in live["lost"])
    assert not everybody[stays].events("leaving")
