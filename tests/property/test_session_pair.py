"""Two sessions, two applications and a wire between them, in any order of events.

What matters to an application: an end that looks clean is one. Whoever sees an end of file has every byte that
the other application wrote before its own, and with nobody breaking anything both complete.
"""

from collections import deque
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from sokken.protocol.frames import Close
from sokken.protocol.outcomes import Outcome
from sokken.protocol.session import Abort, Action, Notify, SendClose, Session, Step

LOST = object()  # the end of a TCP connection, or its reset


class End:
    """One program: a session, the application on its local side, and the relay between them."""

    def __init__(self) -> None:
        self.session = Session(half_close=True)
        self.wire: deque[object] = deque()  # toward this end
        self.other: End = self
        self.is_connected = True
        self.written = 0  # by the application
        self.has_shut_down = False  # the application
        self.held: deque[int] = deque()
        self.is_finishing = False
        self.received: list[int] = []  # by the application
        self.has_seen_end = False
        self.sides = "open"

    def perform(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Notify(text):
                    self.send(text)
                case SendClose(code, reason):
                    self.send(Close(code, reason))
                case Abort(outcome):
                    self.send(f"abort {outcome}")
                    self.send(Close(1011, ""))
                    self.leave()
                case Step.FINISH_LOCAL:
                    self.is_finishing = True
                    self.finish()
                case Step.CLOSE_LOCAL:
                    self.sides = "closed"
                case Step.RESET_LOCAL:
                    self.sides = "reset"
                    self.held.clear()
                case Step.LEAVE_PEER:
                    self.leave()
                case Step.RESET_PEER:
                    self.other.wire.clear()
                    self.leave()

    def send(self, item: object) -> None:
        if self.is_connected:
            self.other.wire.append(item)

    def leave(self) -> None:
        self.send(LOST)
        self.is_connected = False
        self.wire.clear()

    def finish(self) -> None:
        if self.is_finishing and not self.held and self.sides == "open":
            self.is_finishing = False
            self.has_seen_end = True
            self.perform(self.session.delivered())

    # What may happen

    def write(self) -> None:
        if self.sides == "open" and not self.has_shut_down and self.session.sends_bytes:
            self.send(self.written)
            self.written += 1

    def shut_down(self) -> None:
        if self.sides == "open" and not self.has_shut_down:
            self.has_shut_down = True
            self.perform(self.session.local_eof())

    def take(self) -> None:
        if not self.is_connected or not self.wire:
            return
        match self.wire.popleft():
            case int(byte):
                if self.session.accepts_bytes:
                    self.held.append(byte)
                else:
                    self.perform(self.session.unexpected_bytes())
            case str(text):
                self.perform(self.session.notice(text))
            case Close() as close:
                self.perform(self.session.close_received(close))
            case _:
                self.perform(self.session.peer_lost())

    def deliver(self) -> None:
        if self.held:
            self.received.append(self.held.popleft())
        self.finish()

    def reset(self) -> None:
        if self.sides == "open":
            self.perform(self.session.local_lost())

    def time_out(self) -> None:
        self.perform(self.session.end(Outcome.HALF_CLOSED_TIMEOUT))

    def drain(self) -> None:
        self.perform(self.session.drain_deadline())

    def fall_silent(self) -> None:
        self.perform(self.session.peer_silent())

    def lose(self) -> None:
        """Let the network break the connection: what is on its way is lost."""
        self.wire = deque([LOST])
        self.other.wire = deque([LOST])


PEACEFUL: list[Callable[[End], None]] = [End.write, End.write, End.take, End.deliver, End.shut_down]
HOSTILE = [*PEACEFUL, *PEACEFUL, End.reset, End.time_out, End.drain, End.fall_silent, End.lose]


def play(moves: list[tuple[bool, Callable[[End], None]]]) -> tuple[End, End]:
    one, two = End(), End()
    one.other, two.other = two, one
    for is_first, move in moves:
        move(one if is_first else two)
    return one, two


def settle(one: End, two: End) -> None:
    while (one.wire and one.is_connected) or (two.wire and two.is_connected) or one.held or two.held:
        for end in (one, two):
            end.take()
            end.deliver()


def moves(of: list[Callable[[End], None]]) -> st.SearchStrategy[list[tuple[bool, Callable[[End], None]]]]:
    return st.lists(st.tuples(st.booleans(), st.sampled_from(of)), max_size=40)


@settings(max_examples=300, deadline=None)
@given(moves(HOSTILE))
def test_an_end_that_looks_clean_is_one(script: list[tuple[bool, Callable[[End], None]]]) -> None:
    one, two = play(script)
    settle(one, two)
    for end in (one, two):
        assert end.received == list(range(len(end.received)))
        if end.has_seen_end:
            assert end.other.has_shut_down
            assert len(end.received) == end.other.written
        if end.session.outcome is Outcome.COMPLETED:
            assert end.has_seen_end
            assert end.has_shut_down
        assert (end.sides == "open") == (end.session.outcome is None)


@settings(max_examples=200, deadline=None)
@given(moves(HOSTILE))
def test_what_ends_at_one_end_ends_at_the_other(script: list[tuple[bool, Callable[[End], None]]]) -> None:
    one, two = play(script)
    settle(one, two)
    assert (one.session.outcome is None) == (two.session.outcome is None)


@settings(max_examples=200, deadline=None)
@given(moves(PEACEFUL))
def test_without_a_break_everything_arrives(script: list[tuple[bool, Callable[[End], None]]]) -> None:
    one, two = play(script)
    one.shut_down()
    two.shut_down()
    settle(one, two)
    for end in (one, two):
        assert end.session.outcome is Outcome.COMPLETED
        assert end.session.close_code == 1000
        assert len(end.received) == end.other.written
        assert not end.is_connected
