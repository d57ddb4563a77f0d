"""A hundred Tunnels, ninety of them suspended: settled within two minutes, and then next to nothing is written."""

import time

import pytest

from tests.e2e.namespace import eventually
from tests.e2e.operators import begin_with_operator, leader, metrics, tunnel

MANY, RUNNING = 100, 10
MEBIBYTE = 1024 * 1024


def settled(namespace):
    found = namespace.get("tunnels")["items"]
    reasons = [
        next((c["reason"] for c in each.get("status", {}).get("conditions", ()) if c["type"] == "Ready"), "")
        for each in found
    ]
    return (reasons.count("Ready"), reasons.count("Suspended"))


def versions(namespace):
    kinds = "tunnels,deployments,services,serviceaccounts"
    return {each["metadata"]["uid"]: each["metadata"]["resourceVersion"] for each in namespace.get(kinds)["items"]}


def quiet_for(namespace, seconds):
    before = versions(namespace)
    time.sleep(seconds)
    return versions(namespace) == before


@pytest.mark.timeout(600)
def test_a_hundred_tunnels(namespace):
    begin_with_operator(namespace)
    began = time.monotonic()
    namespace.apply(*[tunnel(f"t{n:03}", replicas=int(n < RUNNING)) for n in range(MANY)])
    eventually(lambda: settled(namespace) == (RUNNING, MANY - RUNNING), seconds=150)
    assert time.monotonic() - began < 120
    for kind in ("deployments", "services", "serviceaccounts"):
        assert len(namespace.get(kind, "--selector=app.kubernetes.io/managed-by=sokken-operator")["items"]) == MANY

    pod = leader(namespace)
    script = "import re;print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/1/status').read())[1])"
    peak = int(namespace.kubectl("exec", pod, "--", "python", "-c", script)) * 1024
    assert peak <= 120 * MEBIBYTE, f"{peak / MEBIBYTE:.0f} MiB"

    eventually(lambda: quiet_for(namespace, 10), seconds=60)  # what the last pods to come up have still to be told of
    assert quiet_for(namespace, 60), "an idle operator has written something"
    told = metrics(namespace, pod)
    assert told['sokken_operator_tunnels{ready="True",role="operator"}'] == RUNNING
    assert told['sokken_operator_queue_depth{role="operator"}'] == 0
