import asyncio
import logging
from contextlib import asynccontextmanager, suppress

import pytest

from sokken.operator import handlers
from sokken.operator.cluster.access import Access
from sokken.operator.cluster.resources import TUNNELS
from sokken.operator.handlers import Doorbell, DoorbellError
from sokken.protocol.credentials import parse_token
from sokken.transport.files import WatchedFile
from tests.support.fake_api_server import api_server
from tests.support.loops import run, soon


@pytest.fixture(autouse=True)
def said():
    """What kopf has to say at a level that would be logged."""
    records = []

    class Listener(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    listener = Listener(logging.WARNING)
    logging.getLogger("kopf").addHandler(listener)
    yield records
    logging.getLogger("kopf").removeHandler(listener)


def put(server, name, namespace="team", **spec):
    known = server.find("tunnels", name)
    uid = {"uid": known["metadata"]["uid"]} if known else {}
    manifest = {"metadata": {"name": name, "namespace": namespace, **uid}, "spec": spec}
    return server.put(TUNNELS.api_version, "tunnels", manifest)


@asynccontextmanager
async def ringing(server, *namespaces):
    bells = []
    doorbell = Doorbell(server.access(), namespaces, bells.append)
    task = asyncio.ensure_future(doorbell.run())
    try:
        yield doorbell, bells
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def watched(server, streams=1):
    await soon(lambda: len(server.streams) == streams)


def test_it_rings_for_what_is_there_and_for_every_change():
    async def main():
        async with api_server() as server:
            first = put(server, "a", x=1)
            async with ringing(server) as (_, bells):
                await soon(lambda: bells)
                assert bells[0].key == ("team", "a")
                assert (bells[0].uid, bells[0].edition) == (first["metadata"]["uid"], (first["metadata"]["uid"], 1))
                await watched(server)
                changed = put(server, "a", x=2)
                await soon(lambda: len(bells) == 2)
                assert (bells[1].generation, bells[1].version) == (2, changed["metadata"]["resourceVersion"])
                server.remove(TUNNELS.api_version, "tunnels", "team", "a")
                await soon(lambda: len(bells) == 3)
                assert [bell.is_gone for bell in bells] == [False, False, True]

    run(main())


def test_nothing_is_written_into_an_object():
    async def main():
        async with api_server() as server:
            before = put(server, "a", x=1)
            async with ringing(server) as (_, bells):
                await soon(lambda: bells)
                await watched(server)
                put(server, "b")
                await soon(lambda: len(bells) == 2)
            assert server.writes() == []
            assert server.find("tunnels", "a") == before

    run(main())


def test_only_in_its_namespaces_if_it_has_some():
    async def main():
        async with api_server() as server:
            put(server, "a", "one")
            put(server, "b", "two")
            put(server, "c", "three")
            async with ringing(server, "one", "two") as (_, bells):
                await soon(lambda: len(bells) == 2)
                await watched(server, 2)
                put(server, "d", "three")
                put(server, "e", "two")
                await soon(lambda: len(bells) == 3)
                assert {bell.key for bell in bells} == {("one", "a"), ("two", "b"), ("two", "e")}
            paths = {asked.path for asked in server.asked if asked.path.endswith("/tunnels")}
            prefix = "/apis/sokken.dev/v1alpha1/namespaces"
            assert paths == {f"{prefix}/one/tunnels", f"{prefix}/two/tunnels"}

    run(main())


def test_it_asks_for_nothing_that_it_has_no_right_to(said):
    async def main():
        async with api_server() as server, ringing(server) as (_, bells):
            await watched(server)
            put(server, "a")
            await soon(lambda: bells)
            lists = {asked.path for asked in server.asked} - {"/api", "/apis", "/api/v1", "/apis/sokken.dev/v1alpha1"}
            assert lists == {"/apis/sokken.dev/v1alpha1/tunnels", "/apis/apiextensions.k8s.io/v1"}

    run(main())
    assert [line for line in said if not line.startswith("OS signals")] == []


def test_a_user_without_a_name_may_run_it(monkeypatch):
    def getuser():
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", getuser)

    async def main():
        async with api_server() as server, ringing(server) as (_, bells):
            put(server, "a")
            await soon(lambda: bells)

    run(main())


def test_a_token_that_is_replaced_is_shown_from_then_on(tmp_path):
    path = tmp_path / "token"
    path.write_text("s3cr3t")

    async def main():
        async with api_server() as server:
            token = WatchedFile(path, parse_token, "token")
            access = Access(server.url, "home", server.access().tls, token)
            bells = []
            task = asyncio.ensure_future(Doorbell(access, (), bells.append).run())
            await watched(server)
            path.write_text("n3xt")
            access.look()
            server.token = "n3xt"
            server.break_streams()
            put(server, "a")
            await soon(lambda: bells)
            assert server.asked[-1].headers["Authorization"] == "Bearer n3xt"
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    run(main())


def test_a_token_that_is_refused_is_asked_for_again_and_not_at_once(monkeypatch):
    pauses = []
    original = asyncio.sleep

    async def sleep(seconds, *rest):
        if seconds >= 2:
            pauses.append(seconds)
            seconds = 0.01
        return await original(seconds, *rest)

    monkeypatch.setattr(handlers.asyncio, "sleep", sleep)

    async def main():
        async with api_server() as server:
            server.token = "another"
            async with ringing(server) as (_, bells):
                await soon(lambda: len(pauses) >= 6)
                assert pauses[:6] == [2, 4, 8, 16, 30, 30]
                server.token = "s3cr3t"
                await watched(server)
                put(server, "a")
                await soon(lambda: bells)

    run(main())


def test_when_kopf_ends_by_itself_that_is_told(monkeypatch):
    async def main():
        async with api_server() as server:

            async def operator(**_):
                raise RuntimeError("a root task has died")

            monkeypatch.setattr(handlers.kopf, "operator", operator)
            with pytest.raises(DoorbellError, match="kopf has ended: a root task has died"):
                await Doorbell(server.access(), (), print).run()

    run(main())


def test_when_it_does_not_end_that_is_told(monkeypatch):
    monkeypatch.setattr(handlers, "FAREWELL_SECONDS", 0.05)

    async def main():
        async with api_server() as server:
            released = asyncio.Event()
            running = []

            async def operator(**_):
                running.append(asyncio.get_running_loop())
                await released.wait()

            monkeypatch.setattr(handlers.kopf, "operator", operator)
            task = asyncio.ensure_future(Doorbell(server.access(), (), print).run())
            await soon(lambda: running)
            task.cancel()
            with pytest.raises(DoorbellError, match="does not end"):
                await task
            running[0].call_soon_threadsafe(released.set)
            await soon(running[0].is_closed)

    run(main())


def test_one_that_is_ended_at_once_ends():
    async def main():
        async with api_server() as server:
            for _ in range(3):
                task = asyncio.ensure_future(Doorbell(server.access(), (), print).run())
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    run(main())
