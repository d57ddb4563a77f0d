"""Masking of client frames (RFC 6455 section 5.3): the plain, portable form.

The relay injects a compiled one with the same signature (transport/masking.py); this one is its reference
and what is used where the compiled one is missing.
"""

from collections.abc import Callable

Mask = Callable[[bytearray, int, int, bytes], None]
"""``mask(buffer, start, stop, key)`` XORs ``buffer[start:stop]`` in place; ``key[0]`` meets ``buffer[start]``."""

Unmask = Callable[[bytearray, int, int, bytes], memoryview]
"""Gives what ``mask`` would make of ``buffer[start:stop]``, there or in a copy, whichever is cheaper."""


def mask(buffer: bytearray, start: int, stop: int, key: bytes) -> None:
    """XOR ``buffer[start:stop]`` with the repeated four bytes of ``key``, in place."""
    size = stop - start
    pattern = (key * (size // 4 + 1))[:size]
    masked = int.from_bytes(buffer[start:stop], "big") ^ int.from_bytes(pattern, "big")
    buffer[start:stop] = masked.to_bytes(size, "big")


def unmask(buffer: bytearray, start: int, stop: int, key: bytes) -> memoryview:
    """Mask in place, and give the part."""
    mask(buffer, start, stop, key)
    return memoryview(buffer)[start:stop]


def rotate(key: bytes, count: int) -> bytes:
    """The key as it stands after ``count`` bytes have been masked with it."""
    phase = count & 3
    return key[phase:] + key[:phase] if phase else key
