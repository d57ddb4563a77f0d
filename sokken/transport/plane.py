"""What all relays of one event loop share: buffers, clock, mask keys, the watch over sockets, the limits on memory.

One buffer a direction serves every connection, because a read is framed and sent before its callback returns;
only what the other socket did not take is copied. docs/architecture.md says why, with measurements.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from sokken.transport.masking import MaskKeys, fastest_mask, fastest_unmask
from sokken.transport.timers import Wheel
from sokken.transport.watch import Watch

KIB: Final = 1024
QUANTUM: Final = 512 * KIB
"""Bytes of a read while nothing interactive is about: below it system calls show, above it nothing is gained."""
SHARED_QUANTUM: Final = 64 * KIB
"""Bytes of a read while interactive connections are about: their latency grows with the others' chunk."""
SCARCE_QUANTUM: Final = 32 * KIB
"""Bytes of a read once PARKED_BUDGET is exceeded."""
PARKED_BUDGET: Final = 64 * KIB * KIB
"""Bytes that all connections together may hold for sockets that do not take them, before reads become small."""
INTERACTIVE_BYTES: Final = 4 * KIB
INTERACTIVE_TURNS: Final = 256
"""Reads that stay small after an interactive one: 16 MiB. Fewer, and a round trip beside bulk outlasts them: reads grow
again before the answer is back, and make the next one wait all the longer."""
PAYLOAD_AT: Final = 240
"""Where payload starts in a buffer: room for a header, a multiple of four, and, as large blocks start 16 bytes into
a page, 256 bytes into a page (copies between buffers a few bytes apart modulo 4096 are slow on some processors)."""
SLOT_BYTES: Final = 32768
"""The largest message that an original takes."""
SLOT_HEADER: Final = 4


class Plane:
    """Made once for a loop; ``masks`` says whether frames sent on it are masked (a client's are)."""

    __slots__ = (
        "inbound",
        "inbound_view",
        "interactive",
        "keys",
        "loop",
        "mask",
        "masks",
        "message_bytes",
        "on_pong",
        "outbound",
        "outbound_view",
        "parked",
        "slot_bytes",
        "slot_views",
        "slots_at",
        "unmask",
        "watch",
        "wheel",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        masks: bool,
        message_bytes: int = QUANTUM,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.loop = loop
        self.masks = masks
        self.message_bytes = min(message_bytes, QUANTUM)
        self.mask = fastest_mask()
        self.unmask = fastest_unmask()
        self.keys = MaskKeys()
        self.wheel = Wheel(loop, clock)
        self.watch = Watch(loop)
        self.on_pong: Callable[[float], None] | None = None
        """Told how many seconds a pong took, where somebody wants to know."""
        self.parked = 0
        self.interactive = 0
        self.slot_bytes = min(self.message_bytes, SLOT_BYTES)
        slots = QUANTUM // self.slot_bytes
        stride = self.slot_bytes + SLOT_HEADER + 4 * masks
        self.outbound = bytearray(PAYLOAD_AT + slots * stride)
        self.outbound_view = memoryview(self.outbound)
        self.inbound = bytearray(PAYLOAD_AT + QUANTUM)
        self.inbound_view = memoryview(self.inbound)
        self.slots_at = [PAYLOAD_AT + slot * stride for slot in range(slots)]
        self.slot_views = [self.outbound_view[at : at + self.slot_bytes] for at in self.slots_at]

    def __repr__(self) -> str:
        return f"<Plane parked={self.parked} interactive={self.interactive} {self.wheel!r} {self.watch!r}>"

    def quantum(self) -> int:
        """Bytes to read now."""
        if self.parked > PARKED_BUDGET:
            return SCARCE_QUANTUM
        if self.interactive:
            self.interactive -= 1
            return SHARED_QUANTUM
        return QUANTUM

    def close(self) -> None:
        """Give back what the loop holds for it."""
        self.watch.close()
