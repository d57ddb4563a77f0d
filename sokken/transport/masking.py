"""Masking at the speed of memory, and unpredictable keys, for the relay.

aiohttp carries a compiled XOR for its own WebSockets. It has no public name, so a release that moves it costs
speed and nothing else: the plain form of protocol/masking.py takes over.
"""

import os
from collections.abc import Callable
from typing import Final

from sokken.protocol.masking import Mask, Unmask, mask, rotate, unmask

_POOL_BYTES: Final = 4096
_SMALL: Final = 2


def _compiled_mask() -> Callable[[bytes, bytearray], None] | None:
    try:
        # Here, and not above: a client listens before anything of aiohttp is loaded.
        from aiohttp._websocket import mask as compiled  # type: ignore[attr-defined]  # noqa: PLC0415
    except (ImportError, AttributeError):  # pragma: no cover -- only in an aiohttp without its compiled parts
        return None
    xor: Callable[[bytes, bytearray], None] = compiled._websocket_mask_cython  # noqa: SLF001
    return xor


def fastest_mask() -> Mask:
    """The compiled masking if there is one, else the plain one."""
    xor = _compiled_mask()
    if xor is None:  # pragma: no cover -- see above
        return mask

    def masked(buffer: bytearray, start: int, stop: int, key: bytes) -> None:
        if (stop - start) * _SMALL < len(buffer):
            part = buffer[start:stop]
            xor(key, part)
            buffer[start:stop] = part
        else:
            _mask_all(xor, buffer, start, stop, key)

    return masked


def fastest_unmask() -> Unmask:
    """The same for who need not have it in place."""
    xor = _compiled_mask()
    if xor is None:  # pragma: no cover -- see above
        return unmask

    def unmasked(buffer: bytearray, start: int, stop: int, key: bytes) -> memoryview:
        if (stop - start) * _SMALL < len(buffer):
            part = buffer[start:stop]
            xor(key, part)
            return memoryview(part)
        _mask_all(xor, buffer, start, stop, key)
        return memoryview(buffer)[start:stop]

    return unmasked


def _mask_all(xor: Callable[[bytes, bytearray], None], buffer: bytearray, start: int, stop: int, key: bytes) -> None:
    """For what is most of a buffer: all of it is masked, and the rest put back.

    The compiled form takes whole bytearrays only; of a smaller part it is given a copy.
    """
    before, after = buffer[:start], buffer[stop:]
    xor(rotate(key, -start), buffer)
    buffer[:start] = before
    buffer[stop:] = after


class MaskKeys:
    """Fresh keys from the system's randomness (RFC 6455 section 10.3), drawn many at a time: a draw costs 20 keys."""

    __slots__ = ("_at", "_pool")

    def __init__(self) -> None:
        self._pool = b""
        self._at = 0

    def __call__(self) -> bytes:
        """Four bytes that were never used before."""
        at = self._at
        if at >= len(self._pool):
            self._pool, at = os.urandom(_POOL_BYTES), 0
        self._at = at + 4
        return self._pool[at : at + 4]
