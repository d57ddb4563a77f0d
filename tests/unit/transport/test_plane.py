from itertools import pairwise

import pytest

from sokken.transport.masking import fastest_mask
from sokken.transport.plane import (
    INTERACTIVE_TURNS,
    KIB,
    PARKED_BUDGET,
    PAYLOAD_AT,
    QUANTUM,
    SCARCE_QUANTUM,
    SHARED_QUANTUM,
    SLOT_BYTES,
    Plane,
)
from tests.support.loops import LOOPS, planes, run

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def look(loop: str, at, **given):
    """What ``at`` finds at a new plane."""

    async def main():
        async with planes(**given) as plane:
            return at(plane)

    return run(main(), loop)


def test_reads_are_large_until_somebody_interactive_comes(loop):
    def at(plane: Plane):
        before = plane.quantum()
        plane.interactive = INTERACTIVE_TURNS
        meanwhile = [plane.quantum() for _ in range(INTERACTIVE_TURNS)]
        return before, meanwhile, plane.quantum()

    before, meanwhile, after = look(loop, at)
    assert (before, after) == (QUANTUM, QUANTUM)
    assert meanwhile == [SHARED_QUANTUM] * INTERACTIVE_TURNS


def test_reads_are_small_while_much_is_held_for_slow_readers(loop):
    def at(plane: Plane):
        plane.parked = PARKED_BUDGET
        enough = plane.quantum()
        plane.parked += 1
        scarce = plane.quantum()
        plane.interactive = 1
        return enough, scarce, plane.quantum()

    assert look(loop, at) == (QUANTUM, SCARCE_QUANTUM, SCARCE_QUANTUM)


@pytest.mark.parametrize(("asked", "given"), [(1024, 1024), (QUANTUM, QUANTUM), (16 * KIB * KIB, QUANTUM)])
def test_a_message_is_never_larger_than_a_read(loop, asked, given):
    def at(plane: Plane):
        other = Plane(plane.loop, masks=False, message_bytes=asked)
        other.close()
        return other.message_bytes

    assert look(loop, at) == given


@pytest.mark.parametrize("masks", [False, True])
def test_there_is_room_for_a_header_before_every_payload(loop, masks):
    largest_header = 10 + 4 * masks

    def at(plane: Plane):
        slots = [(at, view.nbytes) for at, view in zip(plane.slots_at, plane.slot_views, strict=True)]
        return slots, len(plane.outbound), len(plane.inbound)

    slots, outbound, inbound = look(loop, at, masks=masks)
    assert largest_header <= PAYLOAD_AT
    assert PAYLOAD_AT % 4 == 0  # where the mask's key starts
    assert min(outbound, inbound) >= PAYLOAD_AT + QUANTUM
    assert slots[0][0] == PAYLOAD_AT
    for (at_one, size), (at_next, _) in pairwise(slots):
        assert at_one + size + 4 + 4 * masks <= at_next  # a header of 4 bytes suits 32 KiB
    assert {size for _, size in slots} == {SLOT_BYTES}
    assert slots[-1][0] + SLOT_BYTES <= outbound


def test_it_has_the_fast_mask_fresh_keys_and_tells_its_state(loop):
    def at(plane: Plane):
        buffer = bytearray(b"abcdefgh")
        plane.mask(buffer, 0, 8, b"\1\2\3\4")
        return buffer, plane.keys() != plane.keys(), repr(plane)

    masked, are_fresh, text = look(loop, at)
    expected = bytearray(b"abcdefgh")
    fastest_mask()(expected, 0, 8, b"\1\2\3\4")
    assert (masked, are_fresh) == (expected, True)
    assert text.startswith("<Plane parked=0 interactive=0 <Wheel now=")
