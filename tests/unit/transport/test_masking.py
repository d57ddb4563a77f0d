import os

import pytest

from sokken.protocol.masking import mask, rotate, unmask
from sokken.transport import masking
from sokken.transport.masking import MaskKeys, fastest_mask, fastest_unmask

SIZES = [*range(70), 125, 126, 255, 256, 4093, 4096, 65535, 65536, 70001]


def test_the_compiled_form_is_there_and_in_use():
    assert masking._compiled_mask() is not None
    assert fastest_mask() is not mask


@pytest.mark.parametrize("offset", range(8))
def test_it_masks_as_the_plain_form_does(offset):
    """Parts small and large, at the start, in the middle and at the end: what is around them stays as it is."""
    fast, key = fastest_mask(), os.urandom(4)
    for size in SIZES:
        for after in (0, 1, 5, size // 2, 2 * size + 3):
            buffer = bytearray(os.urandom(offset + size + after))
            expected = bytearray(buffer)
            mask(expected, offset, offset + size, key)
            given = buffer
            fast(given, offset, offset + size, key)
            assert given is buffer
            assert buffer == expected


@pytest.mark.parametrize("offset", range(8))
def test_it_unmasks_as_the_plain_form_does_and_leaves_what_is_around(offset):
    fast, key = fastest_unmask(), os.urandom(4)
    for size in SIZES:
        for after in (0, 1, 5, size // 2, 2 * size + 3):
            buffer = bytearray(os.urandom(offset + size + after))
            around = buffer[:offset], buffer[offset + size :]
            expected = unmask(bytearray(buffer), offset, offset + size, key)
            assert fast(buffer, offset, offset + size, key) == expected
            assert (buffer[:offset], buffer[offset + size :]) == around


def test_masking_twice_is_none():
    fast, data = fastest_mask(), os.urandom(10_000)
    buffer = bytearray(data)
    fast(buffer, 240, 9000, b"abcd")
    assert buffer[240:9000] != data[240:9000]
    fast(buffer, 240, 9000, b"abcd")
    assert buffer == data


def test_in_cuts_with_the_key_turned():
    fast, data, key = fastest_mask(), os.urandom(5000), os.urandom(4)
    whole = bytearray(data)
    fast(whole, 0, 5000, key)
    for cut in (1, 2, 3, 4, 5, 1023, 4999):
        parts = bytearray(data)
        fast(parts, 0, cut, key)
        fast(parts, cut, 5000, rotate(key, cut))
        assert parts == whole


def test_a_buffer_that_is_viewed_may_be_masked():
    """The plane holds views of its buffers, so masking may not change their size."""
    buffer = bytearray(1000)
    with memoryview(buffer):
        fastest_mask()(buffer, 240, 260, b"abcd")
        fastest_mask()(buffer, 1, 999, b"abcd")


def test_keys_are_fresh():
    keys = MaskKeys()
    drawn = [keys() for _ in range(5000)]
    assert {len(key) for key in drawn} == {4}
    assert len(set(drawn)) > 4990  # of 2**32: a repetition by chance is rare
    assert len({key[0] for key in drawn}) == 256


def test_two_planes_do_not_draw_the_same_keys():
    one, two = MaskKeys(), MaskKeys()
    assert [one() for _ in range(8)] != [two() for _ in range(8)]
