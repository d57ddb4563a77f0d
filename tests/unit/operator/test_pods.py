import asyncio
import random
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest

from sokken.operator import pods as module
from sokken.operator.cluster.client import Cluster
from sokken.operator.pods import Pods, is_settled
from tests.support.fake_api_server import api_server, status
from tests.support.loops import run, soon
from tests.support.operators import client_pods, put_pod

WEB = ("team", "web")


@pytest.fixture(autouse=True)
def _haste(monkeypatch):
    monkeypatch.setattr(random, "random", lambda: 0.05)
    monkeypatch.setattr(module, "ROUND_SECONDS", 0.1)
    monkeypatch.setattr(module, "SOON_SECONDS", 0.03)


@asynccontextmanager
async def looking(server, client, *scopes):
    rung = []
    cluster = Cluster(server.access())
    pods = Pods(cluster, scopes or (None,), rung.append, client.port)
    task = asyncio.ensure_future(pods.run())
    try:
        yield pods, rung
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await cluster.close()


def answer_of(pods, key=WEB):
    return next(iter(pods.of(key).answers.values()), None)


def test_what_they_say_rings_once_and_again_when_it_is_another():
    async def main():
        async with api_server() as server, client_pods() as client:
            put_pod(server)
            async with looking(server, client) as (pods, rung):
                assert not pods.has_asked(WEB)
                await soon(lambda: pods.has_asked(WEB) and answer_of(pods))
                assert answer_of(pods).checks[0].outcome == ""
                rings, asked = len(rung), client.asked
                await soon(lambda: client.asked > asked + 4)
                assert len(rung) == rings
                assert rung[0] == WEB
                client.refuse("unauthenticated", "401")
                await soon(lambda: len(rung) > rings)
                assert answer_of(pods).checks[0].outcome == "unauthenticated"

    run(main())


def test_those_that_cannot_answer_are_not_asked():
    async def main():
        async with api_server() as server, client_pods() as client:
            starting = put_pod(server)
            starting["status"] = {"phase": "Pending"}
            leaving = put_pod(server, name="web-2")
            leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            async with looking(server, client) as (pods, _):
                await soon(lambda: pods.has_asked(WEB) and len(pods.of(WEB).pods) == 2)
                assert client.asked == 0

    run(main())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"status": 503}, "it answers 503"),
        ({"status": 302}, "it answers 302"),
        ({"body": b"<html>"}, "what answers there is no client of sokken"),
        ({"body": b"x" * 2_000_000}, "what answers there is no client of sokken"),
        ({"patience": 60}, "no answer within 0.2 s"),
        ({"port": 1}, "cannot connect"),
    ],
)
def test_whatever_answers_or_does_not(monkeypatch, change, problem):
    if "patience" in change:
        monkeypatch.setattr(module, "ANSWER_SECONDS", 0.2)

    async def main():
        async with api_server() as server, client_pods() as client:
            put_pod(server)
            for name, value in change.items():
                setattr(client, name, value)
            async with looking(server, client) as (pods, _):
                await soon(lambda: answer_of(pods))
                assert problem in answer_of(pods).problem

    run(main())


def test_a_pod_that_does_not_answer_once_has_said_what_it_has_said(monkeypatch):
    monkeypatch.setattr(module, "BELIEVED", timedelta(seconds=1))

    async def main():
        async with api_server() as server, client_pods() as client:
            put_pod(server)
            async with looking(server, client) as (pods, _):
                await soon(lambda: answer_of(pods) and not answer_of(pods).problem)
                client.status = 503
                asked = client.asked
                await soon(lambda: client.asked > asked + 3)
                assert not answer_of(pods).problem
                await soon(lambda: answer_of(pods).problem == "it answers 503")

    run(main())


def test_at_most_ten_are_asked_at_once():
    async def main():
        async with api_server() as server, client_pods() as client:
            client.patience = 0.02
            for number in range(30):
                put_pod(server, f"t{number}", f"pod-{number}")
            for number in range(30):
                put_pod(server, "web", f"web-{number}")
            async with looking(server, client) as (pods, _):
                await soon(lambda: client.asked >= 60 and len(pods.of(WEB).answers) == 30)
                assert client.most_at_once <= 10

    run(main())


def test_where_something_moves_it_looks_more_often_and_lists_anew(monkeypatch):
    monkeypatch.setattr(module, "ROUND_SECONDS", 3600)

    async def main():
        async with api_server() as server, client_pods() as client, looking(server, client) as (pods, _):
            await soon(lambda: pods.has_asked(WEB))
            put_pod(server)
            pods.expect(WEB, is_settled=False)
            await soon(lambda: client.asked >= 3)
            lists = [asked for asked in server.asked if "sokken.dev/tunnel=web" in asked.query.get("labelSelector", "")]
            assert lists[0].path == "/api/v1/namespaces/team/pods"
            pods.expect(WEB, is_settled=True)
            await asyncio.sleep(0.1)
            asked = client.asked
            await asyncio.sleep(0.2)
            assert client.asked == asked

    run(main())


def test_one_that_never_settles_is_looked_at_more_often_only_for_a_while(monkeypatch):
    monkeypatch.setattr(module, "ROUND_SECONDS", 3600)
    monkeypatch.setattr(module, "SOON_FOR_SECONDS", 0.3)

    async def main():
        async with api_server() as server, client_pods() as client, looking(server, client) as (pods, _):
            await soon(lambda: pods.has_asked(WEB))
            put_pod(server)
            pods.expect(WEB, is_settled=False)
            await asyncio.sleep(0.5)
            pods.expect(WEB, is_settled=False)
            asked = client.asked
            await asyncio.sleep(0.2)
            assert client.asked == asked > 0
            pods.stir(WEB)
            await soon(lambda: client.asked > asked)

    run(main())


def test_pods_that_are_gone_are_forgotten_with_what_they_said():
    async def main():
        async with api_server() as server, client_pods() as client:
            put_pod(server)
            async with looking(server, client) as (pods, rung):
                await soon(lambda: answer_of(pods))
                rung.clear()
                server.remove("v1", "pods", "team", "web-1")
                await soon(lambda: rung)
                assert not pods.of(WEB).pods
                assert not pods.of(WEB).answers

    run(main())


def test_pods_that_cannot_be_listed():
    async def main():
        async with api_server() as server, client_pods() as client:
            put_pod(server)
            server.refuse(503, times=3)
            server.refuse(403, status(403, "pods is forbidden"), times=3)
            async with looking(server, client) as (pods, _):
                await soon(lambda: pods.refusal)
                assert "403 pods is forbidden" in str(pods.refusal)
                await soon(lambda: answer_of(pods))
                assert pods.refusal is None

    run(main())


def test_a_refusal_of_one_round_is_none_and_a_lasting_one_rings():
    async def main():
        async with api_server() as server, client_pods() as client:
            put_pod(server)
            async with looking(server, client) as (pods, rung):
                await soon(lambda: answer_of(pods))
                rung.clear()
                server.refuse(403, status(403, "RBAC: not found"), times=1)
                asked = len(server.asked)
                await soon(lambda: len(server.asked) > asked + 3)
                assert (pods.refusal, rung) == (None, [])
                server.refuse(403, status(403, "pods is forbidden"), times=10_000)
                await soon(lambda: pods.refusal and rung == [WEB])
                server.forgive()
                await soon(lambda: pods.refusal is None and rung == [WEB, WEB])

    run(main())


def test_an_ipv6_pod_is_asked_too():
    async def main():
        async with api_server() as server, client_pods() as client:
            put_pod(server, address="::1")
            client.port = 1
            async with looking(server, client) as (pods, _):
                await soon(lambda: answer_of(pods))
                assert "cannot connect" in answer_of(pods).problem

    run(main())


@pytest.mark.parametrize(
    ("ready", "progressing", "settled"),
    [
        (("True", "Ready"), ("True", "RolloutComplete"), True),
        (("False", "Suspended"), ("True", "RolloutComplete"), True),
        (("False", "ServerUnreachable"), ("True", "RolloutComplete"), False),
        (("True", "Ready"), ("False", "RBACDenied"), False),
        (None, None, False),
    ],
)
def test_what_is_settled(ready, progressing, settled):
    found = [("Ready", ready), ("Progressing", progressing)]
    conditions = [{"type": kind, "status": each[0], "reason": each[1]} for kind, each in found if each]
    assert is_settled(conditions) is settled
