"""A peer that keeps the protocol in every way that the protocol allows, at both ends."""

import os
import socket

import pytest

from tests.support.targets import receive_all, receive_exactly, wait_until_writable_stalls
from tests.support.wire import BINARY, CONTINUATION, PING, PONG, TEXT, frame

SUBPROTOCOLS = pytest.mark.parametrize("subprotocol", ["sokken.v2", "sokken"])


def finish(tunnel):
    """End it in order from both sides of `sokken.v2`."""
    tunnel.wire.send(TEXT, b"eof")
    assert receive_all(tunnel.local) == b""
    tunnel.local.shutdown(socket.SHUT_WR)
    assert tunnel.wire.receive().payload == b"eof"
    finish_halves(tunnel)


def finish_halves(tunnel):
    """Both directions have ended: Close goes both ways."""
    assert tunnel.wire.receive().code == 1000
    tunnel.wire.send_close(1000)
    tunnel.wire.receive_end()
    tunnel.closed(outcome="completed", close_code=1000)


@SUBPROTOCOLS
def test_lengths_may_be_written_in_any_way(end, subprotocol):
    tunnel = end.open(subprotocol)
    for width in (0, 2, 8):
        for payload in (b"", b"x", b"y" * 125):
            tunnel.wire.send(BINARY, payload, width=width)
    assert receive_exactly(tunnel.local, 378) == (b"x" + b"y" * 125) * 3


@SUBPROTOCOLS
def test_data_in_fragments_with_control_frames_between(end, subprotocol):
    tunnel = end.open(subprotocol)
    tunnel.wire.send(BINARY, b"a", fin=False)
    tunnel.wire.send(PING, b"1")
    tunnel.wire.send(CONTINUATION, fin=False)
    tunnel.wire.send(CONTINUATION, b"b" * 70_000, fin=False)
    tunnel.wire.send(PONG, b"2")
    tunnel.wire.send(CONTINUATION, b"c")
    tunnel.wire.send(BINARY, b"d")
    assert receive_exactly(tunnel.local, 70_003) == b"a" + b"b" * 70_000 + b"cd"
    received = tunnel.wire.receive()
    assert (received.opcode, received.payload) == (PONG, b"1")


@SUBPROTOCOLS
def test_a_frame_is_delivered_before_it_is_complete(end, subprotocol):
    tunnel = end.open(subprotocol)
    size = 1 << 40  # nothing is assembled, so no frame is too large
    tunnel.wire.send(BINARY, b"begin", length=size)
    assert receive_exactly(tunnel.local, 5) == b"begin"
    tunnel.local.sendall(b"answer")
    assert tunnel.wire.receive_bytes(6) == b"answer"


@SUBPROTOCOLS
def test_bytes_that_come_one_at_a_time(end, subprotocol):
    tunnel = end.open(subprotocol)
    masked = tunnel.wire.masks
    stream = (
        frame(BINARY, b"ab", masked=masked, fin=False)
        + frame(PING, b"!", masked=masked)
        + frame(CONTINUATION, b"c", masked=masked, width=8)
        + frame(BINARY, b"d" * 130, masked=masked)
    )
    tunnel.wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in stream:
        tunnel.wire.sock.sendall(bytes([byte]))
    assert receive_exactly(tunnel.local, 133) == b"abc" + b"d" * 130
    assert tunnel.wire.receive().payload == b"!"


def test_a_notice_in_fragments(end):
    tunnel = end.open()
    tunnel.wire.send(BINARY, b"data")
    tunnel.wire.send(TEXT, b"e", fin=False)
    tunnel.wire.send(PING, b"between")
    tunnel.wire.send(CONTINUATION, b"o", fin=False)
    tunnel.wire.send(CONTINUATION, fin=False)
    tunnel.wire.send(CONTINUATION, b"f")
    assert receive_all(tunnel.local) == b"data"
    assert tunnel.wire.receive().payload == b"between"
    tunnel.local.shutdown(socket.SHUT_WR)
    assert tunnel.wire.receive().payload == b"eof"
    finish_halves(tunnel)


@pytest.mark.parametrize(
    "notice",
    ["", "later", "later with arguments", "EOF", "eofs", "abortive", "goawayer", "é" * 62, "x" * 125],
    ids=lambda notice: notice[:12],
)
def test_notices_that_change_nothing(end, notice):
    tunnel = end.open()
    tunnel.wire.send(TEXT, notice.encode())
    tunnel.wire.send(BINARY, b"on")
    assert receive_exactly(tunnel.local, 2) == b"on"
    tunnel.local.sendall(b"and on")
    assert tunnel.wire.receive_bytes(6) == b"and on"
    finish(tunnel)


def test_goaway_is_logged_once_and_the_connection_goes_on(end):
    tunnel = end.open()
    for notice in (b"goaway", b"goaway soon"):
        tunnel.wire.send(TEXT, notice)
    tunnel.wire.send(BINARY, b"on")
    assert receive_exactly(tunnel.local, 2) == b"on"
    finish(tunnel)
    assert len(end.program.events("peer_draining", connection_id=tunnel.connection_id)) == 1


@SUBPROTOCOLS
@pytest.mark.parametrize("payload", [b"", b"ping", bytes(range(125))], ids=len)
def test_a_ping_is_answered_with_its_payload(end, subprotocol, payload):
    tunnel = end.open(subprotocol)
    tunnel.wire.send(PING, payload)
    received = tunnel.wire.receive()
    assert (received.opcode, received.payload, received.fin) == (PONG, payload, True)


@SUBPROTOCOLS
def test_unsolicited_pongs_mean_nothing(end, subprotocol):
    tunnel = end.open(subprotocol)
    tunnel.wire.send(PONG)
    tunnel.wire.send(PONG, b"never asked")
    tunnel.wire.send(BINARY, b"x")
    assert receive_exactly(tunnel.local, 1) == b"x"


@SUBPROTOCOLS
def test_only_the_latest_ping_is_answered_by_an_end_whose_peer_does_not_read(end, subprotocol):
    tunnel = end.open(subprotocol)
    block = os.urandom(65536)
    written = wait_until_writable_stalls(tunnel.local, block, seconds=0.3)
    masked = tunnel.wire.masks
    tunnel.wire.sock.sendall(b"".join(frame(PING, b"%d" % number, masked=masked) for number in range(10)))
    tunnel.wire.send(BINARY, b"still delivered")  # behind the pings: they have all been seen
    assert receive_exactly(tunnel.local, 15) == b"still delivered"
    received = bytearray()
    pongs = []
    while len(received) < written or not pongs:
        message = tunnel.wire.receive()
        if message.opcode == PONG:
            pongs.append(message.payload)
        else:
            received += message.payload
    assert pongs == [b"9"]
    assert received == (block * (written // len(block) + 1))[:written]


@SUBPROTOCOLS
def test_what_lies_behind_the_handshake_is_not_lost(end, subprotocol):
    masked = end.is_server
    tail = (
        frame(BINARY, b"first ", masked=masked)
        + frame(PING, b"?", masked=masked)
        + frame(BINARY, b"seco", masked=masked)
    )
    tunnel = end.open(subprotocol, tail=tail + frame(BINARY, b"nd", masked=masked)[:-1])
    assert receive_exactly(tunnel.local, 11) == b"first secon"
    assert tunnel.wire.receive().payload == b"?"


def test_a_whole_conversation_behind_the_handshake(end):
    masked = end.is_server
    tunnel = end.open(tail=frame(BINARY, b"question", masked=masked) + frame(TEXT, b"eof", masked=masked))
    assert receive_all(tunnel.local) == b"question"
    tunnel.local.sendall(b"answer")
    tunnel.local.close()
    assert tunnel.wire.receive_bytes(6) == b"answer"
    assert tunnel.wire.receive().payload == b"eof"
    finish_halves(tunnel)


def test_a_tail_as_large_as_a_head_may_be(end):
    payload = os.urandom(16_000)  # what a reader of heads may have taken with it
    tunnel = end.open(tail=frame(BINARY, payload, masked=end.is_server))
    assert receive_exactly(tunnel.local, len(payload)) == payload
