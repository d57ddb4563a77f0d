import asyncio
import random
from datetime import timedelta

import pytest

from sokken.operator import pods, reconciler, term
from sokken.operator.cluster.resources import TUNNELS
from tests.support.fake_api_server import api_server, status
from tests.support.loops import run, soon
from tests.support.operators import (
    KINDS,
    client_pods,
    conditions,
    leading,
    put_pod,
    put_tunnel,
    ready,
    roll_out,
    working,
)


@pytest.fixture(autouse=True)
def _haste(monkeypatch):
    """What waits half a minute waits for a moment, and delays are short."""
    monkeypatch.setattr(random, "random", lambda: 0.05)
    monkeypatch.setattr(pods, "ROUND_SECONDS", 0.2)
    monkeypatch.setattr(pods, "SOON_SECONDS", 0.05)


def writes(server, *methods):
    return [f"{a.method} {a.path.rpartition('/namespaces/team/')[2]}" for a in server.writes() if a.method in methods]


def child(server, plural):
    return server.find(plural, "web-sokken")


def test_a_tunnel_gets_its_children_and_its_status():
    async def main():
        async with api_server() as server, client_pods() as client, working(server, client):
            tunnel = put_tunnel(server)
            await soon(lambda: ready(server))
            assert conditions(server)["Accepted"] == ("True", "Accepted")
            for plural in KINDS:
                owner = child(server, plural)["metadata"]["ownerReferences"][0]
                assert (owner["uid"], owner["controller"]) == (tunnel["metadata"]["uid"], True)
            managers = {asked.query["fieldManager"] for asked in server.writes() if asked.method == "PATCH"}
            assert managers == {"sokken-operator", "sokken-operator-status"}
            put_pod(server)
            roll_out(server)
            await soon(lambda: ready(server) == ("True", "Ready"))
            assert server.find("tunnels", "web")["metadata"].keys() == tunnel["metadata"].keys()

    run(main())


def test_once_everything_is_as_it_should_be_nothing_is_written():
    async def main():
        async with api_server() as server, client_pods() as client, working(server, client):
            put_tunnel(server)
            await soon(lambda: ready(server))
            put_pod(server)
            roll_out(server)
            await soon(lambda: ready(server) == ("True", "Ready"))
            asked = client.asked
            await soon(lambda: client.asked > asked + 2)
            before = len(server.writes())
            await soon(lambda: client.asked > asked + 8)
            server.bookmark()
            assert len(server.writes()) == before

    run(main())


@pytest.mark.parametrize("plural", KINDS)
def test_a_child_that_somebody_deletes_is_there_again(plural):
    async def main():
        async with api_server() as server, working(server):
            put_tunnel(server)
            await soon(lambda: ready(server))
            found = child(server, plural)
            version = "apps/v1" if plural == "deployments" else "v1"
            await soon(lambda: len(server.streams) >= 6)
            server.remove(version, plural, "team", "web-sokken")
            await soon(lambda: child(server, plural))
            assert child(server, plural)["metadata"]["uid"] != found["metadata"]["uid"]

    run(main())


def test_a_child_that_somebody_edits_is_as_it_was():
    async def main():
        async with api_server() as server, working(server):
            put_tunnel(server)
            await soon(lambda: ready(server))
            await soon(lambda: len(server.streams) >= 6)
            found = child(server, "services")
            edited = {**found, "spec": {**found["spec"], "selector": {"app": "mine"}, "type": "NodePort"}}
            server.put("v1", "services", edited)
            await soon(lambda: child(server, "services")["spec"]["type"] == "ClusterIP")
            assert child(server, "services")["metadata"]["uid"] == found["metadata"]["uid"]

    run(main())


def test_what_an_apply_keeps_of_another_writer_is_taken_out_without_being_told_of():
    """No watch tells of what one's own write has returned."""

    async def main():
        async with api_server() as server, working(server):
            put_tunnel(server)
            await soon(lambda: ready(server))
            await soon(lambda: len(server.streams) >= 6)
            found = child(server, "services")
            wanted = found["spec"]["ports"]
            fields = {"f:spec": {"f:ports": {'k:{"port":9,"protocol":"TCP"}': {}}}}
            metadata = {**found["metadata"], "managedFields": [{"manager": "kubectl-patch", "fieldsV1": fields}]}
            mine = [{"name": "mine", "port": 9, "protocol": "TCP"}]
            server.put("v1", "services", {**found, "metadata": metadata, "spec": {**found["spec"], "ports": mine}})
            server.is_silent = True
            await soon(lambda: child(server, "services")["spec"]["ports"] == wanted)

    run(main())


def test_what_is_no_longer_wanted_is_deleted():
    async def main():
        async with api_server() as server, working(server):
            put_tunnel(server, replicas=2)
            await soon(lambda: child(server, "poddisruptionbudgets") and child(server, "services"))
            put_tunnel(server, replicas=1, service={"type": "None"})
            await soon(lambda: not child(server, "poddisruptionbudgets") and not child(server, "services"))
            assert child(server, "deployments")["spec"]["replicas"] == 1
            deletions = [asked for asked in server.writes() if asked.method == "DELETE"]
            assert all(asked.body["preconditions"]["uid"] for asked in deletions)

    run(main())


def test_a_strangers_object_of_the_same_name_is_not_touched():
    async def main():
        async with api_server() as server, working(server):
            stranger = server.put("v1", "services", {"metadata": {"name": "web-sokken", "namespace": "team"}})
            put_tunnel(server)
            await soon(lambda: conditions(server).get("Accepted") == ("False", "NameConflict"))
            assert child(server, "services") == stranger
            server.remove("v1", "services", "team", "web-sokken")
            put_tunnel(server, drainTimeoutSeconds=60)
            await soon(lambda: conditions(server)["Accepted"] == ("True", "Accepted"))

    run(main())


def test_of_a_tunnel_that_is_being_deleted_nothing_is_touched():
    async def main():
        async with api_server() as server, working(server) as working_term:
            put_tunnel(server)
            await soon(lambda: ready(server))
            await soon(lambda: not working_term.schedule.working)
            leaving = server.find("tunnels", "web")
            leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            server.put(TUNNELS.api_version, "tunnels", leaving)
            asked = len(server.asked)
            server.remove("v1", "services", "team", "web-sokken")
            await soon(lambda: len(server.asked) > asked + 1)
            await soon(lambda: not working_term.schedule.working)
            assert child(server, "services") is None
            server.remove(TUNNELS.api_version, "tunnels", "team", "web")
            await soon(lambda: ("team", "web") not in working_term.ready)

    run(main())


def test_a_spec_that_no_pods_can_be_made_of_is_told_and_what_runs_is_left():
    async def main():
        async with api_server() as server, working(server):
            put_tunnel(server)
            await soon(lambda: ready(server))
            before = child(server, "deployments")
            put_tunnel(server, server={"url": "no URL"})
            await soon(lambda: conditions(server)["Accepted"] == ("False", "InvalidSpec"))
            assert child(server, "deployments") == before
            put_tunnel(server)
            await soon(lambda: conditions(server)["Accepted"] == ("True", "Accepted"))

    run(main())


@pytest.mark.parametrize(
    ("code", "message"),
    [(422, "Service is invalid: spec.ports"), (500, "failed to create typed patch object (x): field not declared")],
)
def test_what_the_api_server_does_not_take_is_told_and_the_rest_is_done(code, message):
    async def main():
        async with api_server() as server, working(server):

            def is_service(asked):
                return asked.method == "PATCH" and "/services/" in asked.path

            server.refuse(code, status(code, message), matches=is_service, times=10_000)
            put_tunnel(server)
            await soon(lambda: conditions(server).get("Accepted") == ("False", "InvalidSpec"))
            assert child(server, "deployments")
            attempts = writes(server, "PATCH").count("PATCH services/web-sokken")
            server.forgive()
            put_tunnel(server, drainTimeoutSeconds=60)  # another edition is tried at once
            await soon(lambda: child(server, "services"))
            assert attempts <= 3

    run(main())


def test_rights_that_are_missing_are_told_once_that_has_lasted(monkeypatch):
    monkeypatch.setattr(reconciler, "LASTING_SECONDS", 0.5)

    async def main():
        async with api_server() as server, working(server):

            def is_service(asked):
                return asked.method == "PATCH" and "/services/" in asked.path

            server.refuse(403, status(403, 'services "web-sokken" is forbidden'), matches=is_service, times=10_000)
            put_tunnel(server)
            await soon(lambda: child(server, "serviceaccounts"))
            assert ready(server) is None
            await soon(lambda: conditions(server).get("Progressing") == ("False", "RBACDenied"))
            message = server.find("tunnels", "web")["status"]["conditions"][0]["message"]
            assert "apply Service team/web-sokken" in message
            server.forgive()
            put_tunnel(server, drainTimeoutSeconds=60)
            await soon(lambda: conditions(server)["Progressing"][1] != "RBACDenied")
            assert child(server, "services")

    run(main())


def test_refusals_of_a_server_that_restarts_leave_no_trace_in_a_status():
    async def main():
        async with api_server() as server, working(server):

            def is_apply(asked):
                return asked.method == "PATCH" and not asked.path.endswith("/status")

            server.refuse(403, status(403, "RBAC: not found"), matches=is_apply, times=2)
            server.refuse(429, matches=is_apply, times=2, headers={"Retry-After": "0.1"})
            server.refuse(503, matches=is_apply, times=2)
            put_tunnel(server)
            await soon(lambda: ready(server))
            reasons = {
                condition["reason"]
                for asked in server.writes()
                if asked.path.endswith("/status")
                for condition in asked.body["status"]["conditions"]
            }
            assert not reasons & {"RBACDenied", "ApplyFailed", "InvalidSpec"}

    run(main())


def test_a_namespace_on_its_way_out_is_left_alone():
    async def main():
        async with api_server() as server, working(server) as working_term:
            cause = {"reason": "NamespaceTerminating"}
            going = status(403, "namespace team is being terminated", causes=[cause])
            server.refuse(403, going, matches=lambda asked: asked.method == "PATCH", times=10_000)
            put_tunnel(server)
            await soon(lambda: writes(server, "PATCH"))
            await soon(lambda: not working_term.schedule.working)
            assert working_term.schedule.next_due() is None

    run(main())


def test_a_write_that_came_too_late_is_planned_anew():
    async def main():
        async with api_server() as server, working(server):

            def is_deployment(asked):
                return asked.method == "PATCH" and "/deployments/" in asked.path

            server.refuse(409, matches=is_deployment, times=2)
            put_tunnel(server)
            await soon(lambda: child(server, "deployments") and ready(server))
            assert writes(server, "PATCH").count("PATCH deployments/web-sokken") == 3

    run(main())


def test_pods_say_what_the_server_thinks_of_them(monkeypatch):
    async def main():
        async with api_server() as server, client_pods() as client, working(server, client):
            client.refuse("unauthenticated", "the server answered 401 unauthenticated")
            put_tunnel(server)
            await soon(lambda: child(server, "deployments"))
            put_pod(server)
            roll_out(server)
            await soon(lambda: ready(server) == ("False", "AuthenticationFailed"))
            client.admit()
            await soon(lambda: ready(server) == ("True", "Ready"))
            monkeypatch.setattr(pods, "BELIEVED", timedelta(0))
            client.status = 503
            await soon(lambda: conditions(server)["Connected"] == ("Unknown", "StatusEndpointUnreachable"))

    run(main())


def test_pods_that_may_not_be_listed_are_told():
    async def main():
        async with api_server() as server:
            server.refuse(403, status(403, "pods is forbidden"), matches=lambda a: a.path.endswith("/pods"), times=9999)
            async with working(server):
                put_tunnel(server)
                await soon(lambda: conditions(server).get("Progressing") == ("False", "RBACDenied"))
                assert "list Pod" in server.find("tunnels", "web")["status"]["conditions"][0]["message"]

    run(main())


def test_a_new_leader_calls_nothing_unknown_that_was_known_before():
    async def main():
        async with api_server() as server, client_pods() as client:
            async with working(server, client):
                put_tunnel(server)
                await soon(lambda: child(server, "deployments"))
                put_pod(server)
                roll_out(server)
                await soon(lambda: ready(server) == ("True", "Ready"))
            before = len(server.writes())
            client.patience = 0.3
            asked = client.asked
            async with working(server, client) as second:
                await soon(lambda: client.asked > asked)
                await soon(lambda: second.ready)
                assert len(server.writes()) == before
                assert second.ready == {("team", "web"): "True"}

    run(main())


def test_transitions_are_told_as_events():
    async def main():
        async with api_server() as server, client_pods() as client, working(server, client):
            put_tunnel(server)
            await soon(lambda: child(server, "deployments"))
            put_pod(server)
            roll_out(server)
            await soon(lambda: ready(server) == ("True", "Ready"))
            client.refuse("server_unreachable", "nobody there")

            def told():
                return {a.body["reason"]: a.body for a in server.writes() if a.path.endswith("/events")}

            await soon(lambda: {"Ready", "ServerUnreachable"} <= told().keys())
            event = told()["ServerUnreachable"]
            assert (event["type"], event["regarding"]["name"]) == ("Warning", "web")
            assert event["reportingInstance"] == "operator-1"

    run(main())


def image(server, name):
    found = server.find("deployments", f"{name}-sokken")
    return found["spec"]["template"]["spec"]["containers"][0]["image"]


async def put_ready(server, client, *names):
    """Tunnels that are ready with the image sokken:1."""
    async with working(server, client, operator_image="sokken:1"):
        for name in names:
            put_tunnel(server, name)
            await soon(lambda name=name: server.find("deployments", f"{name}-sokken"))
            put_pod(server, name, f"{name}-1")
            roll_out(server, name)
        await soon(lambda: {ready(server, name) for name in names} == {("True", "Ready")})


def test_when_the_default_image_is_another_one_tunnel_rolls_after_the_other():
    names = ["a", "b", "c"]

    async def main():
        async with api_server() as server, client_pods() as client:
            await put_ready(server, client, *names)
            async with working(server, client, operator_image="sokken:2"):
                for rolled in (1, 2, 3):
                    await soon(lambda: sum(image(server, name) == "sokken:2" for name in names) == rolled)  # noqa: B023
                    asked = client.asked
                    await soon(lambda: client.asked > asked + 6)  # noqa: B023
                    assert sum(image(server, name) == "sokken:2" for name in names) == rolled
                    assert {ready(server, name)[0] for name in names} == {"True"}
                    for name in names:
                        if image(server, name) == "sokken:2":
                            roll_out(server, name)

    run(main())


def test_a_tunnel_that_is_deleted_while_it_is_rolled_gives_its_turn_back():
    names = ["a", "b", "c"]

    async def main():
        async with api_server() as server, client_pods() as client:
            await put_ready(server, client, *names)
            async with working(server, client, operator_image="sokken:2"):
                await soon(lambda: "sokken:2" in {image(server, name) for name in names})
                (rolled,) = [name for name in names if image(server, name) == "sokken:2"]
                others = [name for name in names if name != rolled]
                server.remove("sokken.dev/v1alpha1", "tunnels", "team", rolled)
                asked = client.asked
                await soon(lambda: client.asked > asked + 6)
                server.remove("apps/v1", "deployments", "team", f"{rolled}-sokken")  # by the garbage collector
                while others:
                    await soon(lambda: "sokken:2" in {image(server, name) for name in others})
                    (rolled,) = [name for name in others if image(server, name) == "sokken:2"]
                    roll_out(server, rolled)
                    others.remove(rolled)

    run(main())


def test_a_tunnel_that_never_worked_keeps_nobody_from_being_rolled():
    async def main():
        async with api_server() as server, client_pods() as client:
            await put_ready(server, client, "b")
            async with working(server, client, operator_image="sokken:1"):
                put_tunnel(server, "a")
                await soon(lambda: server.find("deployments", "a-sokken"))
            for version in ("sokken:2", "sokken:3"):
                async with working(server, client, operator_image=version):
                    await soon(lambda: {image(server, name) for name in "ab"} == {version})  # noqa: B023
                    roll_out(server, "b")
                    await soon(lambda: ready(server, "b") == ("True", "Ready"))

    run(main())


def test_before_tunnels_are_served_it_waits_and_says_for_what(monkeypatch):
    monkeypatch.setattr(term, "PREPARE_SECONDS", 0.05)

    async def main():
        async with api_server() as server:
            tunnels = server.served.pop("/apis/sokken.dev/v1alpha1")
            async with leading(server) as waiting:
                await soon(lambda: "sokken operator crds" in (waiting.problem or ""))
                server.served["/apis/sokken.dev/v1alpha1"] = tunnels
                forbidden = status(403, "tunnels is forbidden")
                server.refuse(403, forbidden, matches=lambda asked: asked.path.endswith("/tunnels"), times=3)
                await soon(lambda: "403" in (waiting.problem or ""))
                await soon(lambda: waiting.problem is None)

    run(main())


def test_pod_monitors_are_made_where_their_definition_is_or_comes(monkeypatch):
    monkeypatch.setattr(term, "RESYNC_SECONDS", 0.2)

    async def main():
        async with api_server() as server, working(server) as working_term:
            put_tunnel(server, monitoring={"podMonitor": {"enabled": True}})
            await soon(lambda: ready(server))
            accepted = server.find("tunnels", "web")["status"]["conditions"][1]
            assert "no PodMonitor is made" in accepted["message"]
            server.served["/apis/monitoring.coreos.com/v1"] = {"podmonitors": "PodMonitor"}
            monkeypatch.setattr(random, "random", lambda: 0.001)
            await soon(lambda: child(server, "podmonitors"))
            assert working_term.watch_ages()

    run(main())


def test_a_definition_of_pod_monitors_that_goes_holds_nothing_up():
    async def main():
        async with api_server() as server:
            server.served["/apis/monitoring.coreos.com/v1"] = {"podmonitors": "PodMonitor"}
            async with working(server):
                put_tunnel(server, monitoring={"podMonitor": {"enabled": True}})
                await soon(lambda: child(server, "podmonitors"))
                del server.served["/apis/monitoring.coreos.com/v1"]
                server.remove("monitoring.coreos.com/v1", "podmonitors", "team", "web-sokken")
                server.refuse(404, matches=lambda asked: "podmonitors" in asked.path, times=10_000)
                put_tunnel(server, monitoring={"podMonitor": {"enabled": True}}, drainTimeoutSeconds=60)

                def accepted():
                    conditions = server.find("tunnels", "web")["status"]["conditions"]
                    return next(each for each in conditions if each["type"] == "Accepted")

                await soon(lambda: "no PodMonitor is made" in accepted()["message"])
                assert accepted()["observedGeneration"] == server.find("tunnels", "web")["metadata"]["generation"]

    run(main())


def test_a_stale_watch_is_healed_by_the_look_that_finds_it(monkeypatch):
    monkeypatch.setattr("sokken.operator.watchdog.LOOK_SECONDS", 0.2)

    async def main():
        async with api_server() as server, working(server) as working_term:
            await soon(lambda: any(stream.place.plural == "tunnels" for stream in server.streams))
            dead = next(stream for stream in server.streams if stream.place.plural == "tunnels")
            server.streams.remove(dead)  # it stays open, and tells nothing
            put_tunnel(server)
            await soon(lambda: ready(server))
            assert working_term.watchdog.problem is None
            server.streams.append(dead)

    run(main())


def test_at_the_end_what_has_begun_is_finished():
    async def main():
        async with api_server() as server, working(server) as ending:
            server.patience = 0.2
            put_tunnel(server)
            await soon(lambda: ending.schedule.working)
            await ending.drain(5)
            assert ready(server)
            before = len(server.writes())
            put_tunnel(server, drainTimeoutSeconds=60)
            await asyncio.sleep(0.3)
            assert len(server.writes()) == before
            server.patience = 0

    run(main())
