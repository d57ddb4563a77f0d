import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.masking import mask, rotate

KEYS = st.binary(min_size=4, max_size=4)
RFC_KEY = bytes.fromhex("37fa213d")  # RFC 6455 section 5.7: a masked "Hello"


def masked(payload: bytes, key: bytes) -> bytes:
    buffer = bytearray(payload)
    mask(buffer, 0, len(buffer), key)
    return bytes(buffer)


def test_the_example_of_the_rfc() -> None:
    assert masked(b"Hello", RFC_KEY) == bytes.fromhex("7f9f4d5158")


@given(st.binary(max_size=100), KEYS)
def test_each_byte_meets_its_byte_of_the_key(payload: bytes, key: bytes) -> None:
    assert masked(payload, key) == bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


@given(st.binary(max_size=100), KEYS)
def test_masking_twice_changes_nothing(payload: bytes, key: bytes) -> None:
    assert masked(masked(payload, key), key) == payload


@given(st.binary(max_size=20), st.binary(max_size=40), st.binary(max_size=20), KEYS)
def test_only_the_named_part_is_touched(before: bytes, payload: bytes, after: bytes, key: bytes) -> None:
    buffer = bytearray(before + payload + after)
    mask(buffer, len(before), len(before) + len(payload), key)
    assert buffer == before + masked(payload, key) + after


@given(st.binary(max_size=100), KEYS, st.data())
def test_a_rotated_key_goes_on_where_the_last_part_ended(payload: bytes, key: bytes, data: st.DataObject) -> None:
    buffer, at = bytearray(payload), 0
    while at < len(buffer):
        size = data.draw(st.integers(1, len(buffer) - at))
        mask(buffer, at, at + size, key)
        key, at = rotate(key, size), at + size
    assert masked(bytes(buffer), rotate(key, -len(payload))) == payload


@pytest.mark.parametrize("count", [0, 4, 8, 65536])
def test_a_key_comes_round_after_four_bytes(count: int) -> None:
    assert rotate(b"abcd", count) == b"abcd"
    assert rotate(b"abcd", count + 1) == b"bcda"
    assert rotate(b"abcd", count + 2) == b"cdab"
    assert rotate(b"abcd", count + 3) == b"dabc"
