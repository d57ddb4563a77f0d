from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sokken.protocol.frames import (
    MAX_CONTROL_BYTES,
    MAX_HEADER_BYTES,
    NO_STATUS,
    Close,
    Code,
    Decoder,
    Event,
    Notice,
    Opcode,
    Ping,
    Pong,
    Span,
    Violation,
    encode_close,
    encode_frame,
    encode_header,
)

KEY = bytes.fromhex("37fa213d")
KEYS = st.none() | st.binary(min_size=4, max_size=4)
LENGTHS = (7, 16, 64)
GUARD = b"\xaa" * 7


class Data(bytes):
    """Bytes of the stream, as the test sees them."""


Seen = Data | Event


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, key: bytes | None = None, bits: int = 7, rsv: int = 0
) -> bytes:
    """Write one frame, independently of the code under test; ``bits`` is the least width of the length."""
    size, flag = len(payload), 0 if key is None else 0x80
    first = bytes([fin << 7 | rsv << 4 | opcode])
    if bits == 7 and size < 126:
        head = first + bytes([flag | size])
    elif bits <= 16 and size < 1 << 16:
        head = first + bytes([flag | 126]) + size.to_bytes(2)
    else:
        head = first + bytes([flag | 127]) + size.to_bytes(8)
    if key is None:
        return head + payload
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def cut(wire: bytes, at: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(place % (len(wire) + 1) for place in at), len(wire)]
    return (wire[start:stop] for start, stop in pairwise(edges))


def feed(decoder: Decoder, parts: Iterator[bytes] | list[bytes]) -> list[Seen]:
    """Decode one read after the other in a buffer that is used again; adjacent data is joined."""
    seen: list[Seen] = []
    for part in parts:
        buffer = bytearray(GUARD + part + GUARD)
        for event in decoder.decode(buffer, len(GUARD), len(GUARD) + len(part)):
            if not isinstance(event, Span):
                seen.append(event)
                continue
            assert event.payload
            data = bytes(event.payload)
            if seen and isinstance(seen[-1], Data):
                seen[-1] = Data(seen[-1] + data)
            else:
                seen.append(Data(data))
        assert buffer.startswith(GUARD)
        assert buffer.endswith(GUARD)
    return seen


def decode(wire: bytes, *, masked: bool = False, notices: bool = True) -> list[Seen]:
    """Decode it whole and byte by byte, which must be the same."""
    whole = feed(Decoder(masked=masked, notices=notices), [wire])
    bytewise = feed(Decoder(masked=masked, notices=notices), [bytes([byte]) for byte in wire])
    assert whole == bytewise
    return whole


def code_of(seen: list[Seen]) -> int:
    last = seen[-1]
    assert isinstance(last, Violation)
    assert last.detail
    return last.code


# Any stream, any cuts


def messages(draw: st.DrawFn, opcode: Opcode, payload: bytes, key: bytes | None) -> list[bytes]:
    edges = [0, *sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3))), len(payload)]
    parts = [payload[start:stop] for start, stop in pairwise(edges)]
    return [
        frame(
            opcode if at == 0 else Opcode.CONTINUATION,
            part,
            fin=at == len(parts) - 1,
            key=key,
            bits=draw(st.sampled_from(LENGTHS)),
        )
        for at, part in enumerate(parts)
    ]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, bytes | None, list[Seen]]:
    """Draw a legal stream of one side, its key and what must come out, with control frames between fragments."""
    key = draw(KEYS)
    wire, expected = bytearray(), list[Seen]()
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            payload = draw(st.binary(max_size=300))
            result: Seen = Data(payload)
            fragments = messages(draw, Opcode.BINARY, payload, key)
        else:
            text = draw(st.text(max_size=31))
            result = Notice(text)
            fragments = messages(draw, Opcode.TEXT, text.encode(), key)
        for at, fragment in enumerate(fragments):
            if draw(st.integers(0, 3)) == 0:
                control = draw(st.sampled_from((Ping, Pong)))
                payload = draw(st.binary(max_size=125))
                wire += frame(Opcode.PING if control is Ping else Opcode.PONG, payload, key=key)
                expected.append(control(payload))
            wire += fragment
            if isinstance(result, Data):
                expected.append(Data(payload_of(fragment, key)))
            elif at == len(fragments) - 1:
                expected.append(result)
    if draw(st.booleans()):
        reason = draw(st.text(max_size=30))
        wire += frame(Opcode.CLOSE, (1000).to_bytes(2) + reason.encode(), key=key)
        expected.append(Close(1000, reason))
        wire += draw(st.binary(max_size=20))  # after a Close everything is ignored
    return bytes(wire), key, joined(expected)


def payload_of(written: bytes, key: bytes | None) -> bytes:
    """Undo ``frame``."""
    head = 2 + {126: 2, 127: 8}.get(written[1] & 0x7F, 0)
    if key is None:
        return written[head:]
    return bytes(byte ^ key[at % 4] for at, byte in enumerate(written[head + 4 :]))


def joined(events: list[Seen]) -> list[Seen]:
    out: list[Seen] = []
    for event in events:
        if not isinstance(event, Data):
            out.append(event)
        elif event and out and isinstance(out[-1], Data):
            out[-1] = Data(out[-1] + event)
        elif event:
            out.append(event)
    return out


@given(streams(), st.lists(st.integers(0, 10_000), max_size=12))
def test_the_events_never_depend_on_the_cuts(stream: tuple[bytes, bytes | None, list[Seen]], cuts: list[int]) -> None:
    wire, key, expected = stream
    decoder = Decoder(masked=key is not None, notices=True)
    assert feed(decoder, cut(wire, cuts)) == expected
    assert decode(wire, masked=key is not None) == expected


class LongWay(Decoder):
    """Decodes without the short way for small messages."""

    __slots__ = ()

    def _decode_small(self, buffer: bytearray, start: int, stop: int, events: list[Event]) -> int:
        return 0


@st.composite
def small_frames(draw: st.DrawFn) -> tuple[bytes, bool]:
    """Frames around what the short way takes, whole and broken ones, and whether the peer is to mask."""
    masked = draw(st.booleans())
    wire = b""
    for _ in range(draw(st.integers(1, 6))):
        opcode = draw(st.sampled_from([Opcode.BINARY] * 6 + [0, 1, 9, 10, 3, 8]))
        payload = bytes(range(draw(st.sampled_from([0, 1, 2, 3, 4, 5, 7, 124, 125, 126, 130]))))
        is_right = draw(st.integers(0, 9)) > 0
        key = draw(st.binary(min_size=4, max_size=4)) if masked is is_right else None
        fin, bits = draw(st.integers(0, 5)) > 0, draw(st.sampled_from([7, 7, 7, 16, 64]))
        wire += frame(opcode, payload, fin=fin, key=key, bits=bits)
    return wire[: draw(st.integers(1, len(wire)))], masked


@given(small_frames(), st.lists(st.integers(0, 10_000), max_size=8))
@example((frame(Opcode.TEXT, b"\0", key=bytes(4)), True), [])
def test_the_short_way_for_small_messages_gives_what_the_long_way_gives(
    given_frames: tuple[bytes, bool], cuts: list[int]
) -> None:
    wire, masked = given_frames
    short, long = (kind(masked=masked, notices=True) for kind in (Decoder, LongWay))
    assert feed(short, cut(wire, cuts)) == feed(long, cut(wire, cuts))
    assert repr(short) == repr(long)


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("size", [0, 1, 2, 124, 125, 126, 127, 200])
def test_every_cut_of_a_small_message_between_others_is_the_same(size: int, key: bytes | None) -> None:
    payload = bytes(range(size))
    wire = frame(2, b"ab", key=key) + frame(2, payload, key=key) + frame(9, b"?", key=key) + frame(2, b"c", key=key)
    for place in range(len(wire) + 1):
        seen = feed(Decoder(masked=key is not None, notices=True), [wire[:place], wire[place:]])
        assert seen == [Data(b"ab" + payload), Ping(b"?"), Data(b"c")]


def test_within_a_fragmented_message_a_small_one_is_a_violation_as_ever() -> None:
    assert code_of(decode(frame(2, b"a", fin=False) + frame(2, b"b"))) == Code.PROTOCOL_ERROR


@given(st.binary(max_size=60), st.booleans(), st.booleans(), st.lists(st.integers(0, 60), max_size=6))
def test_noise_is_cut_anywhere_with_the_same_result(noise: bytes, masked: bool, notices: bool, cuts: list[int]) -> None:
    seen = feed(Decoder(masked=masked, notices=notices), cut(noise, cuts))
    assert seen == decode(noise, masked=masked, notices=notices)
    assert not any(isinstance(event, Violation | Close) for event in seen[:-1])


@given(streams(), st.sampled_from([b"\x83\x00", b"\xc2\x00", b"\x08\x00", b"\x80\x00"]))
def test_nothing_is_decoded_after_the_last_event(stream: tuple[bytes, bytes | None, list[Seen]], broken: bytes) -> None:
    wire, key, expected = stream
    seen = decode(wire + broken + wire, masked=key is not None)
    assert seen[: len(expected)] == expected
    assert isinstance(seen[-1], Violation | Close)


# What is written is read


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
@pytest.mark.parametrize("key", [None, KEY])
def test_a_header_is_the_shortest_there_is(size: int, key: bytes | None) -> None:
    header = encode_header(Opcode.BINARY, size, key)
    assert header == frame(Opcode.BINARY, bytes(size), key=key)[: len(header)]
    expected = 2 + (0 if size < 126 else 2 if size < 65536 else 8) + (0 if key is None else 4)
    assert len(header) == expected <= MAX_HEADER_BYTES


@given(st.binary(max_size=400), KEYS)
def test_a_frame_that_is_written_is_read(payload: bytes, key: bytes | None) -> None:
    wire = encode_frame(Opcode.BINARY, payload, key)
    assert wire == frame(Opcode.BINARY, payload, key=key)
    assert decode(wire, masked=key is not None) == ([Data(payload)] if payload else [])


@given(st.binary(max_size=125), KEYS)
def test_a_control_frame_that_is_written_is_read(payload: bytes, key: bytes | None) -> None:
    wire = encode_frame(Opcode.PING, payload, key) + encode_frame(Opcode.PONG, payload, key)
    assert decode(wire, masked=key is not None) == [Ping(payload), Pong(payload)]


@given(st.text().filter(lambda text: len(text.encode()) <= 125), KEYS)
def test_a_notice_that_is_written_is_read(text: str, key: bytes | None) -> None:
    assert decode(encode_frame(Opcode.TEXT, text.encode(), key), masked=key is not None) == [Notice(text)]


@given(st.sampled_from(list(Code)), st.text(max_size=200), KEYS)
def test_a_close_that_is_written_is_read(code: Code, reason: str, key: bytes | None) -> None:
    wire = encode_close(code, reason, key)
    assert len(wire) <= 2 + MAX_CONTROL_BYTES + (4 if key else 0)
    [event] = decode(wire, masked=key is not None)
    assert isinstance(event, Close)
    assert event.code == code
    assert reason.startswith(event.reason)
    assert event.reason == reason or len(reason.encode()) > 123


def test_a_long_reason_is_never_cut_inside_a_character() -> None:
    assert decode(encode_close(1011, "a" + "é" * 100)) == [Close(1011, "a" + "é" * 61)]


def test_a_close_without_a_status_is_answered_without_one() -> None:
    assert encode_close(NO_STATUS, "ignored") == b"\x88\x00"


# RFC 6455 section 5.7


@pytest.mark.parametrize(
    ("wire", "masked", "expected"),
    [
        ("810548656c6c6f", False, [Notice("Hello")]),
        ("818537fa213d7f9f4d5158", True, [Notice("Hello")]),
        ("010348656c80026c6f", False, [Notice("Hello")]),
        ("890548656c6c6f", False, [Ping(b"Hello")]),
        ("8a8537fa213d7f9f4d5158", True, [Pong(b"Hello")]),
        ("827e0100" + "61" * 256, False, [Data(b"a" * 256)]),
        ("827f0000000000010000" + "61" * 65536, False, [Data(b"a" * 65536)]),
    ],
)
def test_the_examples_of_the_rfc(wire: str, masked: bool, expected: list[Seen]) -> None:
    assert decode(bytes.fromhex(wire), masked=masked) == expected


# Legal, if odd


@pytest.mark.parametrize("bits", [16, 64])
@pytest.mark.parametrize("key", [None, KEY])
def test_a_length_may_be_longer_than_it_needs(bits: int, key: bytes | None) -> None:
    wire = frame(Opcode.BINARY, b"abc", bits=bits, key=key) + frame(Opcode.BINARY, bits=bits, key=key)
    wire += frame(Opcode.TEXT, b"eof", bits=bits, key=key)
    assert decode(wire, masked=key is not None) == [Data(b"abc"), Notice("eof")]


@pytest.mark.parametrize("key", [None, KEY])
def test_empty_frames_mean_nothing(key: bytes | None) -> None:
    wire = frame(Opcode.BINARY, key=key) * 3
    wire += frame(Opcode.BINARY, fin=False, key=key) + frame(0, fin=False, key=key) + frame(0, b"x", key=key)
    wire += frame(Opcode.PING, key=key) + frame(Opcode.PONG, key=key) + frame(Opcode.TEXT, key=key)
    assert decode(wire, masked=key is not None) == [Data(b"x"), Ping(b""), Pong(b""), Notice("")]


@pytest.mark.parametrize("key", [None, KEY])
def test_control_frames_stand_between_fragments(key: bytes | None) -> None:
    wire = (
        frame(Opcode.TEXT, b"e", fin=False, key=key)
        + frame(Opcode.PING, b"1", key=key)
        + frame(0, b"o", fin=False, key=key)
        + frame(Opcode.PONG, b"", key=key)
        + frame(0, b"f", key=key)
        + frame(Opcode.BINARY, b"a", fin=False, key=key)
        + frame(Opcode.PING, b"2", key=key)
        + frame(0, b"b", key=key)
    )
    expected = [Ping(b"1"), Pong(b""), Notice("eof"), Data(b"a"), Ping(b"2"), Data(b"b")]
    assert decode(wire, masked=key is not None) == expected


def test_a_close_may_stand_between_fragments() -> None:
    wire = frame(Opcode.BINARY, b"a", fin=False) + frame(Opcode.CLOSE) + frame(0, b"b")
    assert decode(wire) == [Data(b"a"), Close(NO_STATUS, "")]


def test_payload_is_named_as_soon_as_it_is_there() -> None:
    decoder = Decoder(masked=False, notices=True)
    assert feed(decoder, [frame(Opcode.BINARY, bytes(1 << 20))[:15]]) == [Data(bytes(5))]
    assert repr(decoder) == "<Decoder BINARY 1048571 to come>"


def test_a_frame_may_be_as_long_as_63_bits_can_say() -> None:
    head = b"\x82\x7f\x7f" + b"\xff" * 7
    assert decode(head + b"abc") == [Data(b"abc")]


def test_the_mask_is_the_one_that_was_given() -> None:
    calls = []

    def note(buffer: bytearray, start: int, stop: int, key: bytes) -> memoryview:
        calls.append((start, stop, key))
        return memoryview(buffer)[start:stop]

    decoder = Decoder(masked=True, notices=True, unmask=note)
    wire = bytearray(frame(Opcode.BINARY, b"abcdef", key=b"1234"))
    decoder.decode(wire, 0, 9)
    decoder.decode(wire, 9, 12)
    assert calls == [(6, 9, b"1234"), (9, 12, b"4123")]


def test_reading_nothing_is_nothing() -> None:
    assert feed(Decoder(masked=True, notices=True), [b"", b""]) == []


# Violations


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("name", "broken"),
    [
        ("reserved bit 1", {"opcode": 2, "payload": b"x", "rsv": 4}),
        ("reserved bit 2", {"opcode": 1, "payload": b"x", "rsv": 2}),
        ("reserved bit 3", {"opcode": 9, "payload": b"x", "rsv": 1}),
        *((f"opcode {opcode}", {"opcode": opcode, "payload": b"x"}) for opcode in (3, 4, 5, 6, 7)),
        *((f"opcode {opcode}", {"opcode": opcode}) for opcode in (11, 12, 13, 14, 15)),
        ("fragmented close", {"opcode": 8, "fin": False}),
        ("fragmented ping", {"opcode": 9, "payload": b"x", "fin": False}),
        ("fragmented pong", {"opcode": 10, "fin": False}),
        ("long close", {"opcode": 8, "payload": bytes(126)}),
        ("long ping", {"opcode": 9, "payload": bytes(126)}),
        ("long pong", {"opcode": 10, "payload": bytes(65536)}),
        ("ping with a long length", {"opcode": 9, "payload": b"x", "bits": 16}),
        ("continuation without a start", {"opcode": 0, "payload": b"x"}),
        ("continuation without a start, not the last", {"opcode": 0, "fin": False}),
    ],
)
def test_a_broken_frame_is_a_protocol_error(masked: bool, name: str, broken: dict) -> None:
    key = KEY if masked else None
    before = frame(Opcode.BINARY, b"before", key=key)
    seen = decode(before + frame(**broken, key=key) + frame(Opcode.BINARY, b"after", key=key), masked=masked)
    assert seen[:-1] == [Data(b"before")]
    assert code_of(seen) == 1002


@pytest.mark.parametrize("kind", [Opcode.BINARY, Opcode.TEXT])
@pytest.mark.parametrize("second", [Opcode.BINARY, Opcode.TEXT])
def test_a_message_inside_a_message_is_a_protocol_error(kind: Opcode, second: Opcode) -> None:
    seen = decode(frame(kind, b"a", fin=False) + frame(Opcode.PING) + frame(second, b"b"))
    assert code_of(seen) == 1002


def test_a_continuation_after_the_last_fragment_is_a_protocol_error() -> None:
    wire = frame(Opcode.BINARY, b"a", fin=False) + frame(0, b"b") + frame(0, b"c")
    seen = decode(wire)
    assert seen[0] == Data(b"ab")
    assert code_of(seen) == 1002


@pytest.mark.parametrize("payload", [b"", b"x", bytes(200)])
def test_a_client_masks_and_a_server_does_not(payload: bytes) -> None:
    assert code_of(decode(frame(Opcode.BINARY, payload), masked=True)) == 1002
    assert code_of(decode(frame(Opcode.BINARY, payload, key=KEY), masked=False)) == 1002
    assert code_of(decode(frame(Opcode.BINARY, payload, key=bytes(4)), masked=False)) == 1002


@pytest.mark.parametrize("masked", [False, True])
def test_a_length_with_its_top_bit_set_is_a_protocol_error(masked: bool) -> None:
    head = bytes([0x82, 0xFF if masked else 0x7F]) + b"\x80" + bytes(7)
    assert code_of(decode(head + KEY, masked=masked)) == 1002


def test_a_broken_header_is_told_before_it_is_whole() -> None:
    assert code_of(decode(b"\xc2")) == 1002
    assert code_of(decode(b"\x82\x05", masked=True)) == 1002
    assert code_of(decode(b"\x89\x7e")) == 1002


@pytest.mark.parametrize("fin", [True, False])
def test_text_is_unsupported_where_there_are_no_notices(fin: bool) -> None:
    assert code_of(decode(frame(Opcode.TEXT, b"eof", fin=fin), notices=False)) == 1003


def test_data_needs_no_notices() -> None:
    wire = frame(Opcode.BINARY, b"a", fin=False) + frame(0, b"b") + frame(Opcode.PING)
    assert decode(wire, notices=False) == [Data(b"ab"), Ping(b"")]


@pytest.mark.parametrize("text", [b"\xff", b"eof\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
def test_a_notice_is_utf8(text: bytes) -> None:
    assert code_of(decode(frame(Opcode.TEXT, text))) == 1007
    halves = frame(Opcode.TEXT, text[:1], fin=False) + frame(0, text[1:])
    assert code_of(decode(halves)) == 1007


def test_a_character_may_be_cut_by_a_fragment() -> None:
    assert decode(frame(Opcode.TEXT, b"\xc3", fin=False) + frame(0, b"\xa9")) == [Notice("é")]


@pytest.mark.parametrize("key", [None, KEY])
def test_a_notice_has_at_most_125_bytes(key: bytes | None) -> None:
    masked = key is not None
    assert decode(frame(Opcode.TEXT, b"a" * 125, key=key), masked=masked) == [Notice("a" * 125)]
    assert code_of(decode(frame(Opcode.TEXT, b"a" * 126, key=key), masked=masked)) == 1009
    assert code_of(decode(frame(Opcode.TEXT, bytes(70000), key=key), masked=masked)) == 1009


def test_the_fragments_of_a_notice_have_at_most_125_bytes_together() -> None:
    start = frame(Opcode.TEXT, b"a" * 100, fin=False)
    assert decode(start + frame(0, b"b" * 25)) == [Notice("a" * 100 + "b" * 25)]
    assert code_of(decode(start + frame(0, b"b" * 26))) == 1009
    assert code_of(decode(start + frame(0, b"b" * 25, fin=False) + frame(0, b"c"))) == 1009


def test_a_notice_that_is_too_long_is_told_from_its_header() -> None:
    assert code_of(decode(frame(Opcode.TEXT, bytes(126))[:4])) == 1009


def test_each_notice_has_its_own_125_bytes() -> None:
    wire = frame(Opcode.TEXT, b"a" * 125) * 2
    assert decode(wire) == [Notice("a" * 125)] * 2


# Close


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (b"", Close(NO_STATUS, "")),
        (b"\x03\xe8", Close(1000, "")),
        (b"\x03\xe8done", Close(1000, "done")),
        (b"\x03\xf3" + "é".encode(), Close(1011, "é")),
        (b"\x03\xf4", Close(1012, "")),
        (b"\x0b\xb8", Close(3000, "")),
        (b"\x13\x87" + b"x" * 123, Close(4999, "x" * 123)),
    ],
)
def test_a_close_has_no_payload_or_a_code_and_a_reason(payload: bytes, event: Close) -> None:
    decoder = Decoder(masked=False, notices=True)
    assert feed(decoder, [frame(Opcode.CLOSE, payload)]) == [event]
    assert repr(decoder) == "<Decoder dead>"
    assert feed(decoder, [frame(Opcode.BINARY, b"x")]) == []
    assert decode(frame(Opcode.CLOSE, payload) + b"\xff\xff") == [event]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 5000, 65535])
def test_some_codes_never_travel(code: int) -> None:
    assert code_of(decode(frame(Opcode.CLOSE, code.to_bytes(2)))) == 1002


def test_a_close_of_one_byte_is_a_protocol_error() -> None:
    assert code_of(decode(frame(Opcode.CLOSE, b"\x03"))) == 1002


def test_a_reason_is_utf8() -> None:
    assert code_of(decode(frame(Opcode.CLOSE, b"\x03\xe8\xff"))) == 1007
