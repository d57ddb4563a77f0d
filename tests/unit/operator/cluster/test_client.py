import json
from contextlib import asynccontextmanager

import pytest

from sokken.operator.cluster.access import open_access, open_service_account
from sokken.operator.cluster.answers import ClusterError, Trouble
from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.resources import LEASES, TUNNELS, Resource
from sokken.protocol.address import Address
from tests.support.fake_api_server import api_server, status
from tests.support.loops import CERTIFICATE, run

SERVICES = Resource("v1", "Service", "services")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
POD_MONITORS = Resource("monitoring.coreos.com/v1", "PodMonitor", "podmonitors")
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a", "namespace": "team"}, "spec": {"x": 1}}


@asynccontextmanager
async def cluster_of(server, **options):
    cluster = Cluster(server.access(), **options)
    try:
        yield cluster
    finally:
        await cluster.close()


@asynccontextmanager
async def both(**options):
    async with api_server() as server, cluster_of(server, **options) as cluster:
        yield server, cluster


async def refusal_of(call):
    with pytest.raises(ClusterError) as caught:
        await call
    return caught.value


def test_an_object_is_applied_read_and_deleted():
    async def main():
        async with both() as (server, cluster):
            applied = await cluster.apply(SERVICES, SERVICE, "sokken-operator")
            assert server.asked[0].query == {"fieldManager": "sokken-operator", "force": "true"}
            assert server.asked[0].headers["Content-Type"] == "application/apply-patch+yaml"
            assert (await cluster.get(SERVICES, "team", "a")) == applied
            await cluster.delete(SERVICES, "team", "a", applied["metadata"]["uid"])
            error = await refusal_of(cluster.get(SERVICES, "team", "a"))
            assert error.trouble is Trouble.NOT_FOUND
            assert str(error) == 'get services team/a: 404 services "a" not found'

    run(main())


def test_text_is_sent_as_it_is_because_it_is_read_as_yaml():
    async def main():
        async with both() as (server, cluster):
            annotated = {**SERVICE, "metadata": {**SERVICE["metadata"], "annotations": {"note": "\N{ROCKET} ü"}}}
            applied = await cluster.apply(SERVICES, annotated, "m")
            assert applied["metadata"]["annotations"] == {"note": "\N{ROCKET} ü"}
            assert "\N{ROCKET} ü".encode() in server.asked[0].content

    run(main())


def test_what_has_come_in_an_objects_place_is_not_deleted():
    async def main():
        async with both() as (server, cluster):
            await cluster.apply(SERVICES, SERVICE, "sokken-operator")
            await cluster.delete(SERVICES, "team", "a", "another-uid")
            assert server.find("services", "a")
            await cluster.delete(SERVICES, "team", "b", "gone already")

    run(main())


def test_an_object_that_is_gone_is_not_made_again_by_an_apply_that_knows_its_uid():
    async def main():
        async with both() as (_, cluster):
            known = {**SERVICE, "metadata": {**SERVICE["metadata"], "uid": "of-the-one-that-was"}}
            assert (await refusal_of(cluster.apply(SERVICES, known, "m"))).trouble is Trouble.CONFLICT

    run(main())


def test_a_list_comes_in_pages_and_its_items_know_what_they_are(monkeypatch):
    monkeypatch.setattr("sokken.operator.cluster.client.PAGE", 2)

    async def main():
        async with both() as (server, cluster):
            for name in "abcde":
                server.put("v1", "services", {"metadata": {"name": name, "namespace": "team", "labels": {"l": "1"}}})
            server.put("v1", "services", {"metadata": {"name": "z", "namespace": "team"}})
            listing = await cluster.list(SERVICES, None, "l=1")
            assert [item["metadata"]["name"] for item in listing.items] == list("abcde")
            assert {(item["apiVersion"], item["kind"]) for item in listing.items} == {("v1", "Service")}
            assert len(server.asked) == 3
            assert (await cluster.list(SERVICES, "elsewhere")).items == []

    run(main())


def test_metadata_alone_is_enough_to_compare_versions():
    async def main():
        async with both() as (server, cluster):
            server.put(TUNNELS.api_version, "tunnels", {"metadata": {"name": "a", "namespace": "t"}, "spec": {"x": 1}})
            listing = await cluster.list(TUNNELS, None, only_metadata=True)
            assert "spec" not in listing.items[0]
            assert listing.items[0]["metadata"]["name"] == "a"

    run(main())


def test_whether_a_kind_is_served():
    async def main():
        async with both() as (server, cluster):
            assert await cluster.serves(TUNNELS)
            assert not await cluster.serves(POD_MONITORS)
            server.refuse(503)
            assert (await refusal_of(cluster.serves(TUNNELS))).trouble is Trouble.UNAVAILABLE

    run(main())


def test_a_lease_is_created_once_and_replaced_only_as_it_was_read():
    lease = {"metadata": {"name": "l", "namespace": "team"}, "spec": {"holderIdentity": "a"}}

    async def main():
        async with both() as (_, cluster):
            made = await cluster.create(LEASES, lease)
            assert (await refusal_of(cluster.create(LEASES, lease))).trouble is Trouble.CONFLICT
            await cluster.replace(LEASES, {**made, "spec": {"holderIdentity": "b"}})
            assert (await refusal_of(cluster.replace(LEASES, made))).trouble is Trouble.CONFLICT

    run(main())


@pytest.mark.parametrize(
    ("code", "document", "headers", "trouble", "retry_after"),
    [
        (401, None, {}, Trouble.UNAUTHENTICATED, None),
        (403, None, {}, Trouble.FORBIDDEN, None),
        (409, None, {}, Trouble.CONFLICT, None),
        (410, None, {}, Trouble.GONE, None),
        (422, None, {}, Trouble.INVALID, None),
        (429, None, {"Retry-After": "7"}, Trouble.BUSY, 7),
        (500, None, {}, Trouble.UNAVAILABLE, None),
        (503, "no JSON", {}, Trouble.UNAVAILABLE, None),
    ],
)
def test_what_it_refuses_is_one_error_of_ours(code, document, headers, trouble, retry_after):
    async def main():
        async with both() as (server, cluster):
            server.refuse(code, document, headers=headers, times=2)
            error = await refusal_of(cluster.apply(DEPLOYMENTS, SERVICE, "m"))
            assert (error.trouble, error.retry_after, error.status) == (trouble, retry_after, code)
            assert str(error).startswith(f"patch deployments.apps team/a: {code} ")

    run(main())


def test_nobody_there_is_an_error_of_ours_too():
    async def main():
        async with both() as (server, cluster):
            await server.stop()
            error = await refusal_of(cluster.get(SERVICES, "team", "a"))
            assert (error.trouble, error.status) == (Trouble.UNAVAILABLE, 0)

    run(main())


def test_no_answer_in_time():
    async def main():
        async with both(request_seconds=0.1) as (server, cluster):
            server.patience = 1
            error = await refusal_of(cluster.get(SERVICES, "team", "a"))
            assert (error.trouble, error.message) == (Trouble.UNAVAILABLE, "no answer in time")

    run(main())


def test_a_redirect_is_not_followed_with_the_token():
    async def main():
        async with both() as (server, cluster):
            server.refuse(302, "", headers={"Location": f"{server.url}/api/v1/namespaces/team/services/a"})
            assert (await refusal_of(cluster.get(SERVICES, "team", "b"))).trouble is Trouble.UNAVAILABLE
            assert len(server.asked) == 1

    run(main())


def pod(folder, authorities=CERTIFICATE):
    (folder / "token").write_text("s3cr3t")
    (folder / "ca.crt").write_bytes(authorities.read_bytes())
    (folder / "namespace").write_text("sokken-system\n")
    return folder


def test_a_pods_token_is_read_again_when_it_is_no_longer_accepted(tmp_path):
    async def main():
        async with api_server() as server:
            access = open_service_account(Address("127.0.0.1", int(server.url.rpartition(":")[2])), pod(tmp_path))
            assert access.namespace == "sokken-system"
            cluster = Cluster(access)
            await cluster.list(SERVICES, None)
            server.token = "n3xt"
            assert (await refusal_of(cluster.list(SERVICES, None))).trouble is Trouble.UNAUTHENTICATED
            (tmp_path / "token").write_text("n3xt")
            await cluster.list(SERVICES, None)
            await cluster.close()

    run(main())


def test_an_api_server_with_a_strangers_certificate_is_not_told_the_token(tmp_path):
    from tests.support.certificates import Authority

    async def main():
        async with api_server() as server:
            folder = pod(tmp_path, authorities=Authority(tmp_path).file)
            access = open_service_account(Address("127.0.0.1", int(server.url.rpartition(":")[2])), folder)
            cluster = Cluster(access)
            error = await refusal_of(cluster.list(SERVICES, None))
            assert "certificate" in str(error).lower()
            assert server.asked == []
            await cluster.close()

    run(main())


def test_a_kubeconfig_leads_there_too(tmp_path):
    async def main():
        async with api_server() as server:
            (tmp_path / "ca.pem").write_bytes(CERTIFICATE.read_bytes())
            config = {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "mine"}}],
                "clusters": [{"name": "k", "cluster": {"server": server.url, "certificate-authority": "ca.pem"}}],
                "users": [{"name": "u", "user": {"token": "s3cr3t"}}],
            }
            (tmp_path / "kubeconfig").write_text(json.dumps(config))
            access = open_access(tmp_path / "kubeconfig", None)
            assert access.namespace == "mine"
            cluster = Cluster(access)
            assert (await cluster.list(SERVICES, None)).items == []
            await cluster.close()

    run(main())


def test_a_schema_error_of_server_side_apply_stays():
    async def main():
        async with both() as (server, cluster):
            message = "failed to create typed patch object (t/a; apps/v1, Kind=Deployment): .spec.x: field not declared"
            server.refuse(500, status(500, message))
            error = await refusal_of(cluster.apply(DEPLOYMENTS, SERVICE, "m"))
            assert error.trouble is Trouble.INVALID

    run(main())
