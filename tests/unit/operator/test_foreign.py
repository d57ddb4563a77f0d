"""What somebody else has put into rendered lists, and who sets the replicas: on what an API server had (1.34).

Before it was recorded, somebody had scaled the Deployment, set a variable in it and restarted it, and added a port to
the Service.
"""

import pytest

from sokken.operator.foreign import build_removal, find_scaler
from sokken.operator.resources import FIELD_MANAGER
from tests.support.json_patch import apply_json_patch
from tests.support.recorded import recorded


@pytest.mark.parametrize(
    ("kind", "list_of"),
    [
        ("service", lambda whole: [each["port"] for each in whole["spec"]["ports"]]),
        (
            "deployment",
            lambda whole: [each["name"] for each in whole["spec"]["template"]["spec"]["containers"][0]["env"]],
        ),
    ],
)
def test_what_was_added_to_a_list_is_taken_out_and_nothing_else(kind, list_of):
    desired, live = recorded(kind)
    mended = apply_json_patch(build_removal(desired, live), live)
    assert len(list_of(live)) == len(list_of(desired)) + 1
    assert list_of(mended) == list_of(desired)
    assert build_removal(desired, mended) == ()
    assert {**mended, "spec": None} == {**live, "spec": None}


def test_it_holds_only_for_the_object_that_was_seen():
    desired, live = recorded("service")
    first, *_ = build_removal(desired, live)
    assert first == {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]}


def test_several_are_taken_out_from_the_end():
    desired, live = recorded("service")
    port = {"name": "y", "port": 98, "protocol": "TCP"}
    live["spec"]["ports"].insert(0, port)
    other = next(
        each for each in live["metadata"]["managedFields"] if each["manager"] != FIELD_MANAGER and "fieldsV1" in each
    )
    other["fieldsV1"]["f:spec"]["f:ports"]['k:{"port":98,"protocol":"TCP"}'] = {".": {}}
    assert [each["port"] for each in apply_json_patch(build_removal(desired, live), live)["spec"]["ports"]] == [
        5432,
        8080,
    ]


def test_what_admission_adds_to_our_own_writes_stays():
    """It would add it again to the next one."""
    desired, live = recorded("service")
    for entry in live["metadata"]["managedFields"]:
        entry["manager"] = FIELD_MANAGER
    assert build_removal(desired, live) == ()


def test_an_item_of_nobody_stays():
    desired, live = recorded("service")
    live["metadata"]["managedFields"] = []
    assert build_removal(desired, live) == ()


def test_who_scales():
    _, live = recorded("deployment")
    assert find_scaler(live) == ""  # somebody with kubectl
    for manager, found in (("kube-controller-manager", "kube-controller-manager"), (FIELD_MANAGER, "")):
        for entry in live["metadata"]["managedFields"]:
            entry["manager"] = manager
        assert find_scaler(live) == found


def test_a_restart_by_hand_stays():
    desired, live = recorded("deployment")
    mended = apply_json_patch(build_removal(desired, live), live)
    assert "kubectl.kubernetes.io/restartedAt" in mended["spec"]["template"]["metadata"]["annotations"]
