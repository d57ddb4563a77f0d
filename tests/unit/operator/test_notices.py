from contextlib import asynccontextmanager

from sokken.operator.cluster.client import Cluster
from sokken.operator.notices import Notices
from sokken.operator.status import Event
from tests.support.fake_api_server import api_server
from tests.support.loops import Clock, run

TUNNEL = {"metadata": {"namespace": "team", "name": "web", "uid": "u1"}}
LOST = Event("Warning", "ServerUnreachable", "nobody there", "Reconcile")
FOUND = Event("Normal", "Ready", "all is well", "Reconcile")


@asynccontextmanager
async def telling():
    clock = Clock()
    async with api_server() as server:
        cluster = Cluster(server.access())
        try:
            yield server, Notices(cluster, "operator-1", clock), clock
        finally:
            await cluster.close()


def events(server):
    return [manifest for (_, plural, _, _), manifest in server.objects.items() if plural == "events"]


def test_it_is_an_event_on_the_tunnel():
    async def main():
        async with telling() as (server, notices, _):
            await notices.tell(TUNNEL, LOST)
            (event,) = events(server)
            assert event["metadata"]["name"].startswith("web.")
            assert event["metadata"]["namespace"] == "team"
            assert (event["type"], event["reason"], event["action"]) == ("Warning", "ServerUnreachable", "Reconcile")
            assert event["note"] == "nobody there"
            assert event["regarding"] == {
                "apiVersion": "sokken.dev/v1alpha1",
                "kind": "Tunnel",
                "namespace": "team",
                "name": "web",
                "uid": "u1",
            }
            assert event["reportingController"] == "sokken.dev/operator"
            assert event["eventTime"].endswith("Z")

    run(main())


def test_what_comes_and_goes_is_counted_in_the_event_that_is_there():
    async def main():
        async with telling() as (server, notices, clock):
            for _ in range(4):
                await notices.tell(TUNNEL, LOST)
                await notices.tell(TUNNEL, FOUND)
                clock.now += 60
            assert len(events(server)) == 2
            assert {event["series"]["count"] for event in events(server)} == {4}
            clock.now += 600
            await notices.tell(TUNNEL, LOST)
            assert len(events(server)) == 3

    run(main())


def test_an_event_that_has_expired_is_made_anew():
    async def main():
        async with telling() as (server, notices, _):
            await notices.tell(TUNNEL, LOST)
            server.remove("events.k8s.io/v1", "events", "team", events(server)[0]["metadata"]["name"])
            await notices.tell(TUNNEL, LOST)
            assert len(events(server)) == 1

    run(main())


def test_one_that_cannot_be_written_is_no_failure():
    async def main():
        async with telling() as (server, notices, _):
            server.refuse(403, times=1)
            await notices.tell(TUNNEL, LOST)
            await notices.tell(TUNNEL, LOST)
            assert len(events(server)) == 1

    run(main())


def test_long_words_are_cut_to_what_the_api_takes():
    async def main():
        async with telling() as (server, notices, _):
            long = {"metadata": {"namespace": "team", "name": "x" * 253, "uid": "u2"}}
            await notices.tell(long, Event("Warning", "R", "y" * 5000, "Reconcile"))
            (event,) = events(server)
            assert len(event["note"]) == 1024
            assert len(event["metadata"]["name"]) <= 253

    run(main())
