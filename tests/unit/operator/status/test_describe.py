"""The status as a whole: what is written, when, and what Events tell."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sokken.operator.crd import build_crd
from sokken.operator.model import InvalidTunnel
from sokken.operator.reconcile import Plan, Ref
from sokken.operator.status import REASONS, ConditionType, Reason, describe_invalid, wants_answer
from tests.support.api_server import admit
from tests.support.golden_manifests import DEFAULTS
from tests.support.observations import NOW, Scene, answer, deployment_status, passed, pod, refused, waiting
from tests.support.tunnels import LARGE, SMALL, changed, document, forward, tunnel

SERVICE = Ref("v1", "Service", "shop", "db-sokken")


def with_status(status, **metadata):
    return tunnel(status=status, **metadata)


def test_a_tunnel_that_works():
    assert {each["type"]: (each["status"], each["reason"]) for each in Scene().report().status["conditions"]} == {
        "Ready": ("True", "Ready"),
        "Accepted": ("True", "Accepted"),
        "ReferencesResolved": ("True", "Resolved"),
        "Available": ("True", "PodsAvailable"),
        "Progressing": ("True", "RolloutComplete"),
        "Connected": ("True", "Admitted"),
    }


def test_the_rest_of_the_status():
    spec = changed(SMALL, "forwards", [*SMALL["forwards"], forward(servicePort=80)])
    status = Scene(tunnel=tunnel(spec, generation=7), deployment=deployment_status(2, 3)).report().status
    assert {name: value for name, value in status.items() if name not in ("conditions", "templateHash")} == {
        "observedGeneration": 7,
        "replicas": 3,
        "updatedReplicas": 3,
        "readyReplicas": 2,
        "selector": "sokken.dev/tunnel=db",
        "serviceName": "db-sokken",
        "addresses": [
            {"forward": "pg", "host": "db-sokken.shop.svc", "port": 5432},
            {"forward": "web", "host": "db-sokken.shop.svc", "port": 80},
        ],
        "image": DEFAULTS.image,
    }
    assert {each["observedGeneration"] for each in status["conditions"]} == {7}


def test_the_address_of_a_load_balancer():
    ingress = [{"ip": "192.0.2.7"}, {"hostname": "lb.example"}]
    found = Scene(tunnel=tunnel(LARGE), service={"loadBalancer": {"ingress": ingress}}).report().status["addresses"]
    assert [each["host"] for each in found if each["forward"] == "web"] == [
        "db-sokken.shop.svc",
        "192.0.2.7",
        "lb.example",
    ]


def test_a_tunnel_without_a_service_has_no_address():
    status = Scene(tunnel=tunnel(changed(SMALL, "service", {"type": "None"}))).report().status
    assert not {"addresses", "serviceName"} & status.keys()


@pytest.mark.parametrize("scene", [Scene(), Scene(tunnel=tunnel(LARGE)), Scene(deployment=None, pods=[], answers={})])
def test_it_has_the_shape_that_the_definition_says(scene):
    admit(build_crd(), {**document(), "status": scene.report().status})


def test_it_is_written_once():
    report = Scene().report()
    assert report.has_changed
    again = Scene(tunnel=with_status(report.status)).report(NOW + timedelta(minutes=5))
    assert not again.has_changed
    assert again.events == ()
    assert again.status == report.status


def test_an_operator_that_has_just_started_changes_nothing():
    """It has asked no pod yet; what its predecessor knew stands until it has."""
    for answers in ({"db-sokken-1": answer(passed())}, {"db-sokken-1": answer(refused("server_tls"))}):
        before = Scene(answers=answers).report().status
        assert not Scene(tunnel=with_status(before), answers={}).report(NOW + timedelta(hours=1)).has_changed


def test_a_new_pod_that_was_not_asked_yet_is_no_news_either():
    before = Scene().report().status
    assert not Scene(tunnel=with_status(before), pods=[pod("new")]).report().has_changed


def test_of_pods_that_are_gone_nothing_is_known():
    before = Scene().report().status
    gone = Scene(tunnel=with_status(before), pods=[], answers={}, deployment=deployment_status(0, 0))
    assert gone.said("Connected") == ("Unknown", "Pending")


def test_a_transition_has_its_time_and_others_keep_theirs():
    before = Scene().report().status
    later = NOW + timedelta(minutes=5)
    scene = Scene(tunnel=with_status(before), answers={"db-sokken-1": answer(refused("server_tls"), at=later)})
    after = {each["type"]: each for each in scene.report(later).status["conditions"]}
    assert after["Connected"]["lastTransitionTime"] == after["Ready"]["lastTransitionTime"] == "2026-11-26T12:05:00Z"
    assert after["Available"]["lastTransitionTime"] == "2026-11-26T12:00:00Z"


def test_another_reason_is_no_transition():
    first = Scene(answers={"db-sokken-1": answer(refused("server_tls"))}).report().status
    later = NOW + timedelta(minutes=5)
    scene = Scene(tunnel=with_status(first), answers={"db-sokken-1": answer(refused("server_dns"), at=later)})
    after = {each["type"]: each for each in scene.report(later).status["conditions"]}
    assert (after["Connected"]["reason"], after["Connected"]["lastTransitionTime"]) == (
        "ServerUnreachable",
        "2026-11-26T12:00:00Z",
    )


def test_a_new_generation_is_observed():
    report = Scene(tunnel=with_status(Scene().report().status, generation=2)).report()
    assert report.has_changed
    assert report.status["observedGeneration"] == 2
    assert report.events == ()


def test_a_long_message_is_cut():
    scene = Scene(answers={"db-sokken-1": answer(refused("server_tls", "x" * 5000))})
    assert len(scene.conditions()["Connected"]["message"]) == 1000


def test_a_name_that_is_taken():
    scene = Scene(plan=Plan(conflicts=(SERVICE,)))
    assert scene.said("Accepted") == scene.said("Ready") == ("False", "NameConflict")
    assert "Service shop/db-sokken is not this Tunnel's and is not touched" in scene.conditions()["Accepted"]["message"]
    assert "kubectl -n shop get service db-sokken" in scene.conditions()["Accepted"]["message"]
    assert "serviceName" not in scene.report().status


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"has_pod_monitors": False}, "no PodMonitor is made"),
        ({"has_network_policies": False}, "no NetworkPolicy is made"),
    ],
)
def test_what_a_cluster_cannot_do_is_said_and_no_error(missing, said):
    scene = Scene(tunnel=tunnel(LARGE), defaults=replace(DEFAULTS, **missing))
    assert scene.said("Accepted") == ("True", "Accepted")
    assert said in scene.conditions()["Accepted"]["message"]


def test_a_spec_that_no_pods_can_be_made_of_changes_nothing_else():
    before = Scene().report().status
    wrong = {**document(generation=2), "status": before}
    report = describe_invalid(wrong, InvalidTunnel("spec.forwards[0]: no"), NOW + timedelta(minutes=1))
    after = {each["type"]: each for each in report.status["conditions"]}
    for kind in ("Ready", "Accepted"):
        assert (after[kind]["status"], after[kind]["reason"]) == ("False", "InvalidSpec")
        assert (after[kind]["message"], after[kind]["observedGeneration"]) == ("spec.forwards[0]: no", 2)
    assert after["Connected"] == before["conditions"][5]
    assert report.status["serviceName"] == "db-sokken"
    assert [event.reason for event in report.events] == ["InvalidSpec"]


def test_a_spec_that_was_never_good():
    report = describe_invalid(document(), InvalidTunnel("spec: no"), NOW)
    assert {each["type"] for each in report.status["conditions"]} == set(ConditionType)
    admit(build_crd(), {**document(), "status": report.status})
    again = describe_invalid({**document(), "status": report.status}, InvalidTunnel("spec: no"), NOW)
    assert not again.has_changed


# Events


def events(scene, before=None):
    scene.tunnel = tunnel(status=before or {})
    return [(event.type, event.reason) for event in scene.report().events]


def starting():
    return Scene(
        deployment=deployment_status(
            0, conditions=[{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]
        ),
        pods=[pod(ready=False, **waiting("ContainerCreating"))],
        answers={},
    )


def test_what_is_told_of_a_tunnel_that_comes_up():
    assert events(starting()) == [("Normal", "RollingOut")]
    assert events(Scene(), starting().report().status) == [("Normal", "Ready"), ("Normal", "RolloutComplete")]


def test_trouble_is_told_of_once_with_its_cause_and_so_is_its_end():
    well = Scene().report().status
    ill = Scene(answers={"db-sokken-1": answer(refused("unauthenticated", "the server answered 401"))})
    assert events(ill, well) == [("Warning", "AuthenticationFailed")]
    told = tunnel(status=well)
    [event] = replace(ill, tunnel=told).report().events
    assert event.message == "forward pg: the server answered 401 (pod db-sokken-1)"
    assert events(ill, ill.report().status) == []
    assert events(Scene(), ill.report().status) == [("Normal", "Ready")]


def test_what_passes_by_itself_is_not_told():
    well = Scene().report().status
    draining = Scene(pods=[pod("db-sokken-1"), pod("a", draining="2026-11-26T12:30:00Z")])
    assert events(draining, well) == []
    unknown = Scene(answers={"db-sokken-1": answer(passed(ago=90))})
    assert events(unknown, well) == []


def test_pods_that_were_ready_and_are_not_any_more_are_told_of():
    gone = Scene(deployment=deployment_status(0), pods=[pod(ready=False)], answers={"db-sokken-1": answer(passed())})
    assert events(gone, Scene().report().status) == [("Warning", "PodsNotReady")]


def test_every_reason_is_in_the_table_of_reasons():
    assert set(REASONS) == set(Reason)
    for reason, entry in REASONS.items():
        assert entry.cause, reason
        assert entry.remedy, reason


@pytest.mark.parametrize(
    ("manifest", "is_asked"),
    [
        (pod(), True),
        (pod(ready=False), True),
        (pod(draining="2026-11-26T12:30:00Z"), False),
        (pod(podIP=""), False),
        (pod(phase="Pending"), False),
        ({"metadata": {}}, False),
    ],
)
def test_which_pods_are_worth_asking(manifest, is_asked):
    assert wants_answer(manifest) is is_asked
