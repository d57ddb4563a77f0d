"""What counts as a difference: only what an apply would change."""

from copy import deepcopy

import pytest

from sokken.operator.comparison import differences, is_current
from tests.support.golden_manifests import CASES, render
from tests.support.recorded import recorded


def found(desired, live):
    return list(differences({"spec": desired}, {"spec": live}))


def test_a_service_with_all_that_the_api_server_adds():
    desired, live = recorded("service")
    assert live["spec"]["clusterIP"]
    assert is_current(desired, live)


def test_a_deployment_of_which_somebody_has_changed_one_field():
    desired, live = recorded("deployment")
    assert live["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["successThreshold"] == 1
    assert list(differences(desired, live)) == ["spec.replicas"]
    live["spec"]["replicas"] = desired["spec"]["replicas"]
    assert is_current(desired, live)


@pytest.mark.parametrize("case", CASES)
def test_each_field_that_is_changed_is_a_difference(case):
    """Take one leaf at a time out of what is there."""
    for manifest in render(case):
        assert is_current(manifest, deepcopy(manifest))
        for path in leaves(manifest):
            live = deepcopy(manifest)
            place = live
            for part in path[:-1]:
                place = place[part]
            if isinstance(place, list) or place[path[-1]] in ("", [], {}):
                continue
            del place[path[-1]]
            assert not is_current(manifest, live), path


def leaves(value, path=()):
    if isinstance(value, dict):
        for name, each in value.items():
            yield from leaves(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from leaves(each, (*path, index))
    else:
        yield path


@pytest.mark.parametrize(
    ("desired", "live"),
    [
        ({"resources": {"limits": {"cpu": "1000m"}}}, {"resources": {"limits": {"cpu": "1"}}}),
        ({"resources": {"requests": {"memory": "1024Mi"}}}, {"resources": {"requests": {"memory": "1Gi"}}}),
        ({"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A"}]}),
        ({"hostnames": []}, {}),
        ({"affinity": {}}, {}),
        ({"ports": [{"port": 1}]}, {"ports": [{"port": 1, "protocol": "TCP", "nodePort": 30000}]}),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]},
        ),
        ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "1"}, {"name": "B"}]}),
        ({"type": "ClusterIP"}, {"type": "ClusterIP", "clusterIP": "10.0.0.1"}),
        ({"nodeSelector": {}}, {}),
    ],
)
def test_what_an_apply_would_not_change(desired, live):
    assert found(desired, live) == []


@pytest.mark.parametrize(
    ("desired", "live", "where"),
    [
        ({"replicas": 1}, {"replicas": 2}, "spec.replicas"),
        ({"replicas": 0}, {}, "spec.replicas"),
        ({"replicas": 1}, {"replicas": True}, "spec.replicas"),
        ({"flag": False}, {}, "spec.flag"),
        ({"flag": False}, {"flag": True}, "spec.flag"),
        ({"resources": {"limits": {"cpu": "1"}}}, {"resources": {"limits": {"cpu": "2"}}}, "spec.resources.limits.cpu"),
        ({"cpu": "1000m"}, {"cpu": "1"}, "spec.cpu"),
        ({"env": [{"name": "A", "value": "1"}]}, {"env": [{"name": "A"}]}, "spec.env.0.value"),
        ({"env": [{"name": "A", "value": "1"}]}, {"env": []}, "spec.env.0"),
        ({"env": [{"name": "A", "value": "1"}]}, {}, "spec.env"),
        ({"args": ["a"]}, {"args": ["a", "b"]}, "spec.args"),
        ({"args": ["a", "b"]}, {"args": ["a"]}, "spec.args"),
        ({"args": ["a"]}, {"args": ["b"]}, "spec.args.0"),
        ({"ports": [{"port": 1, "protocol": "UDP"}]}, {"ports": [{"port": 1, "protocol": "TCP"}]}, "spec.ports.0"),
        ({"ingress": [{"from": [{"podSelector": {}}]}]}, {"ingress": [{"from": [{}]}]}, "spec.ingress"),
        ({"ingress": [{"ports": []}]}, {"ingress": [{"ports": [], "from": []}]}, "spec.ingress"),
        ({"selector": {"a": "1"}}, {"selector": {"a": "1", "b": "2"}}, "spec.selector"),
        ({"selector": {"a": "1"}}, {}, "spec.selector"),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"a": "1", "b": "2"}}, "spec.nodeSelector"),
        ({"podSelector": {"matchLabels": {}}}, {"podSelector": {"matchLabels": {"a": "1"}}}, "spec.podSelector"),
        ({"labelSelector": {}}, {"labelSelector": {"matchLabels": {"a": "1"}}}, "spec.labelSelector"),
    ],
)
def test_what_an_apply_would_change(desired, live, where):
    assert any(path.startswith(where) for path in found(desired, live))


def test_owners_of_others_are_theirs():
    ours = {"metadata": {"ownerReferences": [{"uid": "1", "controller": True}]}}
    both = {"metadata": {"ownerReferences": [{"uid": "2"}, {"uid": "1", "controller": True}]}}
    assert is_current(ours, both)
    assert not is_current(ours, {"metadata": {"ownerReferences": [{"uid": "2"}]}})
