"""Tokens come at their rate, a second's worth may wait, and memory is bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.rate import Buckets


def take(buckets, rate, now, count):
    """How many of so many attempts at one moment get a token."""
    return sum(buckets.take("a", rate, now) == 0 for _ in range(count))


@pytest.mark.parametrize(("rate", "burst"), [(10, 10), (1, 1), (0.1, 1), (2.5, 2)])
def test_a_second_s_worth_is_there_at_once_but_at_least_one(rate, burst):
    assert take(Buckets(), rate, 100.0, 50) == burst


def test_tokens_come_back_at_the_rate():
    buckets = Buckets()
    assert take(buckets, 5, 0.0, 10) == 5
    assert take(buckets, 5, 0.4, 10) == 2
    assert take(buckets, 5, 100.0, 10) == 5


def test_who_comes_too_early_is_told_when_to_come_and_pays_nothing():
    buckets = Buckets()
    assert buckets.take("a", 0.1, 0.0) == 0
    assert buckets.take("a", 0.1, 4.0) == pytest.approx(6.0)
    assert buckets.wait("a", 0.1, 4.0) == pytest.approx(6.0)
    assert buckets.take("a", 0.1, 10.0) == 0


def test_to_ask_takes_nothing():
    buckets = Buckets()
    assert buckets.wait("a", 1, 0.0) == buckets.wait("a", 1, 0.0) == 0
    assert len(buckets) == 0


def test_each_has_its_own():
    buckets = Buckets()
    assert buckets.take("a", 1, 0.0) == 0
    assert buckets.take("b", 1, 0.0) == 0
    assert buckets.take("a", 1, 0.0) == pytest.approx(1)
    assert len(buckets) == 2
    assert repr(buckets) == "<Buckets 2 of 16384>"


def test_who_was_not_seen_for_longest_is_forgotten_first():
    buckets = Buckets(limit=2)
    assert take(buckets, 2, 0.0, 1) == 1
    buckets.take("b", 1, 0.0)
    assert take(buckets, 2, 0.0, 1) == 1
    buckets.take("c", 1, 0.0)
    assert len(buckets) == 2
    assert buckets.wait("a", 2, 0.0) > 0
    assert buckets.wait("b", 1, 0.0) == 0


@given(
    st.floats(0.01, 1000),
    st.lists(st.floats(0, 2), max_size=60),
)
def test_no_one_gets_more_than_the_rate_and_one_burst(rate, pauses):
    buckets, now, taken = Buckets(), 0.0, 0
    for pause in pauses:
        now += pause
        taken += buckets.take("a", rate, now) == 0
    assert taken <= now * rate + max(1.0, rate) + 1e-3
