"""The cluster's API server is killed and comes back, as when a control plane is upgraded.

While it starts it refuses connections, and for a moment requests, too: it has not read yet who may do what.
"""

import pytest

from tests.e2e.cluster import restart_api_server
from tests.e2e.namespace import eventually, was_restarted
from tests.e2e.operators import change_connections, conditions, install_operator, leader, reason, tunnel
from tests.e2e.release import pods_of


@pytest.mark.alone
@pytest.mark.timeout(420, func_only=True)
def test_the_operator_goes_on_and_says_nothing_that_is_not_true(namespace):
    install_operator(namespace)
    namespace.apply(tunnel(replicas=0))
    eventually(lambda: reason(namespace) == ("False", "Suspended"))
    (before,) = pods_of(namespace, "operator")
    said = conditions(namespace)

    restart_api_server()
    change_connections(namespace, 11)

    eventually(lambda: leader(namespace) == before["metadata"]["name"])
    (after,) = pods_of(namespace, "operator")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert not was_restarted(after)
    since = {kind: condition["lastTransitionTime"] for kind, condition in said.items()}
    assert {kind: found["lastTransitionTime"] for kind, found in conditions(namespace).items()} == since
