"""What others do to a Tunnel's children is mended within ten seconds; what is not a Tunnel's is never touched."""

import json
import time

import pytest

from tests.e2e.namespace import eventually
from tests.e2e.operators import KINDS, child_uid, install_operator, reason, tunnel

SOON = 10.0
SUSPENDED = {"replicas": 0}


@pytest.fixture
def mending(namespace):
    """A namespace with a Tunnel that has no pods, which mending needs none of."""
    install_operator(namespace)
    namespace.apply(tunnel(**SUSPENDED))
    eventually(lambda: reason(namespace) == ("False", "Suspended"))
    return namespace


def test_children_that_are_deleted_or_edited(mending):
    namespace = mending
    for kind in KINDS:
        before = child_uid(namespace, kind)
        namespace.kubectl("delete", kind, "web-sokken", "--wait=false")
        began = time.monotonic()
        eventually(lambda: child_uid(namespace, kind) not in {"", before}, SOON)  # noqa: B023
        assert time.monotonic() - began < SOON

    port = {"name": "mine", "port": 9, "protocol": "TCP"}
    for kind, change, path, wanted in [
        ("service", {"spec": {"selector": {"app": "mine"}}}, ("spec", "selector", "app"), None),
        ("service", {"spec": {"ports": [port]}}, ("spec", "ports"), ["echo", "exchange"]),
        ("deployment", {"spec": {"replicas": 3}}, ("spec", "replicas"), 0),
        ("serviceaccount", {"automountServiceAccountToken": True}, ("automountServiceAccountToken",), False),
    ]:
        namespace.kubectl("patch", kind, "web-sokken", "--type=merge", "--patch", json.dumps(change))
        eventually(lambda: _plain(namespace.get(f"{kind}/web-sokken"), path) == wanted, SOON)  # noqa: B023


def _plain(thing, path):
    for name in path:
        thing = (thing or {}).get(name)
    return sorted(each["name"] for each in thing) if isinstance(thing, list) else thing


def test_an_object_of_somebody_else_is_told_and_left(namespace):
    install_operator(namespace)
    mine = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web-sokken", "labels": {"mine": "yes"}},
        "spec": {"ports": [{"port": 1}]},
    }
    namespace.apply(mine)
    before = namespace.get("service/web-sokken")
    namespace.apply(tunnel(**SUSPENDED))
    eventually(lambda: reason(namespace, "Accepted") == ("False", "NameConflict"))
    assert namespace.get("service/web-sokken") == before
    namespace.kubectl("delete", "service", "web-sokken")
    namespace.kubectl("annotate", "tunnel", "web", "look=again")
    eventually(lambda: reason(namespace, "Accepted") == ("True", "Accepted"))
    assert namespace.get("service/web-sokken")["metadata"]["uid"] != before["metadata"]["uid"]
