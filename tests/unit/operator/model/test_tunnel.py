"""From an object of the API server to a Tunnel."""

import pytest
from pydantic import ValidationError

from sokken.operator.model import InvalidTunnel, decode_tunnel
from tests.support.tunnels import LARGE, SMALL, UID, changed, document


def test_what_there_is_of_it():
    status = {"conditions": []}
    found = decode_tunnel({**document(generation=3, annotations={"a": "b"}), "status": status})
    assert (found.namespace, found.name, found.uid, found.generation) == ("shop", "db", UID, 3)
    assert (found.annotations, found.status, found.is_leaving) == ({"a": "b"}, status, False)
    assert str(found) == "shop/db"


def test_one_that_is_being_deleted():
    assert decode_tunnel(document(deletionTimestamp="2026-11-26T00:00:00Z")).is_leaving


def test_what_is_left_out_has_its_default():
    spec = decode_tunnel(document()).spec
    assert (spec.replicas, spec.max_connections, spec.drain_timeout_seconds) == (1, 1000, 300)
    assert spec.forwards[0].exposed_port == 5432
    assert decode_tunnel(document(LARGE)).spec.forwards[1].exposed_port == 443


def test_it_cannot_be_changed():
    spec = decode_tunnel(document()).spec
    with pytest.raises(ValidationError):
        spec.replicas = 5


def test_fields_of_a_newer_definition_are_left_alone():
    newer = changed(changed(SMALL, "future", {"a": 1}), "server.future", True)
    assert decode_tunnel(document(newer)).spec == decode_tunnel(document()).spec


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("forwards.0.listenPort", "x", "spec.forwards[0].listenPort: input should be a valid integer"),
        ("forwards.0.listenPort", 80, "spec.forwards[0].listenPort: input should be greater than or equal to 1024"),
        ("server.url", None, "spec.server.url: field required"),
        ("service", {"type": "x"}, "spec.service.type: input should be 'ClusterIP'"),
    ],
)
def test_what_is_none(path, value, said):
    with pytest.raises(InvalidTunnel) as caught:
        decode_tunnel(document(changed(SMALL, path, value)))
    assert str(caught.value).startswith(said)


def test_one_without_a_spec():
    with pytest.raises(InvalidTunnel, match=r"spec\.server: field required"):
        decode_tunnel({"metadata": document()["metadata"]})


def test_what_is_given_back_is_what_was_written():
    given = LARGE["podTemplate"]
    dumped = decode_tunnel(document(LARGE)).spec.pod_template.dump()
    assert dumped == given


def test_an_empty_selector_means_all_and_stays():
    term = {"topologyKey": "zone", "labelSelector": {}}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    spec = decode_tunnel(document(changed(SMALL, "podTemplate", {"affinity": affinity}))).spec
    assert spec.pod_template.dump() == {"affinity": affinity}


def test_what_is_required_stays_though_it_is_empty():
    preferred = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 8, "preference": {}}]}}
    spec = decode_tunnel(document(changed(SMALL, "podTemplate", {"affinity": preferred}))).spec
    assert spec.pod_template.dump() == {"affinity": preferred}
