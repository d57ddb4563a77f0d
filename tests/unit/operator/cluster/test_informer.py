import asyncio
import random
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from sokken.operator.cluster.client import Cluster
from sokken.operator.cluster.informer import Informer
from sokken.operator.cluster.resources import Resource
from tests.support.fake_api_server import api_server, status
from tests.support.loops import run, soon

SERVICES = Resource("v1", "Service", "services")
LABELS = {"app.kubernetes.io/managed-by": "sokken-operator"}
SELECTOR = "app.kubernetes.io/managed-by=sokken-operator"


@pytest.fixture(autouse=True)
def _haste(monkeypatch):
    """Delays are drawn at random; these are short."""
    monkeypatch.setattr(random, "random", lambda: 0.02)


def service(name, labels=LABELS, **spec):
    return {"metadata": {"name": name, "namespace": "team", "labels": labels}, "spec": spec}


def put(server, name, labels=LABELS, **spec):
    known = server.find("services", name)
    made = service(name, labels, **spec)
    if known:
        made["metadata"]["uid"] = known["metadata"]["uid"]
    return server.put("v1", "services", made)


class Followed:
    """What an informer has told."""

    def __init__(self):
        self.changes = []

    def take(self, change):
        self.changes.append((change.happening.value, change.manifest["metadata"]["name"]))

    async def heard(self, *expected):
        await soon(lambda: len(self.changes) >= len(expected))
        assert self.changes == list(expected)
        self.changes.clear()


@asynccontextmanager
async def following(server, silence_seconds=70.0, **options):
    cluster = Cluster(server.access(), silence_seconds=silence_seconds)
    followed = Followed()
    informer = Informer(cluster, SERVICES, None, SELECTOR, followed.take, **options)
    task = asyncio.ensure_future(informer.run())
    try:
        await informer.synced.wait()
        yield informer, followed
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await cluster.close()


def lists(server):
    return [asked for asked in server.asked if "watch" not in asked.query]


def watches(server):
    return [asked for asked in server.asked if "watch" in asked.query]


def test_it_tells_what_is_there_and_what_changes():
    async def main():
        async with api_server() as server:
            put(server, "a")
            put(server, "strange", labels={})
            async with following(server) as (informer, followed):
                await followed.heard(("ADDED", "a"))
                await soon(lambda: server.streams)
                put(server, "b")
                put(server, "a", x=1)
                server.remove("v1", "services", "team", "b")
                await followed.heard(("ADDED", "b"), ("MODIFIED", "a"), ("DELETED", "b"))
                found = informer.cache.get(("team", "a"))
                assert (found["apiVersion"], found["kind"], found["spec"]) == ("v1", "Service", {"x": 1})

    run(main())


def test_a_stream_that_ends_goes_on_from_where_it_was():
    async def main():
        async with api_server() as server, following(server) as (_, followed):
            await soon(lambda: server.streams)
            put(server, "a")
            await followed.heard(("ADDED", "a"))
            version = server.find("services", "a")["metadata"]["resourceVersion"]
            server.end_streams()
            put(server, "b")
            await followed.heard(("ADDED", "b"))
            assert len(lists(server)) == 1
            assert watches(server)[1].query["resourceVersion"] == version

    run(main())


def test_a_bookmark_moves_where_it_goes_on_from():
    async def main():
        async with api_server() as server, following(server) as (informer, followed):
            await soon(lambda: server.streams)
            heard_at = informer.heard_at
            server.bookmark()
            await soon(lambda: informer.heard_at > heard_at)
            server.forget()
            server.bookmark()
            server.end_streams()
            await soon(lambda: len(watches(server)) == 2 and server.streams)
            assert len(lists(server)) == 1
            put(server, "a")
            await followed.heard(("ADDED", "a"))

    run(main())


@pytest.mark.parametrize("as_status", [True, False], ids=["410 as the answer", "410 within the stream"])
def test_a_version_that_is_forgotten_is_listed_anew_and_what_was_missed_is_told(as_status):
    async def main():
        async with api_server() as server:
            put(server, "a")
            put(server, "b")
            async with following(server) as (_, followed):
                await soon(lambda: server.streams)
                followed.changes.clear()
                server.refuse(503, matches=lambda asked: "watch" in asked.query, times=2)
                server.break_streams()
                await soon(lambda: not server.streams)
                server.remove("v1", "services", "team", "a")
                put(server, "b", x=1)
                put(server, "c")
                server.forget()
                if as_status:
                    gone = status(410, "too old resource version", "Expired")
                    server.refuse(410, gone, matches=lambda asked: "watch" in asked.query)
                await followed.heard(("DELETED", "a"), ("MODIFIED", "b"), ("ADDED", "c"))
                assert len(lists(server)) == 2

    run(main())


def test_a_broken_stream_is_begun_anew():
    async def main():
        async with api_server() as server, following(server) as (informer, followed):
            for name in "abc":
                await soon(lambda: server.streams)
                server.break_streams()
                put(server, name)
                await followed.heard(("ADDED", name))
            assert informer.problem is None

    run(main())


def test_a_silent_stream_is_dead():
    async def main():
        async with api_server() as server, following(server, silence_seconds=0.1) as (_, followed):
            await soon(lambda: len(watches(server)) >= 3)
            put(server, "a")
            await followed.heard(("ADDED", "a"))
            assert len(lists(server)) == 1

    run(main())


@pytest.mark.parametrize(
    "event",
    [
        b"no JSON\n",
        b'{"type":"ADDED"}\n',
        b"[]\n",
        b'{"type":"ERROR","object":{"code":500,"message":"etcd"}}\n',
        b'{"type":"ERROR","object":{}}\n',
        b'{"type":"ADDED","object":{"kind":"' + b"x" * 5_000_000 + b'"}}\n',
    ],
    ids=["text", "no object", "no event", "an error", "an empty error", "a line without an end"],
)
def test_a_stream_that_makes_no_sense_is_begun_anew(event):
    async def main():
        async with api_server() as server, following(server) as (_, followed):
            await soon(lambda: server.streams)
            first = server.streams[0]
            server.send(event)
            await soon(lambda: server.streams and server.streams[0] is not first)
            put(server, "a")
            await followed.heard(("ADDED", "a"))

    run(main())


def test_an_event_of_a_kind_that_is_not_known_is_passed_over():
    async def main():
        async with api_server() as server, following(server) as (_, followed):
            await soon(lambda: server.streams)
            server.send({"type": "RENAMED", "object": {"metadata": {"name": "x", "resourceVersion": "150"}}})
            put(server, "a")
            await followed.heard(("ADDED", "a"))
            assert len(watches(server)) == 1

    run(main())


def test_while_the_server_restarts_its_refusals_pass_and_are_told_once():
    async def main():
        async with api_server() as server:
            put(server, "a")
            with capture_logs() as lines:
                async with following(server) as (informer, followed):
                    await soon(lambda: server.streams)
                    server.refuse(403, status(403, "RBAC: not found"), times=3)
                    server.refuse(429, headers={"Retry-After": "0.1"}, times=2)
                    server.break_streams()
                    await soon(lambda: server.streams and not server._refusals[-1].times)
                    assert followed.changes == [("ADDED", "a")]
                    assert informer.problem is None
            assert [line["event"] for line in lines] == ["watch_failed", "watch_failed", "watch_resumed"]

    run(main())


def test_a_server_that_is_gone_and_comes_back():
    async def main():
        async with api_server() as server:
            put(server, "a")
            async with following(server) as (_, followed):
                await followed.heard(("ADDED", "a"))
                await server.stop()
                put(server, "b")
                await server.start()
                await followed.heard(("ADDED", "b"))

    run(main())


def test_a_stream_that_ends_at_once_every_time_is_asked_for_with_pauses(monkeypatch):
    pauses = []
    original = asyncio.sleep

    async def sleep(seconds, *rest):
        if seconds:
            pauses.append(seconds)
        await original(min(seconds, 0.01), *rest)

    async def main():
        async with api_server() as server:
            server.refuse(200, "", matches=lambda asked: "watch" in asked.query, times=6)
            monkeypatch.setattr("sokken.operator.cluster.informer.asyncio.sleep", sleep)
            async with following(server):
                await soon(lambda: server.streams)

    monkeypatch.setattr(random, "random", lambda: 1.0)
    run(main())
    waits = [pause for pause in pauses if pause >= 0.5]
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0]


def test_what_nobody_reads_is_not_kept():
    def trim(manifest):
        return {**manifest, "spec": None}

    async def main():
        async with api_server() as server:
            put(server, "a", x=1)
            async with following(server, trim=trim) as (informer, followed):
                await followed.heard(("ADDED", "a"))
                assert informer.cache.get(("team", "a"))["spec"] is None

    run(main())
