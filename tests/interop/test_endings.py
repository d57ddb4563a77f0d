"""How a tunnel ends: what the peer does, what the local side then sees, and the other way round, at both ends."""

import os
import socket

import pytest

from tests.support.targets import eventually, receive_all, receive_exactly, reset, wait_until_writable_stalls, was_reset
from tests.support.wire import BINARY, CLOSE, PING, TEXT, close_payload, frame

SUBPROTOCOLS = pytest.mark.parametrize("subprotocol", ["sokken.v2", "sokken"])
EARLY_CLOSES = {
    None: "peer_lost",
    1000: "peer_lost",
    1001: "drain_deadline",
    1002: "protocol_error",
    1003: "protocol_error",
    1007: "protocol_error",
    1008: "protocol_error",
    1009: "protocol_error",
    1010: "peer_lost",
    1011: "peer_reset",
    1012: "peer_lost",
    1013: "peer_lost",
    1014: "peer_lost",
    3000: "peer_lost",
    4999: "peer_lost",
}


@pytest.mark.parametrize(("code", "outcome"), EARLY_CLOSES.items())
def test_a_close_before_both_directions_have_ended_is_a_reset(end, code, outcome):
    tunnel = end.open()
    tunnel.wire.send(BINARY, b"x")
    assert receive_exactly(tunnel.local, 1) == b"x"
    tunnel.wire.send_close(code)
    assert tunnel.wire.receive_close(code) == ""
    assert was_reset(tunnel.local)
    tunnel.closed(outcome=outcome, close_code=code or 1005)


@pytest.mark.parametrize("code", [1000, 1001])
def test_an_orderly_close_ends_the_original_subprotocol(end, code):
    tunnel = end.open("sokken")
    tunnel.wire.send(BINARY, b"the last words")
    tunnel.wire.send_close(code)
    assert receive_all(tunnel.local) == b"the last words"
    tunnel.local.close()
    assert tunnel.wire.receive_close(1000) == ""
    tunnel.closed(outcome="completed", close_code=code)


@pytest.mark.parametrize(
    ("code", "outcome"), [(code, EARLY_CLOSES[code]) for code in EARLY_CLOSES if code not in {1000, 1001}]
)
def test_any_other_close_resets_the_original_subprotocol(end, code, outcome):
    tunnel = end.open("sokken")
    tunnel.wire.send_close(code)
    tunnel.wire.receive_close(code)
    assert was_reset(tunnel.local)
    tunnel.closed(outcome=outcome, close_code=code or 1005)


def test_the_reason_of_a_close_is_logged(end):
    tunnel = end.open("sokken")
    tunnel.wire.send_close(1011, "target address not allowed")
    tunnel.wire.receive_close(1011)
    tunnel.closed(outcome="peer_reset", close_code=1011, detail="target address not allowed")


def test_nothing_behind_a_close_counts(end):
    tunnel = end.open("sokken")
    masked = tunnel.wire.masks
    tunnel.wire.sock.sendall(
        frame(CLOSE, close_payload(1000), masked=masked)
        + frame(BINARY, b"late", masked=masked)
        + frame(PING, b"late", masked=masked)
        + frame(3, masked=masked)
    )
    assert receive_all(tunnel.local) == b""
    tunnel.local.close()
    tunnel.wire.receive_close(1000)
    tunnel.closed(outcome="completed", close_code=1000)


@SUBPROTOCOLS
def test_an_end_without_close_is_a_reset(end, subprotocol):
    tunnel = end.open(subprotocol)
    tunnel.wire.send(BINARY, b"x")
    assert receive_exactly(tunnel.local, 1) == b"x"
    tunnel.wire.sock.shutdown(socket.SHUT_WR)
    assert was_reset(tunnel.local)
    tunnel.closed(outcome="peer_lost", close_code=None)


@SUBPROTOCOLS
def test_an_end_within_a_frame_is_a_reset(end, subprotocol):
    tunnel = end.open(subprotocol)
    tunnel.wire.send(BINARY, b"x", length=100)
    tunnel.wire.sock.shutdown(socket.SHUT_WR)
    assert was_reset(tunnel.local)
    tunnel.closed(outcome="peer_lost", close_code=None, **{"bytes_down" if not end.is_server else "bytes_up": 1})


@SUBPROTOCOLS
def test_a_reset_is_a_reset(end, subprotocol):
    tunnel = end.open(subprotocol)
    tunnel.wire.reset()
    assert was_reset(tunnel.local)
    tunnel.closed(outcome="peer_lost", close_code=None)


def test_eof_first_from_the_peer(end):
    tunnel = end.open()
    tunnel.wire.send(BINARY, b"question")
    tunnel.wire.send(TEXT, b"eof")
    assert receive_all(tunnel.local) == b"question"
    tunnel.local.sendall(b"answer")
    assert tunnel.wire.receive_bytes(6) == b"answer"
    tunnel.local.shutdown(socket.SHUT_WR)
    assert tunnel.wire.receive().payload == b"eof"
    assert tunnel.wire.receive().code == 1000
    tunnel.wire.send_close(1000)
    tunnel.wire.receive_end()
    tunnel.closed(outcome="completed", close_code=1000)


def test_eof_first_from_the_local_side(end):
    tunnel = end.open()
    tunnel.local.sendall(b"question")
    tunnel.local.shutdown(socket.SHUT_WR)
    assert tunnel.wire.receive_bytes(8) == b"question"
    received = tunnel.wire.receive()
    assert (received.opcode, received.payload) == (TEXT, b"eof")
    tunnel.wire.send(BINARY, b"answer")
    tunnel.wire.send(TEXT, b"eof")
    tunnel.wire.send_close(1000)
    assert receive_all(tunnel.local) == b"answer"
    assert tunnel.wire.receive_close(1000) == ""
    tunnel.closed(outcome="completed", close_code=1000)


def test_a_peer_lost_after_its_eof_only_is_a_reset(end):
    tunnel = end.open()
    tunnel.wire.send(TEXT, b"eof")
    assert tunnel.local.recv(1) == b""
    tunnel.wire.reset()
    tunnel.closed(outcome="peer_lost")
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        eventually(lambda: tunnel.local.send(b"x") and None)


def test_the_original_subprotocol_ends_both_directions_at_an_end_of_the_local_side(end):
    tunnel = end.open("sokken")
    tunnel.local.sendall(b"the last words")
    tunnel.local.shutdown(socket.SHUT_WR)
    assert tunnel.wire.receive_bytes(14) == b"the last words"
    assert tunnel.wire.receive().code == 1000
    assert receive_all(tunnel.local) == b""
    tunnel.wire.send(BINARY, b"too late")
    tunnel.wire.send_close(1000)
    tunnel.wire.receive_end()
    tunnel.closed(outcome="completed", close_code=1000)


@pytest.mark.parametrize(
    ("notice", "outcome"),
    [
        ("abort local_reset", "peer_reset"),
        ("abort drain_deadline", "drain_deadline"),
        ("abort half_closed_timeout", "half_closed_timeout"),
        ("abort killed", "killed"),
        ("abort completed", "peer_reset"),
        ("abort because of something new", "peer_reset"),
        ("abort ", "peer_reset"),
        ("abort", "peer_reset"),
    ],
)
def test_abort_resets_the_local_side_and_is_answered_with_close(end, notice, outcome):
    tunnel = end.open()
    tunnel.wire.send(TEXT, notice.encode())
    assert tunnel.wire.receive_close(1011) == ""
    assert was_reset(tunnel.local)
    tunnel.closed(outcome=outcome, close_code=1011)


def test_a_reset_of_the_peer_is_seen_while_the_local_side_takes_nothing(end):
    tunnel = end.open()
    wait_until_writable_stalls(tunnel.wire.sock, frame(BINARY, os.urandom(60_000), masked=tunnel.wire.masks), 0.2)
    tunnel.wire.reset()
    tunnel.closed(outcome="peer_lost")
    assert was_reset(tunnel.local)


def test_abort_after_both_eofs_comes_too_late_for_the_local_side_but_not_for_the_log(end):
    tunnel = end.open()
    tunnel.local.shutdown(socket.SHUT_WR)
    assert tunnel.wire.receive().payload == b"eof"
    tunnel.wire.send(TEXT, b"eof")
    tunnel.wire.send(TEXT, b"abort killed")
    tunnel.wire.send_close(1011)
    assert receive_all(tunnel.local) == b""
    assert tunnel.wire.receive_close(1000) == ""
    tunnel.closed(outcome="killed", close_code=1000)


def test_a_reset_of_the_local_side_is_told_by_abort(end):
    tunnel = end.open()
    tunnel.local.sendall(b"x")
    assert tunnel.wire.receive_bytes(1) == b"x"
    reset(tunnel.local)
    received = tunnel.wire.receive()
    assert (received.opcode, received.payload) == (TEXT, b"abort local_reset")
    assert tunnel.wire.receive_close(1011) == "local_reset"
    tunnel.closed(outcome="local_reset", close_code=1011)


def test_a_reset_of_the_local_side_is_told_by_close_in_the_original_subprotocol(end):
    tunnel = end.open("sokken")
    reset(tunnel.local)
    assert tunnel.wire.receive_close(1011) == "local_reset"
    tunnel.closed(outcome="local_reset", close_code=1011)


def test_a_reset_toward_a_peer_that_does_not_read_is_a_reset(end):
    tunnel = end.open()
    wait_until_writable_stalls(tunnel.local, seconds=0.2)
    reset(tunnel.local)
    tunnel.closed(outcome="local_reset")
    assert was_reset(tunnel.wire.sock)
