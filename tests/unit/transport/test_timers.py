import asyncio

import pytest

from sokken.transport.timers import TICK_SECONDS, Wheel
from tests.support.loops import LOOPS, Clock, run, soon


class Entry:
    """Notes when it is woken; ``then`` is done at that moment."""

    def __init__(self, then=None) -> None:
        self.due = 0
        self.woken: list[float] = []
        self.then = then

    def on_timer(self, now: float) -> None:
        self.woken.append(now)
        if self.then is not None:
            self.then()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def failures():
    return []


@pytest.fixture
def wheel(clock, failures):
    """On a loop that does not run: time passes when the test says so."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context))
    yield Wheel(loop, clock)
    loop.close()


def pass_time(wheel, clock, seconds):
    clock.now += seconds
    wheel.advance()


def test_an_entry_is_woken_once_when_its_time_has_come_and_not_before(wheel, clock):
    entry = Entry()
    wheel.wake(entry, clock.now + 3.5)
    while clock.now < 1003.75:
        assert entry.woken == []
        pass_time(wheel, clock, 0.25)
    pass_time(wheel, clock, 0.25)
    assert entry.woken == [1004.0]
    assert entry.due == 0
    pass_time(wheel, clock, 100)
    assert len(entry.woken) == 1


@pytest.mark.parametrize("delay", [0, -5, 0.001])
def test_what_is_due_already_is_woken_at_the_next_tick(wheel, clock, delay):
    entry = Entry()
    wheel.wake(entry, clock.now + delay)
    wheel.advance()
    assert entry.woken == []
    pass_time(wheel, clock, TICK_SECONDS)
    assert len(entry.woken) == 1


def test_a_second_wake_replaces_the_first(wheel, clock):
    sooner, later = Entry(), Entry()
    wheel.wake(sooner, clock.now + 10)
    wheel.wake(sooner, clock.now + 2)
    wheel.wake(later, clock.now + 2)
    wheel.wake(later, clock.now + 10)
    pass_time(wheel, clock, 3)
    assert (len(sooner.woken), len(later.woken)) == (1, 0)
    pass_time(wheel, clock, 8)
    assert (len(sooner.woken), len(later.woken)) == (1, 1)


def test_what_is_forgotten_is_not_woken(wheel, clock):
    entry, other = Entry(), Entry()
    wheel.wake(entry, clock.now + 2)
    wheel.wake(other, clock.now + 2)
    wheel.forget(entry)
    wheel.forget(entry)
    wheel.forget(Entry())
    pass_time(wheel, clock, 5)
    assert (entry.woken, len(other.woken)) == ([], 1)


def test_an_entry_may_ask_again_while_it_is_woken(wheel, clock):
    entry = Entry(lambda: wheel.wake(entry, clock.now + 2))
    wheel.wake(entry, clock.now + 2)
    for _ in range(9):
        pass_time(wheel, clock, 1)
    assert entry.woken == [1003.25, 1006.25, 1009.25]


def test_one_entry_may_forget_or_delay_another_of_its_own_moment(wheel, clock):
    def turn(index):
        for other in [*entries[:index], *entries[index + 1 :]]:
            if not other.woken:
                wheel.forget(other) if index % 2 else wheel.wake(other, clock.now + 50)

    entries = [Entry() for _ in range(6)]
    for index, entry in enumerate(entries):
        entry.then = lambda index=index: turn(index)
        wheel.wake(entry, clock.now + 2)
    pass_time(wheel, clock, 3)
    assert sum(len(entry.woken) for entry in entries) == 1


def test_after_a_long_pause_all_that_is_due_is_woken_once_and_in_order(wheel, clock):
    order = []
    for number in (5, 3, 9, 1):
        wheel.wake(Entry(lambda number=number: order.append(number)), clock.now + number)
    pass_time(wheel, clock, 3600)
    assert order == [1, 3, 5, 9]


def test_an_entry_that_fails_costs_the_others_nothing(wheel, clock, failures):
    def fail():
        raise RuntimeError("this entry fails")

    entries = [Entry(), Entry(fail), Entry()]
    for entry in entries:
        wheel.wake(entry, clock.now + 1)
    pass_time(wheel, clock, 2)
    assert [len(entry.woken) for entry in entries] == [1, 1, 1]
    assert [str(context["exception"]) for context in failures] == ["this entry fails"]


def test_the_clock_is_read_when_it_is_asked_for(wheel, clock):
    assert wheel.now == 1000.25
    clock.now = 1234.5
    assert wheel.now == 1000.25
    assert wheel.refresh() == wheel.now == 1234.5


def test_it_tells_how_many_it_holds(wheel, clock):
    assert repr(wheel) == "<Wheel now=1000 entries=0>"
    wheel.wake(Entry(), clock.now + 1)
    wheel.wake(Entry(), clock.now + 7)
    assert repr(wheel) == "<Wheel now=1000 entries=2>"


@pytest.mark.parametrize("loop", LOOPS)
def test_it_ticks_by_itself_while_it_has_entries(loop):
    async def main():
        wheel = Wheel(asyncio.get_running_loop())
        entry = Entry()
        started = wheel.refresh()
        wheel.wake(entry, started + 0.1)
        assert wheel._handle is not None
        await soon(lambda: entry.woken, seconds=5)
        assert 0.1 <= entry.woken[0] - started <= 0.1 + 2 * TICK_SECONDS + 0.5
        await soon(lambda: wheel._handle is None)  # and stands still without
        wheel.wake(entry, wheel.refresh() + 0.1)
        await soon(lambda: len(entry.woken) == 2, seconds=5)

    run(main(), loop)
