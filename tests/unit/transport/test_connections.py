import asyncio
import time
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from sokken.protocol.address import Address
from sokken.protocol.identity import is_connection_id
from sokken.transport.connections import Connection, Connections, new_connection_id
from sokken.transport.relay import Relay
from tests.support.loops import LOOPS, planes, run, soon, tcp_pair
from tests.support.targets import PATIENCE, receive_exactly, was_reset
from tests.support.wire import BINARY, CLOSE, TEXT, Wire

every_loop = pytest.mark.parametrize("loop", LOOPS)


def make(connections: Connections, **given) -> Connection:
    defaults = {"id": "an-id", "client_id": "me", "peer": "192.0.2.1:1", "target": Address("127.0.0.1", 22)}
    return Connection(connections, labels={"tunnel": "night"}, **(defaults | given))


def test_ids_are_unique_and_sorted_by_time():
    ids = []
    for _ in range(5):
        ids.append(new_connection_id())
        time.sleep(0.002)
    assert all(map(is_connection_id, ids))
    assert ids == sorted(ids)
    assert len({new_connection_id() for _ in range(2000)}) == 2000


def test_connections_count_from_admission_to_the_end():
    connections = Connections(2)
    one, two = make(connections), make(connections)
    assert (len(connections), connections.is_full) == (0, False)
    connections.admit(one)
    assert (len(connections), connections.is_full) == (1, False)
    connections.admit(two)
    assert (set(connections), connections.is_full) == ({one, two}, True)
    assert repr(connections) == "<Connections 2 of 2>"
    connections.release(one)
    connections.release(one)
    assert (list(connections), connections.is_full) == ([two], False)
    for connection in connections:
        connections.release(connection)  # while it is gone through
    assert len(connections) == 0


def test_waiting_until_all_have_ended():
    async def main():
        connections = Connections(10)
        await asyncio.wait_for(connections.wait_empty(), PATIENCE)
        one, two = make(connections), make(connections)
        for connection in (one, two):
            connections.admit(connection)
        waiting = asyncio.ensure_future(connections.wait_empty())
        connections.release(one)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        connections.release(two)
        await waiting
        connections.admit(one)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connections.wait_empty(), 0.01)

    run(main())


def test_what_every_line_carries():
    described = make(Connections(1)).describe()
    assert list(described) == ["connection_id", "client_id", "peer", "target", "tunnel"]
    assert str(described["target"]) == "127.0.0.1:22"


def test_one_that_never_opened_has_moved_nothing_and_tells_no_end():
    connection = make(Connections(1))
    assert (connection.bytes_up, connection.bytes_down) == (0, 0)
    with capture_logs() as lines:
        connection.ended()
    assert lines == []


class Open:
    """An open one, as at a server: the test is its peer, and its target."""

    def __init__(self, connection: Connection, wire: Wire, target) -> None:
        self.connection = connection
        self.wire = wire
        self.target = target

    async def end(self, code: int) -> None:
        """Once the other side has said so."""
        told = await asyncio.to_thread(self.wire.receive)
        assert (told.opcode, told.code) == (CLOSE, code)
        self.wire.sock.close()
        await soon(lambda: self.connection not in list(self.connection.connections))


@asynccontextmanager
async def opened(connections: Connections, **given):
    with tcp_pair() as (target, local), tcp_pair() as (ours, peer):
        async with planes() as plane:
            connection = make(connections, **given)
            connections.admit(connection)
            relay = Relay(plane, local, peer, original=False, half_closed_seconds=60, spread=0.5, owner=connection)
            connections.open(connection, relay)
            relay.start()
            yield Open(connection, Wire(ours, masks=True), target)
            with suppress(OSError):
                ours.close()
            await soon(lambda: relay.is_ended)


@every_loop
@pytest.mark.parametrize("is_up_outward", [False, True])
def test_two_lines_tell_all_about_one(loop, is_up_outward):
    async def main():
        connections = Connections(10)
        async with opened(connections, is_up_outward=is_up_outward) as tunnel:
            tunnel.wire.send(BINARY, b"to the local side")
            await asyncio.to_thread(receive_exactly, tunnel.target, 17)
            tunnel.target.sendall(b"to the peer")
            assert await asyncio.to_thread(tunnel.wire.receive_bytes, 11) == b"to the peer"
            moved = (tunnel.connection.bytes_up, tunnel.connection.bytes_down)
            assert moved == ((11, 17) if is_up_outward else (17, 11))
            tunnel.wire.send(TEXT, b"abort local_reset")
            await tunnel.end(1011)

    with capture_logs() as lines:
        run(main(), loop)
    start, end = lines
    said = {"connection_id": "an-id", "client_id": "me", "peer": "192.0.2.1:1", "tunnel": "night", "log_level": "info"}
    assert {**said, "event": "connection_opened", "target": "127.0.0.1:22"} == start
    assert said.items() <= end.items()
    assert end["event"] == "connection_closed"
    assert (end["bytes_up"], end["bytes_down"]) == ((11, 17) if is_up_outward else (17, 11))
    assert end["outcome"] == "peer_reset"
    assert end["close_code"] == 1011
    assert 0 < end["duration_s"] < PATIENCE


@every_loop
def test_a_reason_that_is_known_is_told(loop):
    async def main():
        async with opened(Connections(10)) as tunnel:
            tunnel.wire.send(BINARY, b"x", rsv=4)
            await tunnel.end(1002)

    with capture_logs() as lines:
        run(main(), loop)
    assert lines[-1]["outcome"] == "protocol_error"
    assert lines[-1]["detail"]


@every_loop
def test_draining_is_told_to_every_peer(loop):
    async def main():
        connections = Connections(10)
        async with opened(connections) as one, opened(connections) as two:
            waiting = make(connections, give_up=lambda: None)
            connections.admit(waiting)  # still connecting: nobody to tell
            connections.go_away()
            assert connections.is_draining
            assert repr(connections) == "<Connections 3 of 10 draining>"
            for tunnel in (one, two):
                told = await asyncio.to_thread(tunnel.wire.receive)
                assert (told.opcode, told.payload) == (TEXT, b"goaway")

    run(main(), loop)


@every_loop
def test_at_the_end_of_a_drain_the_rest_is_ended_and_attempts_are_given_up(loop):
    async def main():
        connections, given_up = Connections(10), []
        async with opened(connections) as tunnel:
            connections.admit(make(connections, give_up=lambda: given_up.append(1)))
            connections.admit(make(connections))  # cannot be given up
            connections.end_drain()
            assert given_up == [1]
            await tunnel.end(1001)

    with capture_logs() as lines:
        run(main(), loop)
    assert [line["outcome"] for line in lines if line["event"] == "connection_closed"] == ["drain_deadline"]


@every_loop
@pytest.mark.parametrize("is_up_outward", [False, True])
def test_one_that_is_half_closed_says_which_direction_has_ended(loop, is_up_outward):
    async def main():
        async with opened(Connections(10), is_up_outward=is_up_outward) as tunnel:
            connection = tunnel.connection
            assert connection.half_closed is None
            tunnel.wire.send(TEXT, b"eof")  # the peer has ended: the application's client, or the target's server
            found = await soon(lambda: connection.half_closed)
            tunnel.wire.send(TEXT, b"abort local_reset")
            await tunnel.end(1011)
            return found

    assert run(main(), loop) == ("down" if is_up_outward else "up")


@every_loop
def test_one_that_is_killed_is_reset_at_both_ends_and_told_so(loop):
    async def main():
        connections = Connections(10)
        async with opened(connections) as tunnel:
            tunnel.wire.send(BINARY, b"on its way")
            await asyncio.to_thread(receive_exactly, tunnel.target, 10)
            tunnel.connection.kill()
            tunnel.connection.kill()
            notice = await asyncio.to_thread(tunnel.wire.receive)
            assert (notice.opcode, notice.payload) == (TEXT, b"abort killed")
            assert await asyncio.to_thread(was_reset, tunnel.target)
            await tunnel.end(1011)
        return connections

    with capture_logs() as lines:
        connections = run(main(), loop)
    assert lines[-1]["outcome"] == "killed"
    assert dict(connections.ended.outcomes) == {"killed": 1}
    assert (connections.opened, connections.ended.bytes_up, connections.ended.bytes_down) == (1, 10, 0)


@every_loop
@pytest.mark.parametrize("is_told_late", [False, True])
def test_the_line_that_it_is_up_comes_once_and_before_the_one_that_it_has_ended(loop, is_told_late):
    """It may end with its first bytes: then its end is what tells that it was up."""

    async def main():
        async with planes() as plane:
            connections = Connections(1)
            connection = make(connections)
            connections.admit(connection)
            with tcp_pair() as (app, local), tcp_pair() as (wire, channel):
                kind = {"original": False, "half_closed_seconds": 60, "spread": 0.5}
                relay = Relay(plane, local, channel, owner=connection, **kind)
                connections.open(connection, relay)
                relay.start()
                if not is_told_late:
                    connections.tell(connection)
                app.close()
                wire.close()
                await soon(lambda: not len(connections))
                connections.tell(connection)

    with capture_logs() as lines:
        run(main(), loop)
    assert [line["event"] for line in lines] == ["connection_opened", "connection_closed"]


def test_what_got_no_tunnel_is_counted_by_its_reason():
    connections = Connections(10)
    for reason in ("target_refused", "server_full", "target_refused"):
        connections.fail(reason)
    assert dict(connections.failed) == {"target_refused": 2, "server_full": 1}
