import asyncio
from contextlib import asynccontextmanager, suppress

from sokken.operator.children import DEPLOYMENTS, RESOURCES, Children, owner_of
from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.resources import TUNNELS
from sokken.operator.model import API_VERSION, KIND, PLURAL
from tests.support.fake_api_server import api_server
from tests.support.loops import run, soon

SERVICES = RESOURCES["v1", "Service"]
LABELS = {"app.kubernetes.io/managed-by": "sokken-operator", "sokken.dev/tunnel": "web"}


def service(name="web-sokken", *, owner="web", namespace="team", labels=LABELS, **spec):
    owners = [{"kind": "Tunnel", "name": owner, "uid": "1", "controller": True}] if owner else []
    metadata = {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": owners}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


@asynccontextmanager
async def following(server, *scopes):
    told = []
    cluster = Cluster(server.access())
    children = Children(cluster, scopes or (None,), lambda key, change: told.append((key, change.happening.value)))

    async def main():
        async with asyncio.TaskGroup() as tasks:
            children.follow(SERVICES, tasks)

    task = asyncio.ensure_future(main())
    try:
        await soon(lambda: children.informers)
        await children.synced()
        yield children, told
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await cluster.close()


def test_a_child_is_its_owners_or_else_its_labels():
    assert owner_of(service(owner="web")) == ("team", "web")
    assert owner_of(service(owner=None)) == ("team", "web")
    assert owner_of(service(owner=None, labels={})) is None
    pod = service(owner=None)
    pod["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "name": "web-1", "controller": True}]
    assert owner_of(pod) == ("team", "web")


def test_they_are_found_by_tunnel_and_their_changes_ring_for_it():
    async def main():
        async with api_server() as server:
            server.put("v1", "services", service())
            server.put("v1", "services", service("other-sokken", owner="other"))
            async with following(server) as (children, told):
                assert [child["metadata"]["name"] for child in children.of(("team", "web"))] == ["web-sokken"]
                assert set(children.tunnels()) == {("team", "web"), ("team", "other")}
                await soon(lambda: server.streams)
                told.clear()
                server.remove("v1", "services", "team", "web-sokken")
                await soon(lambda: told)
                assert told == [(("team", "web"), "DELETED")]
                assert children.of(("team", "web")) == []
                assert set(children.tunnels()) == {("team", "other")}

    run(main())


def test_what_a_write_has_returned_is_known_at_once_and_no_news_later():
    async def main():
        async with api_server() as server:
            made = server.put("v1", "services", service(x=1))
            async with following(server) as (children, told):
                await soon(lambda: server.streams)
                told.clear()
                written = server.put("v1", "services", {**made, "spec": {"x": 2}})
                children.note(written)
                assert children.of(("team", "web")) == [written]
                server.put("v1", "services", {**written, "spec": {"x": 3}})
                await soon(lambda: told)
                assert children.of(("team", "web"))[0]["spec"] == {"x": 3}
                assert told == [(("team", "web"), "MODIFIED")]

    run(main())


def test_an_older_version_that_comes_late_is_passed_over():
    async def main():
        async with api_server() as server:
            first = server.put("v1", "services", service(x=1))
            async with following(server) as (children, _):
                await soon(lambda: server.streams)
                newest = {**first, "metadata": {**first["metadata"], "resourceVersion": "900"}, "spec": {"x": 9}}
                children.note(newest)
                server.send({"type": "MODIFIED", "object": {**first, "spec": {"x": 1}}})
                server.bookmark()
                informer = next(iter(children.informers))
                heard = informer.heard_at
                await soon(lambda: informer.heard_at > heard or informer._version != first)
                assert children.of(("team", "web"))[0]["spec"] == {"x": 9}

    run(main())


def test_each_scope_is_followed_by_itself():
    async def main():
        async with api_server() as server:
            server.put("v1", "services", service())
            server.put("v1", "services", service(namespace="two"))
            server.put("v1", "services", service(namespace="three"))
            async with following(server, "team", "two") as (children, _):
                assert set(children.tunnels()) == {("team", "web"), ("two", "web")}
                assert children.follows(SERVICES)
                assert not children.follows(DEPLOYMENTS)

    run(main())


def test_the_client_and_the_model_mean_the_same_objects():
    assert (TUNNELS.api_version, TUNNELS.kind, TUNNELS.plural) == (API_VERSION, KIND, PLURAL)
