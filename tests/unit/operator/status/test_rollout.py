"""Available and Progressing."""

from datetime import timedelta

import pytest

from sokken.operator.reconcile import Hold, Plan, Ref
from sokken.operator.status import Failure
from tests.support.observations import NOW, Scene, answer, deployment_status, passed, pod, refused, waiting
from tests.support.tunnels import SMALL, changed, tunnel

SERVICE = Ref("v1", "Service", "shop", "db-sokken")
STUCK = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}
UPDATING = {"conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]}


def not_available(*pods, answers=None, **status):
    return Scene(deployment=deployment_status(available=0, **status), pods=list(pods), answers=answers or {})


def test_one_pod_of_several_is_enough():
    found = Scene(tunnel=tunnel(changed(SMALL, "replicas", 3)), deployment=deployment_status(available=1, replicas=3))
    assert found.said("Available") == ("True", "PodsAvailable")
    assert found.conditions()["Available"]["message"] == "1 of 3 pods are available"


@pytest.mark.parametrize(
    ("pod_status", "reason", "said"),
    [
        (
            waiting("ImagePullBackOff", 'Back-off pulling image "a:1"'),
            "ImagePullFailed",
            'Back-off pulling image "a:1"',
        ),
        (waiting("ErrImagePull"), "ImagePullFailed", "a:1"),
        (
            waiting("CrashLoopBackOff", lastState={"terminated": {"exitCode": 3}}),
            "PodsCrashing",
            "ends by itself, with exit code 3",
        ),
        (waiting("CreateContainerConfigError", "no such secret"), "PodsRefused", "no such secret"),
        (waiting("ContainerCreating"), "PodsNotReady", "pod p0 is not ready"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]},
            "Unschedulable",
            "0/1 nodes are available",
        ),
    ],
)
def test_why_no_pod_serves(pod_status, reason, said):
    found = not_available(pod("p0", ready=False, **pod_status))
    assert found.said("Available") == found.said("Ready") == ("False", reason)
    assert said in found.conditions()["Available"]["message"]


def test_a_pod_that_tells_more_than_that_it_is_not_ready_goes_before():
    found = not_available(pod("p0", ready=False), pod("p1", ready=False, **waiting("ErrImagePull", "denied")))
    assert found.said("Available") == ("False", "ImagePullFailed")


def test_a_pods_own_word_for_why_it_is_not_ready():
    found = not_available(pod("p0", ready=False), answers={"p0": answer(not_ready="server check: refused")})
    assert found.conditions()["Available"]["message"] == "pod p0 is not ready: server check: refused"


def test_pods_that_cannot_be_made():
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    found = not_available(conditions=[failure])
    assert found.said("Available") == ("False", "PodsRefused")
    assert "exceeded quota" in found.conditions()["Available"]["message"]


def test_no_pods_and_no_deployment_yet():
    assert not_available().said("Available") == ("False", "PodsNotReady")
    nothing = Scene(deployment=None, pods=[], answers={})
    assert nothing.said("Available") == nothing.said("Progressing") == ("Unknown", "Pending")


def test_a_suspended_tunnel():
    found = Scene(tunnel=tunnel(changed(SMALL, "replicas", 0)), deployment=deployment_status(0, 0), pods=[], answers={})
    assert found.said("Available") == found.said("Ready") == ("False", "Suspended")
    assert found.said("Progressing") == ("True", "RolloutComplete")


def test_all_is_rolled_out():
    assert Scene().said("Progressing") == ("True", "RolloutComplete")


def test_a_roll_out_under_way():
    found = Scene(deployment=deployment_status(**UPDATING, replicas=1))
    assert found.said("Progressing") == ("True", "RollingOut")
    assert found.conditions()["Progressing"]["message"] == "pods are being made as the spec wants them"
    assert found.said("Ready") == ("True", "Ready")


def test_a_roll_out_says_at_once_what_stops_it():
    image = Scene(
        deployment=deployment_status(**UPDATING),
        pods=[pod("db-sokken-1"), pod("new", ready=False, **waiting("ErrImagePull", "no such image"))],
    )
    assert image.conditions()["Progressing"]["message"].endswith(": pod new: ErrImagePull: no such image")
    failure = {"type": "ReplicaFailure", "status": "True", "message": "no PriorityClass with name x was found"}
    refused = Scene(deployment=deployment_status(conditions=[*UPDATING["conditions"], failure]))
    assert refused.said("Progressing") == ("True", "RollingOut")
    assert refused.conditions()["Progressing"]["message"].endswith("no PriorityClass with name x was found")


def test_a_roll_out_that_does_not_come_to_an_end_says_why():
    """A wrong token never replaces a pod that works."""
    found = Scene(
        tunnel=tunnel(changed(SMALL, "auth", {"tokenSecretRef": {"name": "other"}})),
        deployment=deployment_status(**STUCK),
        pods=[pod("old", of=tunnel(SMALL)), pod("new", ready=False)],
        answers={"old": answer(passed()), "new": answer(refused("unauthenticated"), not_ready="server check: 401")},
    )
    assert found.said("Progressing") == ("False", "RolloutStuck")
    assert found.conditions()["Progressing"]["message"] == (
        "new pods have not become ready: pod new is not ready: server check: 401"
    )
    assert found.said("Ready") == ("False", "AuthenticationFailed")
    assert found.said("Available") == ("True", "PodsAvailable")


def test_a_roll_out_of_the_operators_own_that_is_stuck_leaves_a_tunnel_ready():
    found = Scene(deployment=deployment_status(**STUCK), pods=[pod("db-sokken-1"), pod("new", ready=False)])
    assert found.said("Progressing") == ("False", "RolloutStuck")
    assert found.said("Ready") == ("True", "Ready")


def test_old_pods_that_drain():
    late, soon = "2026-11-26T12:30:00Z", "2026-11-26T12:10:00Z"
    found = Scene(pods=[pod("db-sokken-1"), pod("a", draining=late), pod("b", draining=soon)])
    assert found.said("Progressing") == ("True", "Draining")
    assert found.conditions()["Progressing"]["message"] == f"2 old pods drain, the oldest until {soon} at most"


@pytest.mark.parametrize(
    ("hold", "status", "reason"),
    [
        (Hold.MANUAL, "True", "UpdateHeld"),
        (Hold.TURN, "True", "AwaitingTurn"),
        (Hold.DISCONNECTED, "True", "AwaitingConnection"),
        (Hold.DRAIN_BACKLOG, "False", "DrainBacklog"),
    ],
)
def test_pods_that_are_held_back(hold, status, reason):
    found = Scene(plan=Plan(hold=hold))
    assert found.said("Progressing") == (status, reason)
    assert found.said("Ready") == ("True", "Ready")


def test_every_hold_is_told_of():
    for hold in Hold:
        assert Scene(plan=Plan(hold=hold)).said("Progressing")[1] != "RolloutComplete"


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (403, "Progressing", "RBACDenied"),
        (409, "Progressing", "ApplyFailed"),
        (404, "Progressing", "ApplyFailed"),
        (422, "Accepted", "InvalidSpec"),
        (400, "Accepted", "InvalidSpec"),
        (500, "Accepted", "InvalidSpec"),
    ],
)
def test_an_object_that_the_api_server_does_not_take(code, kind, reason):
    found = Scene(failures=[Failure("apply", SERVICE, code, "services is forbidden")])
    assert found.said(kind) == found.said("Ready") == ("False", reason)
    assert "Service shop/db-sokken" in found.conditions()[kind]["message"]
    assert "services is forbidden" in found.conditions()[kind]["message"]


def test_a_patch_that_came_too_late_is_nobodys_fault():
    found = Scene(failures=[Failure("delete", SERVICE, 422, "no")])
    assert found.said("Accepted") == ("True", "Accepted")
    assert found.said("Progressing") == ("False", "ApplyFailed")


def test_an_object_that_is_on_its_way_out():
    found = Scene(plan=Plan(waits_for=(SERVICE,)))
    assert found.said("Progressing") == ("True", "AwaitingDeletion")
    assert "serviceName" not in found.report().status


def test_somebody_else_who_scales():
    found = Scene(plan=Plan(scaler="horizontal-pod-autoscaler"))
    assert found.said("Progressing") == ("False", "ReplicasContested")
    assert "horizontal-pod-autoscaler sets the Deployment's replicas" in found.conditions()["Progressing"]["message"]


def test_he_is_told_of_for_a_while_and_not_at_each_turn_of_the_fight():
    first = Scene(plan=Plan(scaler="hpa")).report()
    between = Scene(tunnel=tunnel(status=first.status))
    assert not between.report(NOW + timedelta(minutes=9)).has_changed
    later = {each["type"]: each for each in between.report(NOW + timedelta(minutes=10)).status["conditions"]}
    assert later["Progressing"]["reason"] == "RolloutComplete"
