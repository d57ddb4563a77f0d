import pytest

from sokken.operator.cluster.client import Cluster
from sokken.operator.handlers import Bell
from sokken.operator.watchdog import Deliveries, Watchdog, is_told
from tests.support.fake_api_server import api_server
from tests.support.loops import Clock, run
from tests.support.operators import put_tunnel

A, B = ("team", "a"), ("team", "b")


def bell(key=A, uid="1", version="10", *, gone=False):
    return Bell(key, uid, 1, version, gone)


@pytest.mark.parametrize(
    ("told", "version", "expected"),
    [
        (None, "10", False),
        ((A, "10"), "10", True),
        ((A, "11"), "10", True),
        ((A, "9"), "10", False),
        ((A, "opaque"), "opaque", True),
        ((A, "opaque"), "other", False),
    ],
)
def test_whether_a_version_was_told(told, version, expected):
    assert is_told(told, version) is expected


def test_what_was_rung_for_is_not_missed():
    deliveries = Deliveries()
    deliveries.note(bell())
    assert deliveries.compare({"1": (A, "10")}, 0.0) == []
    assert deliveries.silence(1000.0) == 0


def test_what_nobody_rang_for_is_missed_and_after_a_while_that_is_a_dead_watch():
    deliveries = Deliveries()
    deliveries.note(bell())
    listed = {"1": (A, "12"), "2": (B, "11")}
    assert deliveries.compare(listed, 100.0) == [A, B]
    assert deliveries.compare(listed, 130.0) == [A, B]
    assert deliveries.silence(160.0) == 60
    deliveries.note(bell(version="12"))
    deliveries.note(bell(B, "2", "11"))
    assert deliveries.compare(listed, 160.0) == []
    assert deliveries.silence(160.0) == 0


def test_one_that_changes_all_the_time_is_told_late_but_told():
    deliveries = Deliveries()
    for look in range(1, 10):
        assert deliveries.compare({"1": (A, str(10 * look))}, 30.0 * look) == [A]
        assert deliveries.silence(30.0 * look) == 0
        deliveries.note(bell(version=str(10 * look + 1)))


def test_one_that_changes_all_the_time_and_is_not_told():
    deliveries = Deliveries()
    for look in range(1, 4):
        deliveries.compare({"1": (A, str(10 * look))}, 30.0 * look)
    assert deliveries.silence(90.0) == 60


def test_one_that_is_gone_without_a_word_is_rung_for_when_it_is_gone_for_sure():
    deliveries = Deliveries()
    deliveries.note(bell())
    assert deliveries.compare({}, 0.0) == []  # it may have come while the list was on its way
    assert deliveries.compare({}, 30.0) == [A]
    assert deliveries.compare({}, 60.0) == []


def test_one_that_had_only_come_while_the_list_was_on_its_way():
    deliveries = Deliveries()
    deliveries.note(bell())
    deliveries.compare({}, 0.0)
    assert deliveries.compare({"1": (A, "10")}, 30.0) == []
    assert deliveries.compare({}, 60.0) == []
    deliveries.note(bell(gone=True))
    assert deliveries.compare({}, 90.0) == []


def test_it_lists_versions_alone_and_says_when_a_restart_would_help():
    clock = Clock()

    async def main():
        async with api_server() as server:
            rung, deliveries = [], Deliveries()
            cluster = Cluster(server.access())
            watchdog = Watchdog(cluster, ("team", "other"), deliveries, rung.append, clock)
            tunnel = put_tunnel(server, "a")
            put_tunnel(server, "b", "strange")
            await watchdog.look()
            assert rung == [A]
            assert watchdog.problem is None
            assert "PartialObjectMetadataList" in server.asked[0].headers["Accept"]
            clock.now += 59
            await watchdog.look()
            assert watchdog.problem is None
            clock.now += 1
            assert watchdog.problem == "the watch of Tunnels has been silent for 60 s"
            server.refuse(503, times=1)
            await watchdog.look()
            metadata = tunnel["metadata"]
            deliveries.note(Bell(A, metadata["uid"], 1, metadata["resourceVersion"], is_gone=False))
            await watchdog.look()
            assert watchdog.problem is None
            assert watchdog.agreed_at == clock.now
            await cluster.close()

    run(main())
