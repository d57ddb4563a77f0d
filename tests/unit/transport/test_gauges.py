"""What the metrics read of live objects: sums that never go back, and what is in force of files."""

import asyncio
import time
from types import SimpleNamespace

from sokken.protocol.session import Session
from sokken.telemetry.instruments import (
    ACTIVE,
    DRAIN_REMAINING,
    DRAINING,
    IO,
    LAST_RELOAD,
    NOT_AFTER,
    PENDING,
    PING_RTT,
)
from sokken.telemetry.metrics import Metrics
from sokken.transport.connections import Connection, Connections
from sokken.transport.files import WatchedFile
from sokken.transport.gauges import watch_connections, watch_files
from sokken.transport.tls import parse_key_pair
from tests.support.certificates import Authority
from tests.support.loops import planes, run

TRANSMIT, RECEIVE = ("network.io.direction", "transmit"), ("network.io.direction", "receive")
SSH = ("forward", "ssh")


def admit(connections, sent=0, received=0, **labels):
    connection = Connection(connections, "an-id", None, "192.0.2.1:1", None, labels)
    connections.admit(connection)
    if sent or received:
        connections.open(
            connection, SimpleNamespace(bytes_out=sent, bytes_in=received, session=Session(half_close=True))
        )
    return connection


def read(metrics):
    return {reading.instrument: reading.series for reading in metrics.read()}


def test_bytes_are_counted_while_a_connection_lives_and_stay_when_it_has_ended():
    async def main():
        async with planes() as plane:
            connections, metrics = Connections(10), Metrics("client", asyncio.get_running_loop())
            watch_connections(metrics, connections, plane, ["ssh"])
            assert read(metrics)[IO] == {(SSH, TRANSMIT): 0, (SSH, RECEIVE): 0}
            waiting = admit(connections, forward="ssh")
            first, second = admit(connections, 10, 1, forward="ssh"), admit(connections, 20, 2, forward="ssh")
            found = read(metrics)
            assert found[IO] == {(SSH, TRANSMIT): 30, (SSH, RECEIVE): 3}
            assert (found[ACTIVE], found[PENDING]) == ({(SSH,): 2}, {(SSH,): 1})
            first.relay.bytes_out += 5
            assert read(metrics)[IO][SSH, TRANSMIT] == 35
            connections.close(first)
            connections.release(waiting)
            found = read(metrics)
            assert found[IO] == {(SSH, TRANSMIT): 35, (SSH, RECEIVE): 3}
            assert (found[ACTIVE], found[PENDING]) == ({(SSH,): 1}, {(SSH,): 0})
            connections.close(second)
            assert read(metrics)[IO] == {(SSH, TRANSMIT): 35, (SSH, RECEIVE): 3}

    run(main())


def test_a_server_has_one_sum_and_a_clients_name_is_on_all():
    async def main():
        async with planes() as plane:
            connections, metrics = Connections(10), Metrics("server", asyncio.get_running_loop())
            watch_connections(metrics, connections, plane)
            admit(connections, 1, 1, tunnel="what a client claims")
            assert read(metrics)[ACTIVE] == {(): 1}
            named = Metrics("client", asyncio.get_running_loop())
            watch_connections(named, Connections(10), plane, ["ssh", "db"], "office")
            office = ("tunnel", "office")
            assert read(named)[ACTIVE] == {(SSH, office): 0, (("forward", "db"), office): 0}

    run(main())


def test_pongs_and_the_drain():
    async def main():
        async with planes() as plane:
            connections, metrics = Connections(10), Metrics("server", asyncio.get_running_loop())
            watch_connections(metrics, connections, plane)
            plane.on_pong(0.25)
            found = read(metrics)
            assert found[PING_RTT][()].total == 0.25
            assert (found[DRAINING], found[DRAIN_REMAINING]) == ({(): 0}, {(): 0})
            connections.drain_ends_at = time.monotonic() + 20
            connections.go_away()
            found = read(metrics)
            assert found[DRAINING] == {(): 1}
            assert 19 < found[DRAIN_REMAINING][()] <= 20

    run(main())


def test_ten_thousand_connections_are_read_within_a_blink():
    """The loop stands still meanwhile: a bound for any machine, well below what a connection would notice."""

    async def main():
        async with planes() as plane:
            connections, metrics = Connections(20_000), Metrics("server", asyncio.get_running_loop())
            watch_connections(metrics, connections, plane)
            for _ in range(10_000):
                admit(connections, 1, 2)
            began = time.thread_time()
            assert read(metrics)[IO] == {(TRANSMIT,): 10_000, (RECEIVE,): 20_000}
            assert time.thread_time() - began < 0.05

    run(main())


def test_files_say_when_they_were_read_and_when_they_end(tmp_path):
    async def main():
        metrics = Metrics("server", asyncio.get_running_loop())
        pair = WatchedFile(certificate, parse_key_pair, "SOKKEN_TLS_CERT_FILE")
        tokens = WatchedFile(tmp_path / "none", bytes.decode, "SOKKEN_TOKENS_FILE", is_required=False)
        watch_files(metrics, [pair, tokens])
        found = read(metrics)
        kind = (("kind", "tls_cert"),)
        assert abs(found[LAST_RELOAD][kind] - time.time()) < 20
        assert abs(found[NOT_AFTER][kind] - time.time() - 5 * 86400) < 3600
        assert found[LAST_RELOAD].keys() == {kind}
        (tmp_path / "none").write_text("there")
        tokens.look()
        assert (("kind", "tokens"),) in read(metrics)[LAST_RELOAD]

    certificate = Authority(tmp_path).issue("DNS:localhost", days=5)
    run(main())
