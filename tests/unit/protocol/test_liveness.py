import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.liveness import Liveness, Pulse, Sight

FINE, PING, DEAD = Pulse.FINE, Pulse.PING, Pulse.DEAD


def sight(
    *,
    sent_at: float = 0.0,
    heard_at: float = 0.0,
    is_reading: bool = True,
    is_holding: bool = False,
    has_spoken: bool = False,
) -> Sight:
    return Sight(sent_at, heard_at, is_reading, is_holding, has_spoken)


@pytest.mark.parametrize(("spread", "seconds"), [(0.0, 18.0), (0.5, 20.0), (1.0, 22.0)])
def test_the_interval_is_20_seconds_give_or_take_a_tenth(spread: float, seconds: float) -> None:
    assert Liveness(original=False, spread=spread).interval == pytest.approx(seconds)


@pytest.mark.parametrize("original", [False, True])
def test_a_ping_is_due_when_nothing_was_sent_for_the_interval(original: bool) -> None:
    liveness = Liveness(original, 0.5)
    assert liveness.look(119.9, sight(sent_at=100, heard_at=119)) is FINE
    assert liveness.look(120.0, sight(sent_at=100, heard_at=119)) is PING
    assert liveness.look(500.0, sight(sent_at=481, heard_at=499)) is FINE


def test_pings_are_sent_while_this_end_does_not_read() -> None:
    assert Liveness(original=False, spread=0.5).look(1000.0, sight(is_reading=False)) is PING


@pytest.mark.parametrize("original", [False, True])
def test_no_ping_is_sent_behind_what_the_peer_does_not_take(original: bool) -> None:
    liveness = Liveness(original, 0.5)
    assert liveness.look(60.0, sight(is_holding=True)) is FINE


def test_a_peer_is_dead_when_nothing_came_for_70_seconds() -> None:
    liveness = Liveness(original=False, spread=0.5)
    assert liveness.look(169.9, sight(sent_at=169, heard_at=100)) is FINE
    assert liveness.look(170.0, sight(sent_at=169, heard_at=100)) is DEAD
    assert liveness.look(170.0, sight(sent_at=100, heard_at=100, is_holding=True)) is DEAD


def test_nobody_is_dead_while_this_end_does_not_read() -> None:
    assert Liveness(original=False, spread=0.5).look(9999.0, sight(sent_at=9999, is_reading=False)) is FINE


def test_an_original_that_never_speaks_is_dead_after_three_pings() -> None:
    liveness = Liveness(original=True, spread=0.5)
    pulses = [liveness.look(now, sight(sent_at=now - 20)) for now in (20.0, 40.0, 60.0, 80.0)]
    assert pulses == [PING, PING, PING, DEAD]


def test_an_original_that_has_spoken_is_never_dead() -> None:
    liveness = Liveness(original=True, spread=0.5)
    pulses = {liveness.look(now, sight(sent_at=now - 20, has_spoken=True)) for now in range(20, 2000, 20)}
    assert pulses == {PING}


def test_an_original_is_left_alone_while_this_end_does_not_read() -> None:
    liveness = Liveness(original=True, spread=0.5)
    pulses = {liveness.look(now, sight(sent_at=now - 20, is_reading=False)) for now in range(20, 2000, 20)}
    assert pulses == {FINE}
    assert liveness.look(2000.0, sight(sent_at=1980)) is PING


@given(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.booleans())
def test_the_next_look_is_always_ahead(
    spread: float, sent_at: float, heard_at: float, now: float, original: bool
) -> None:
    liveness = Liveness(original, spread)
    at = liveness.next_look(now, sight(sent_at=sent_at, heard_at=heard_at))
    assert at > now
    assert at <= max(now, sent_at) + liveness.interval


@given(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1))
def test_looking_when_told_to_finds_a_dead_peer_in_time(spread: float, start: float, late: float) -> None:
    """The timer is late by up to a second; pings go out on time and death is seen soon after 70 seconds."""
    liveness = Liveness(original=False, spread=spread)
    sent_at = now = start
    pulse = FINE
    for _ in range(40):
        seen = sight(sent_at=sent_at, heard_at=start)
        now = liveness.next_look(now, seen) + late
        pulse = liveness.look(now, seen)
        if pulse is DEAD:
            break
        assert now - sent_at <= liveness.interval + liveness.interval / 4 + 2
        if pulse is PING:
            sent_at = now
    assert pulse is DEAD
    assert now - start + 1e-6 >= 70
    assert now - start <= 70 + liveness.interval / 4 + 2
