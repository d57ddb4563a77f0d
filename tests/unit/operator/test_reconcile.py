"""The plan: what is applied, deleted, left alone, or held back."""

from copy import deepcopy
from dataclasses import replace

import pytest

from sokken.operator.reconcile import Apply, Delete, Hold, Ref, Remove, is_rolled_out, is_rolling, make_plan, missing
from sokken.operator.resources import Annotation, build
from tests.support.golden_manifests import DEFAULTS
from tests.support.recorded import recorded
from tests.support.tunnels import LARGE, SMALL, UID, changed, tunnel

NEWER = replace(DEFAULTS, image="registry.example/sokken:2.0.0")
ROLLED_OUT = {
    "observedGeneration": 1,
    "replicas": 1,
    "updatedReplicas": 1,
    "availableReplicas": 1,
    "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
}
CONNECTED = {"conditions": [{"type": "Connected", "status": "True"}]}


def never():
    raise AssertionError("no turn was needed")


def settle(manifests):
    """As they are in the cluster once they have been applied."""
    live = deepcopy(list(manifests))
    for index, manifest in enumerate(live):
        manifest["metadata"] |= {"uid": f"child-{index}", "generation": 1, "resourceVersion": "7"}
        if manifest["kind"] == "Deployment":
            manifest["status"] = deepcopy(ROLLED_OUT)
            manifest["metadata"]["annotations"].setdefault(Annotation.ROLLED_BY.value, "tunnel")
    return live


def plan_for(spec=SMALL, live=None, defaults=DEFAULTS, pods=(), take_turn=never, status=None, **metadata):
    wanted = tunnel(spec, status, **metadata)
    return make_plan(
        wanted,
        build(wanted, defaults),
        settle(build(tunnel(SMALL), DEFAULTS)) if live is None else live,
        pods,
        take_turn,
    )


def kinds(plan):
    return [(type(action).__name__, action.ref.kind) for action in plan.actions]


def deployment_of(live):
    return next(each for each in live if each["kind"] == "Deployment")


def applied(plan, kind="Deployment"):
    [action] = [each for each in plan.actions if isinstance(each, Apply) and each.ref.kind == kind]
    return action.manifest


def leaving(count):
    return [{"metadata": {"name": f"p{index}", "deletionTimestamp": "2026-11-26T00:00:00Z"}} for index in range(count)]


def test_of_a_new_tunnel_everything_is_made():
    plan = plan_for(live=[])
    assert kinds(plan) == [("Apply", "ServiceAccount"), ("Apply", "Deployment"), ("Apply", "Service")]
    assert all(action.is_new and "uid" not in action.manifest["metadata"] for action in plan.actions)
    assert not plan.begins_rollout


def test_when_all_is_as_it_should_be_nothing_is_written():
    assert plan_for() == make_plan(tunnel(), [], [], [], never)


def test_what_was_just_made_needs_nothing_more():
    live = settle([action.manifest for action in plan_for(live=[]).actions])
    assert plan_for(live=live).actions == ()


def test_what_is_deleted_by_somebody_is_made_again():
    live = [each for each in settle(build(tunnel(), DEFAULTS)) if each["kind"] != "Service"]
    assert kinds(plan_for(live=live)) == [("Apply", "Service")]


def test_what_is_changed_by_somebody_is_mended_and_not_made_anew():
    live = settle(build(tunnel(), DEFAULTS))
    deployment_of(live)["spec"]["template"]["spec"]["containers"][0]["image"] = "evil:1"
    [action] = plan_for(live=live).actions
    assert (action.ref.kind, action.is_new) == ("Deployment", False)
    assert action.manifest["metadata"]["uid"] == deployment_of(live)["metadata"]["uid"]


def test_what_is_no_longer_rendered_is_applied_although_nothing_rendered_differs():
    """A label that the user has taken out of the spec, for one."""
    with_label = changed(SMALL, "service", {"labels": {"team": "shop"}})
    assert kinds(plan_for(live=settle(build(tunnel(with_label), DEFAULTS)))) == [
        ("Apply", "Deployment"),
        ("Apply", "Service"),
    ]


def test_what_others_have_added_to_a_list_is_taken_out():
    desired, live = recorded("service")
    owner = build(tunnel(), DEFAULTS)[0]["metadata"]["ownerReferences"]
    live["metadata"]["ownerReferences"] = desired["metadata"]["ownerReferences"] = owner
    plan = make_plan(tunnel(), [desired], [live], [], never)
    assert [type(action) for action in plan.actions] == [Remove]


def test_what_is_not_wanted_any_more_is_deleted_last():
    live = settle(build(tunnel(LARGE), DEFAULTS))
    plan = plan_for(live=live)
    assert [action.ref.kind for action in plan.actions if isinstance(action, Delete)] == [
        "NetworkPolicy",
        "PodDisruptionBudget",
        "PodMonitor",
    ]
    assert all(isinstance(action, Apply) for action in plan.actions[:-3])
    assert {action.uid for action in plan.actions[-3:]} == {"child-0", "child-3", "child-4"}


@pytest.mark.parametrize("spoil", ["leaving", "foreign", "another"])
def test_only_what_is_ours_and_there_is_deleted(spoil):
    live = settle(build(tunnel(), DEFAULTS))
    extra = deepcopy(live[-1])
    extra["metadata"]["name"] = "other"
    if spoil == "leaving":
        extra["metadata"]["deletionTimestamp"] = "2026-11-26T00:00:00Z"
    elif spoil == "foreign":
        del extra["metadata"]["ownerReferences"]
    else:
        extra["metadata"]["ownerReferences"][0]["uid"] = "another-tunnel"
    assert plan_for(live=[*live, extra]).actions == ()


@pytest.mark.parametrize("owner", [None, {"kind": "ReplicaSet", "name": "x", "uid": "1", "controller": True}])
def test_a_foreign_object_of_one_of_our_names_is_left_alone_and_so_is_everything_else(owner):
    live = settle(build(tunnel(), DEFAULTS))
    live[-1]["metadata"]["ownerReferences"] = [owner] if owner else []
    plan = plan_for(live=live, defaults=NEWER, status=CONNECTED)  # and no turn is taken
    assert plan.conflicts == (Ref("v1", "Service", "shop", "db-sokken"),)
    assert (plan.actions, plan.begins_rollout) == ((), False)


def test_an_object_that_belongs_to_us_and_to_others_is_ours():
    live = settle(build(tunnel(), DEFAULTS))
    live[-1]["metadata"]["ownerReferences"].insert(0, {"kind": "Other", "name": "x", "uid": "1"})
    assert plan_for(live=live).actions == ()


def test_what_is_on_its_way_out_is_waited_for():
    live = settle(build(tunnel(), DEFAULTS))
    live[-1]["metadata"]["deletionTimestamp"] = "2026-11-26T00:00:00Z"
    plan = plan_for(live=live)
    assert (plan.waits_for, plan.actions) == ((Ref("v1", "Service", "shop", "db-sokken"),), ())


def test_children_of_a_tunnel_of_that_name_that_is_gone_are_waited_for():
    live = settle(build(tunnel(uid="a-former-one"), DEFAULTS))
    plan = plan_for(live=live)
    assert len(plan.waits_for) == 3
    assert plan.actions == plan.conflicts == ()


def test_what_to_look_for_by_name_before():
    desired = build(tunnel(), DEFAULTS)
    assert [ref.kind for ref in missing(desired, desired[:1])] == ["Deployment", "Service"]
    assert str(missing(desired, desired[:2])[0]) == "Service shop/db-sokken"


# Who rolls pods, and when


def test_a_users_change_is_rolled_at_once():
    plan = plan_for(
        changed(SMALL, "maxConnections", 5), status={"conditions": [{"type": "Connected", "status": "False"}]}
    )
    manifest = applied(plan)
    assert (plan.hold, plan.begins_rollout) == (None, False)
    assert manifest["metadata"]["annotations"][Annotation.ROLLED_BY] == "tunnel"


def test_a_new_default_image_needs_a_turn():
    asked = []
    plan = plan_for(defaults=NEWER, status=CONNECTED, take_turn=lambda: bool(asked.append(1)) or True)
    manifest = applied(plan)
    assert (asked, plan.hold, plan.begins_rollout) == ([1], None, True)
    assert manifest["spec"]["template"]["spec"]["containers"][0]["image"] == NEWER.image
    assert manifest["metadata"]["annotations"][Annotation.ROLLED_BY] == "operator"


def held(plan, hold):
    """The Deployment as it is applied while its pods are held back: but for them it is up to date."""
    assert (plan.hold, plan.begins_rollout) == (hold, False)
    manifest = applied(plan)
    assert manifest["spec"]["template"]["spec"]["containers"][0]["image"] == DEFAULTS.image
    return manifest


def test_without_a_turn_pods_stay_and_the_rest_is_applied():
    plan = plan_for(changed(SMALL, "replicas", 3), defaults=NEWER, status=CONNECTED, take_turn=lambda: False)
    assert held(plan, Hold.TURN)["spec"]["replicas"] == 3


def test_what_was_held_is_written_once():
    live = settle(build(tunnel(), DEFAULTS))
    first = plan_for(live=live, defaults=NEWER, status=CONNECTED, take_turn=lambda: False)
    manifest = applied(first)
    live[1] = {**live[1], "metadata": {**manifest["metadata"], "resourceVersion": "8"}, "spec": manifest["spec"]}
    again = plan_for(live=live, defaults=NEWER, status=CONNECTED, take_turn=lambda: False)
    assert (again.actions, again.hold) == ((), Hold.TURN)
    at_last = plan_for(live=live, defaults=NEWER, status=CONNECTED, take_turn=lambda: True)
    assert applied(at_last)["spec"]["template"]["spec"]["containers"][0]["image"] == NEWER.image


def test_a_held_template_has_no_null():
    """The API server gives each template a ``creationTimestamp: null``; to apply that would be a change."""
    live = settle(build(tunnel(), DEFAULTS))
    deployment_of(live)["spec"]["template"]["metadata"]["creationTimestamp"] = None
    plan = plan_for(live=live, defaults=NEWER, status=CONNECTED, take_turn=lambda: False)
    assert "creationTimestamp" not in held(plan, Hold.TURN)["spec"]["template"]["metadata"]


def test_manual_updates_wait_for_the_user():
    manual = changed(SMALL, "updatePolicy", "Manual")
    live = settle(build(tunnel(manual), DEFAULTS))
    held(plan_for(manual, live=live, defaults=NEWER, status=CONNECTED), Hold.MANUAL)
    edited = plan_for(changed(manual, "maxConnections", 5), live=live, defaults=NEWER, status=CONNECTED)
    assert edited.hold is None
    assert applied(edited)["spec"]["template"]["spec"]["containers"][0]["image"] == NEWER.image


def test_an_autoscaler_is_no_user_who_edits():
    manual = changed(SMALL, "updatePolicy", "Manual")
    live = settle(build(tunnel(manual), DEFAULTS))
    held(plan_for(changed(manual, "replicas", 9), live=live, defaults=NEWER, status=CONNECTED), Hold.MANUAL)


def test_pods_that_could_not_become_ready_are_not_tried():
    status = {"conditions": [{"type": "Connected", "status": "False"}]}
    held(plan_for(defaults=NEWER, status=status), Hold.DISCONNECTED)


def test_where_pods_cannot_be_asked_they_are_rolled_all_the_same():
    status = {"conditions": [{"type": "Connected", "status": "Unknown"}]}
    assert plan_for(defaults=NEWER, status=status, take_turn=lambda: True).begins_rollout


def test_a_tunnel_of_which_no_pod_serves_needs_no_turn():
    live = settle(build(tunnel(), DEFAULTS))
    deployment_of(live)["status"]["availableReplicas"] = 0
    plan = plan_for(live=live, defaults=NEWER)
    assert (plan.hold, plan.begins_rollout) == (None, False)
    deployment = applied(plan) | {"status": {}}
    assert not is_rolling(deployment)  # nor does it count as one, however long it does not work


def test_the_service_account_is_there_as_long_as_pods_have_it():
    """They would get no more tokens, and a pod that is lost could not be made again."""
    other = changed(SMALL, "podTemplate", {"serviceAccountName": "other"})
    assert ("Delete", "ServiceAccount") not in kinds(plan_for(other))
    live = settle(build(tunnel(SMALL), DEFAULTS))
    live[live.index(deployment_of(live))] = deployment_of(settle(build(tunnel(other), DEFAULTS)))
    deployment = deployment_of(live)
    deployment["status"]["updatedReplicas"] = 0
    assert ("Delete", "ServiceAccount") not in kinds(plan_for(other, live=live))
    deployment["status"] = deepcopy(ROLLED_OUT)
    assert kinds(plan_for(other, live=live)) == [("Delete", "ServiceAccount")]


@pytest.mark.parametrize(("draining", "hold"), [(2, None), (3, Hold.DRAIN_BACKLOG)])
def test_no_more_pods_while_many_drain(draining, hold):
    plan = plan_for(changed(SMALL, "maxConnections", 5), pods=leaving(draining))
    assert plan.hold == hold
    if hold:
        assert (
            applied(plan)["metadata"]["annotations"][Annotation.SPEC_HASH]
            == deployment_of(settle(build(tunnel(), DEFAULTS)))["metadata"]["annotations"][Annotation.SPEC_HASH]
        )


def test_unless_somebody_insists():
    annotations = {"sokken.dev/ignore-drain-backlog": "true"}
    plan = plan_for(changed(SMALL, "maxConnections", 5), pods=leaving(9), annotations=annotations)
    assert plan.hold is None


def test_somebody_else_who_scales_the_deployment_is_named():
    live = settle(build(tunnel(), DEFAULTS))
    deployment = deployment_of(live)
    deployment["spec"]["replicas"] = 4
    fields = {"f:spec": {"f:replicas": {}}}
    deployment["metadata"]["managedFields"] = [{"manager": "horizontal-pod-autoscaler", "fieldsV1": fields}]
    plan = plan_for(live=live)
    assert plan.scaler == "horizontal-pod-autoscaler"
    assert applied(plan)["spec"]["replicas"] == 1


def test_the_tunnels_own_replicas_are_nobody_elses():
    assert plan_for(changed(SMALL, "replicas", 4)).scaler == ""


@pytest.mark.parametrize(
    ("status", "is_done"),
    [
        ({}, True),
        ({"observedGeneration": 0}, False),
        ({"replicas": 2}, False),
        ({"availableReplicas": 0}, True),  # a pod that fails later is no roll-out
        ({"conditions": [{"type": "Progressing", "reason": "ReplicaSetUpdated"}]}, False),
        ({"conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}, False),
        ({"conditions": []}, False),
    ],
)
def test_when_a_roll_out_is_over(status, is_done):
    deployment = deployment_of(settle(build(tunnel(), DEFAULTS)))
    deployment["status"] |= status
    assert is_rolled_out(deployment) is is_done
    assert not is_rolling(deployment)
    deployment["metadata"]["annotations"][Annotation.ROLLED_BY.value] = "operator"
    assert is_rolling(deployment) is not is_done


def test_a_tunnel_with_another_uid_owns_nothing_of_this_one():
    live = settle(build(tunnel(), DEFAULTS))
    plan = plan_for(live=live, uid=UID[::-1])
    assert plan.actions == ()
    assert len(plan.waits_for) == 3
