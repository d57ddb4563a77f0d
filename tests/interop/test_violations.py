"""A peer that breaks the protocol: it is told so in a Close, and the local side is reset, at both ends."""

from errno import EPIPE
from socket import SO_ERROR, SOL_SOCKET

import pytest

from tests.support.targets import eventually, was_reset
from tests.support.wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame


def opcode(number):
    return lambda masked: frame(number, masked=masked)


VIOLATIONS = {
    "rsv1": lambda masked: frame(BINARY, b"x", masked=masked, rsv=4),
    "rsv2": lambda masked: frame(BINARY, b"x", masked=masked, rsv=2),
    "rsv3 in a control frame": lambda masked: frame(PING, masked=masked, rsv=1),
    **{f"reserved opcode {number}": opcode(number) for number in (3, 7, 11, 15)},
    "the wrong masking": lambda masked: frame(BINARY, b"x", masked=not masked),
    "the wrong masking of a control frame": lambda masked: frame(PING, masked=not masked),
    "a length with its top bit set": lambda masked: frame(BINARY, b"x", masked=masked, width=8, length=1 << 63),
    "a control frame of 126 bytes": lambda masked: frame(PING, bytes(126), masked=masked),
    "a long control frame in a long header": lambda masked: frame(PONG, bytes(70_000), masked=masked),
    "a fragmented control frame": lambda masked: frame(PING, masked=masked, fin=False),
    "a continuation of nothing": lambda masked: frame(CONTINUATION, b"x", masked=masked),
    "a continuation of what has ended": lambda masked: (
        frame(BINARY, b"x", masked=masked, fin=False)
        + frame(CONTINUATION, masked=masked)
        + frame(CONTINUATION, masked=masked)
    ),
    "a message within a message": lambda masked: (
        frame(BINARY, b"x", masked=masked, fin=False) + frame(BINARY, b"y", masked=masked)
    ),
    "a Close of one byte": lambda masked: frame(CLOSE, b"\x03", masked=masked),
    **{
        f"Close code {code}": lambda masked, code=code: frame(CLOSE, close_payload(code), masked=masked)
        for code in (0, 999, 1004, 1005, 1006, 1015, 5000, 65535)
    },
}

VIOLATIONS_OF_V2 = {
    "a notice of 126 bytes": (1009, lambda masked: frame(TEXT, b"x" * 126, masked=masked)),
    "a notice of 126 bytes in two parts": (
        1009,
        lambda masked: frame(TEXT, b"x" * 125, masked=masked, fin=False) + frame(CONTINUATION, b"x", masked=masked),
    ),
    "a notice that is not UTF-8": (1007, lambda masked: frame(TEXT, b"eof\xff", masked=masked)),
    "a Close reason that is not UTF-8": (1007, lambda masked: frame(CLOSE, b"\x03\xe8\xff", masked=masked)),
}


def assert_ended(tunnel, code):
    reason = tunnel.wire.receive_close(code)
    assert was_reset(tunnel.local)
    line = tunnel.closed(outcome="protocol_error", close_code=code)
    assert line["detail"]
    assert line["detail"].startswith(reason[:100])


@pytest.mark.parametrize("subprotocol", ["sokken.v2", "sokken"])
@pytest.mark.parametrize("what", VIOLATIONS)
def test_a_violation_is_answered_with_1002_and_resets_the_local_side(end, what, subprotocol):
    tunnel = end.open(subprotocol)
    tunnel.wire.sock.sendall(VIOLATIONS[what](tunnel.wire.masks))
    assert_ended(tunnel, 1002)


@pytest.mark.parametrize("what", VIOLATIONS_OF_V2)
def test_a_violation_of_sokken_v2(end, what):
    tunnel = end.open()
    code, encode = VIOLATIONS_OF_V2[what]
    tunnel.wire.sock.sendall(encode(tunnel.wire.masks))
    assert_ended(tunnel, code)


@pytest.mark.parametrize("second", [(BINARY, b"x"), (TEXT, b"eof")], ids=["data", "eof"])
def test_after_eof_neither_data_nor_another_eof_may_follow(end, second):
    tunnel = end.open()
    tunnel.wire.send(TEXT, b"eof")
    tunnel.wire.send(*second)
    assert tunnel.wire.receive_close(1002) == f"{'data' if second[0] == BINARY else 'eof'} after eof"
    # The local side has had its end by then; what tells it of the reset is that it can't be written any more.
    assert eventually(lambda: tunnel.local.getsockopt(SOL_SOCKET, SO_ERROR)) == EPIPE
    tunnel.closed(outcome="protocol_error", close_code=1002)


def test_text_has_no_meaning_in_the_original_subprotocol(end):
    tunnel = end.open("sokken")
    tunnel.wire.send(TEXT, b"eof")
    assert_ended(tunnel, 1003)


def test_what_came_before_a_violation_was_delivered(end):
    tunnel = end.open()
    tunnel.wire.send(BINARY, b"before")
    assert tunnel.local.recv(100) == b"before"
    tunnel.wire.send(3)
    assert_ended(tunnel, 1002)


def test_a_violation_behind_the_handshake(end):
    tunnel = end.open(tail=frame(3, masked=end.is_server))
    assert_ended(tunnel, 1002)


def test_what_follows_a_violation_is_ignored(end):
    tunnel = end.open()
    masked = tunnel.wire.masks
    tunnel.wire.sock.sendall(
        frame(3, masked=masked) + frame(PING, b"1", masked=masked) + frame(CLOSE, close_payload(1000), masked=masked)
    )
    assert_ended(tunnel, 1002)
