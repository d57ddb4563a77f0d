"""A reset that comes while its socket is paused by back-pressure is seen, on each of the four sockets."""

import random
import socket
import threading

import pytest

from tests.support.ends import client_end, server_end
from tests.support.targets import PATIENCE, is_reset, receive_all, reset, wait_until_writable_stalls
from tests.support.wire import BINARY, CLOSE, TEXT, frame

LOOPS = ["asyncio", "uvloop"]
ENDLESS = 1 << 40
SOON = 2.0
QUIET = 0.2


@pytest.fixture(
    scope="module",
    params=[(end, loop) for end in (server_end, client_end) for loop in LOOPS],
    ids=lambda it: f"{it[0].__name__}-{it[1]}",
)
def end(request):
    start, loop = request.param
    with start({"SOKKEN_EVENT_LOOP": loop}) as running:
        yield running
        running.release()


@pytest.fixture
def tunnel(end):
    opened = end.open()
    opened.local.settimeout(SOON)
    opened.wire.sock.settimeout(SOON)
    return opened


def flood_from_peer(tunnel):
    """One frame without end, until the program reads no more."""
    tunnel.wire.sock.sendall(frame(BINARY, masked=tunnel.wire.masks, length=ENDLESS))
    assert wait_until_writable_stalls(tunnel.wire.sock, seconds=QUIET)


def flood_from_local(tunnel):
    assert wait_until_writable_stalls(tunnel.local, seconds=QUIET)


def closed(tunnel, outcome):
    line = tunnel.end.program.wait_for("connection_closed", seconds=SOON, connection_id=tunnel.connection_id)
    assert line["outcome"] == outcome


def test_the_peer_resets_while_the_local_side_does_not_read(tunnel):
    flood_from_peer(tunnel)
    tunnel.wire.reset()
    closed(tunnel, "peer_lost")
    assert is_reset(tunnel.local, SOON)


def test_the_local_side_resets_while_it_does_not_read(tunnel):
    flood_from_peer(tunnel)
    reset(tunnel.local)
    closed(tunnel, "local_reset")
    abort, close = tunnel.wire.receive(), tunnel.wire.receive()
    assert (abort.opcode, abort.payload) == (TEXT, b"abort local_reset")
    assert (close.opcode, close.code) == (CLOSE, 1011)


def test_the_local_side_resets_while_the_peer_does_not_read(tunnel):
    flood_from_local(tunnel)
    reset(tunnel.local)
    closed(tunnel, "local_reset")
    assert is_reset(tunnel.wire.sock, SOON)


def test_the_peer_resets_while_it_does_not_read(tunnel):
    flood_from_local(tunnel)
    tunnel.wire.reset()
    closed(tunnel, "peer_lost")
    assert is_reset(tunnel.local, SOON)


@pytest.mark.parametrize("who", ["peer", "local"])
def test_one_resets_while_neither_reads(tunnel, who):
    flood_from_peer(tunnel)
    flood_from_local(tunnel)
    if who == "peer":
        tunnel.wire.reset()
        closed(tunnel, "peer_lost")
        assert is_reset(tunnel.local, SOON)
    else:
        reset(tunnel.local)
        closed(tunnel, "local_reset")
        assert is_reset(tunnel.wire.sock, SOON)


@pytest.mark.parametrize("who", ["peer", "local"])
def test_a_reset_behind_an_end_of_writing_is_seen_while_paused(tunnel, who):
    """The socket has said its end, so that nothing is read from it any more."""
    if who == "peer":
        tunnel.wire.send(TEXT, b"eof")
        flood_from_local(tunnel)
        tunnel.wire.reset()
        closed(tunnel, "peer_lost")
        assert is_reset(tunnel.local, SOON)
    else:
        tunnel.local.shutdown(socket.SHUT_WR)
        flood_from_peer(tunnel)
        reset(tunnel.local)
        closed(tunnel, "local_reset")


def test_an_orderly_end_behind_a_stall_is_no_reset(tunnel):
    """The other way round: what is held is delivered, and then the end."""
    payload = random.Random(7).randbytes(10_000_000)
    writer = threading.Thread(target=lambda: (tunnel.wire.send(BINARY, payload), tunnel.wire.send(TEXT, b"eof")))
    tunnel.wire.sock.settimeout(PATIENCE)
    writer.start()
    tunnel.local.shutdown(socket.SHUT_WR)
    assert tunnel.wire.receive().payload == b"eof"
    tunnel.local.settimeout(PATIENCE)
    assert receive_all(tunnel.local) == payload
    writer.join()
    assert tunnel.wire.receive().code == 1000
    tunnel.wire.send_close(1000)
    tunnel.wire.sock.shutdown(socket.SHUT_WR)
    closed(tunnel, "completed")
    assert not is_reset(tunnel.local, 0)
