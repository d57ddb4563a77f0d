import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest

from sokken.operator import lease
from sokken.operator.cluster.client import Cluster
from sokken.operator.lease import Campaign, Move, Record, Sighting, decide, has_lost, look, write
from tests.support.fake_api_server import api_server
from tests.support.loops import run, soon

HELD = Record(holder="other", renewed="1", duration=15)


@pytest.mark.parametrize(
    ("seen", "now", "move"),
    [
        (None, 0.0, Move.CREATE),
        (Sighting(HELD, 100.0), 100.0, Move.WAIT),
        (Sighting(HELD, 100.0), 114.9, Move.WAIT),
        (Sighting(HELD, 100.0), 115.0, Move.TAKE),
        (Sighting(Record(holder="", renewed="1"), 100.0), 100.0, Move.TAKE),
        (Sighting(Record(holder="me", renewed="1"), 100.0), 500.0, Move.RENEW),
        (Sighting(Record(holder="other", duration=60), 100.0), 159.0, Move.WAIT),
    ],
)
def test_who_may_write_it(seen, now, move):
    assert decide("me", seen, now) is move


def test_time_counts_from_the_last_renewal_that_was_seen_whatever_its_clock_says():
    seen = look(None, HELD, 100.0)
    assert look(seen, HELD, 110.0) is seen
    renewed = Record(holder="other", renewed="2", duration=15)
    assert look(seen, renewed, 110.0) == Sighting(renewed, 110.0)


def test_the_holder_stops_five_seconds_before_others_think_it_dead():
    assert not has_lost(100.0, 109.9)
    assert has_lost(100.0, 110.0)
    assert lease.RENEW_SECONDS + 5 <= lease.DURATION_SECONDS


def test_what_is_written():
    now = datetime(2026, 1, 2, 4, 4, 5, 678, timezone(timedelta(hours=1)))
    made = write("me", None, "home", "operators", now)
    assert made["metadata"] == {"namespace": "home", "name": "operators"}
    assert made["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-01-02T03:04:05.000678Z",
        "renewTime": "2026-01-02T03:04:05.000678Z",
        "leaseTransitions": 0,
    }
    renewed = write("me", made, "home", "operators", now + timedelta(seconds=2))
    assert renewed["spec"]["acquireTime"] == made["spec"]["acquireTime"]
    assert renewed["spec"]["renewTime"] == "2026-01-02T03:04:07.000678Z"
    assert renewed["spec"]["leaseTransitions"] == 0
    taken = write("you", {**made, "metadata": {"resourceVersion": "7", "labels": {}}}, "home", "operators", now)
    assert taken["metadata"] == {"resourceVersion": "7", "labels": {}}
    assert (taken["spec"]["leaseTransitions"], taken["spec"]["holderIdentity"]) == (1, "you")


def test_a_lease_that_somebody_has_emptied_is_free():
    assert Record.of({}) == Record()
    assert Record.of({"spec": None}).holder == ""
    assert Record.of({"spec": {"holderIdentity": None, "leaseDurationSeconds": None}}) == Record()


@pytest.fixture
def haste(monkeypatch):
    """Fifty times as fast."""
    monkeypatch.setattr(lease, "DURATION_SECONDS", 1)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(lease, "RETRY_SECONDS", 0.03)


class Operator:
    """One that leads as long as it may."""

    def __init__(self, server, name):
        self.cluster = Cluster(server.access())
        self.campaign = Campaign(self.cluster, "sokken-system", "operators", name)
        self.terms = 0
        self.is_dead = False
        self.task = asyncio.ensure_future(self._run())

    async def _run(self):
        while True:
            await self.campaign.win()
            self.terms += 1
            await self.campaign.hold()

    async def die(self):
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        self.is_dead = True

    async def leave(self):
        await self.die()
        await self.campaign.release()


@asynccontextmanager
async def operators(server, *names):
    found = [Operator(server, name) for name in names]
    try:
        yield found
    finally:
        for operator in found:
            await operator.die()
            await operator.cluster.close()


def leaders(found):
    return [operator.campaign.me for operator in found if operator.campaign.is_leader and not operator.is_dead]


def test_of_several_one_leads_and_goes_on_leading(haste):
    async def main():
        async with api_server() as server, operators(server, "a", "b", "c") as found:
            await soon(lambda: leaders(found))
            first = leaders(found)
            version = server.find("leases", "operators")["metadata"]["resourceVersion"]
            await soon(
                lambda: int(server.find("leases", "operators")["metadata"]["resourceVersion"]) > int(version) + 40
            )
            assert leaders(found) == first
            assert sum(operator.terms for operator in found) == 1
            assert all(operator.campaign.has_read for operator in found)
            await soon(lambda: {operator.campaign.holder for operator in found} == set(first))

    run(main())


def test_who_leaves_gives_it_back_and_another_has_it_at_once(haste, monkeypatch):
    monkeypatch.setattr(lease, "DURATION_SECONDS", 3600)

    async def main():
        async with api_server() as server, operators(server, "a", "b") as found:
            await soon(lambda: leaders(found))
            first = next(operator for operator in found if operator.campaign.is_leader)
            await first.leave()
            await soon(lambda: leaders(found), 1)
            assert leaders(found) != [first.campaign.me]
            assert server.find("leases", "operators")["spec"]["leaseTransitions"] == 1

    run(main())


def test_of_one_that_has_died_another_takes_it_when_its_time_is_over(haste):
    async def main():
        async with api_server() as server, operators(server, "a", "b") as found:
            await soon(lambda: leaders(found))
            first = next(operator for operator in found if operator.campaign.is_leader)
            await first.die()
            began = asyncio.get_running_loop().time()
            await soon(lambda: leaders(found), 3)
            assert 0.7 < asyncio.get_running_loop().time() - began < 2

    run(main())


def test_who_cannot_renew_it_stops_and_leads_again_when_that_is_possible(haste):
    async def main():
        async with api_server() as server, operators(server, "a") as (only,):
            await soon(lambda: only.campaign.is_leader)
            server.refuse(503, times=10_000)
            await soon(lambda: not only.campaign.is_leader, 1)
            assert "503" in only.campaign.problem
            server.forgive()
            await soon(lambda: only.campaign.is_leader)
            assert only.campaign.problem is None
            assert only.terms == 2

    run(main())


def test_a_server_that_does_not_answer_is_not_waited_for(haste):
    async def main():
        async with api_server() as server, operators(server, "a") as (only,):
            await soon(lambda: only.campaign.is_leader)
            server.patience = 3600
            await soon(lambda: not only.campaign.is_leader, 1)
            server.patience = 0

    run(main())


def test_who_is_robbed_stops_at_once(haste, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_SECONDS", 3600)

    async def main():
        async with api_server() as server, operators(server, "a") as (only,):
            await soon(lambda: only.campaign.is_leader)
            robbed = server.find("leases", "operators")
            server.put("coordination.k8s.io/v1", "leases", {**robbed, "spec": {"holderIdentity": "thief"}})
            await soon(lambda: not only.campaign.is_leader)
            assert only.campaign.holder == "thief"

    run(main())


def test_it_is_read_once_and_from_then_on_only_written(haste):
    async def main():
        async with api_server() as server, operators(server, "a") as (only,):
            await soon(lambda: only.campaign.is_leader)
            asked = len(server.asked)
            await soon(lambda: len(server.asked) > asked + 5)
            assert {asked.method for asked in server.asked[asked:]} == {"PUT"}

    run(main())


def test_one_that_may_not_read_it_says_so():
    async def main():
        async with api_server() as server:
            server.refuse(403, times=10_000)
            async with operators(server, "a") as (only,):
                await soon(lambda: only.campaign.problem)
                assert not only.campaign.has_read
                assert "get leases.coordination.k8s.io sokken-system/operators: 403" in only.campaign.problem
                await only.campaign.release()

    run(main())


def test_a_renewal_stamps_the_time(haste):
    async def main():
        async with api_server() as server, operators(server, "a") as (only,):
            await soon(lambda: only.campaign.is_leader)
            stamp = server.find("leases", "operators")["spec"]["renewTime"]
            assert abs(datetime.fromisoformat(stamp) - datetime.now(UTC)) < timedelta(seconds=10)

    run(main())
