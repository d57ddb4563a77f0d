import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sokken.protocol.frames import NO_STATUS, Close, Code
from sokken.protocol.outcomes import Outcome
from sokken.protocol.session import Abort, Action, Notify, SendClose, Session, Step

EOF = Notify("eof")
NORMAL = SendClose(1000, "")
FINISH_LOCAL, CLOSE_LOCAL, RESET_LOCAL = Step.FINISH_LOCAL, Step.CLOSE_LOCAL, Step.RESET_LOCAL
LEAVE_PEER, RESET_PEER = Step.LEAVE_PEER, Step.RESET_PEER
CODES = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1012, 3000, 4999, NO_STATUS]


@pytest.fixture
def v2() -> Session:
    return Session(half_close=True)


@pytest.fixture
def v1() -> Session:
    return Session(half_close=False)


def both_ended(session: Session) -> Session:
    """Let both directions end while what came is still being delivered."""
    assert session.local_eof() == [EOF]
    assert session.notice("eof") == [FINISH_LOCAL]
    return session


def completed(session: Session) -> Session:
    both_ended(session)
    assert session.delivered() == [CLOSE_LOCAL, NORMAL]
    return session


# sokken.v2, ended cleanly


def test_an_open_session_takes_bytes_both_ways(v2: Session) -> None:
    assert (v2.accepts_bytes, v2.sends_bytes, v2.may_send) == (True, True, True)
    assert (v2.outcome, v2.close_code, v2.detail, v2.peer_draining) == (None, None, "", False)
    assert not v2.is_half_closed
    assert v2.ended_side is None
    assert repr(v2) == "<Session ended=none outcome=None close_code=None>"


def test_the_local_side_ends_first(v2: Session) -> None:
    assert v2.local_eof() == [EOF]
    assert (v2.accepts_bytes, v2.sends_bytes, v2.is_half_closed) == (True, False, True)
    assert v2.ended_side == "local"
    assert v2.local_eof() == []
    assert v2.notice("eof") == [FINISH_LOCAL]
    assert (v2.accepts_bytes, v2.is_half_closed, v2.ended_side) == (False, False, None)
    assert v2.outcome is None
    assert v2.delivered() == [CLOSE_LOCAL, NORMAL]
    assert (v2.outcome, v2.close_code, v2.may_send) == (Outcome.COMPLETED, 1000, False)
    assert v2.close_received(Close(1000, "")) == [LEAVE_PEER]
    assert repr(v2) == "<Session ended=local+peer outcome=completed close_code=1000>"


def test_the_peer_ends_first(v2: Session) -> None:
    assert v2.notice("eof") == [FINISH_LOCAL]
    assert (v2.accepts_bytes, v2.sends_bytes, v2.is_half_closed) == (False, True, True)
    assert v2.ended_side == "peer"
    assert v2.delivered() == []
    assert v2.delivered() == []
    assert v2.local_eof() == [EOF, CLOSE_LOCAL, NORMAL]
    assert v2.outcome == Outcome.COMPLETED
    assert v2.close_received(Close(1000, "")) == [LEAVE_PEER]


def test_the_peers_close_may_come_before_all_is_delivered(v2: Session) -> None:
    both_ended(v2)
    assert v2.close_received(Close(1000, "")) == []
    assert v2.outcome is None
    assert v2.delivered() == [CLOSE_LOCAL, NORMAL, LEAVE_PEER]
    assert v2.outcome == Outcome.COMPLETED


def test_a_peer_that_leaves_after_its_close_takes_nothing_back(v2: Session) -> None:
    both_ended(v2)
    v2.close_received(Close(1000, ""))
    assert v2.peer_lost() == []
    assert v2.delivered() == [CLOSE_LOCAL, NORMAL, LEAVE_PEER]
    assert v2.outcome == Outcome.COMPLETED


def test_a_peer_that_leaves_without_its_close_may_not_have_everything(v2: Session) -> None:
    both_ended(v2)
    assert v2.peer_lost() == [RESET_LOCAL, RESET_PEER]
    assert v2.outcome == Outcome.PEER_LOST


def test_a_peer_that_never_answers_the_close_is_left(v2: Session) -> None:
    completed(v2)
    assert v2.peer_lost() == [LEAVE_PEER]
    assert (v2.outcome, v2.close_code) == (Outcome.PEER_LOST, 1000)


@pytest.mark.parametrize(
    ("say", "outcome"),
    [
        (lambda v2: v2.notice("abort local_reset"), Outcome.PEER_RESET),
        (lambda v2: v2.close_received(Close(1011, "")), Outcome.PEER_RESET),
        (lambda v2: v2.close_received(Close(1001, "")), Outcome.DRAIN_DEADLINE),
        (lambda v2: v2.close_received(Close(1000, "")), Outcome.COMPLETED),
        (lambda v2: v2.peer_silent(), Outcome.PING_TIMEOUT),
        (lambda v2: v2.violation(Code.PROTOCOL_ERROR, "nonsense"), Outcome.PROTOCOL_ERROR),
    ],
)
def test_only_the_peers_close_confirms_that_it_has_everything(v2: Session, say, outcome: Outcome) -> None:
    completed(v2)
    say(v2)
    assert v2.outcome == outcome


def test_an_original_that_goes_without_a_word_has_completed(v1: Session) -> None:
    v1.local_eof()
    v1.delivered()
    assert v1.peer_lost() == [LEAVE_PEER]
    assert v1.outcome == Outcome.COMPLETED


@pytest.mark.parametrize("delivered_early", [False, True])
def test_delivery_is_only_counted_after_the_peers_end(v2: Session, delivered_early: bool) -> None:
    if delivered_early:
        assert v2.delivered() == []
    both_ended(v2)
    assert v2.outcome is None


# sokken.v2, broken


def test_a_local_reset_is_told(v2: Session) -> None:
    assert v2.local_lost() == [RESET_LOCAL, Abort(Outcome.LOCAL_RESET)]
    assert (v2.outcome, v2.close_code, v2.may_send) == (Outcome.LOCAL_RESET, 1011, False)
    assert v2.close_received(Close(1011, "")) == []


def test_a_local_reset_while_delivering_is_told(v2: Session) -> None:
    both_ended(v2)
    assert v2.local_lost() == [RESET_LOCAL, Abort(Outcome.LOCAL_RESET)]


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.COMPLETED])
def test_an_end_is_told_as_an_abort(v2: Session, outcome: Outcome) -> None:
    assert v2.end(outcome) == [RESET_LOCAL, Abort(outcome)]
    assert v2.outcome == outcome


@pytest.mark.parametrize(
    ("argument", "outcome"),
    [
        ("local_reset", Outcome.PEER_RESET),
        ("peer_reset", Outcome.PEER_RESET),
        ("half_closed_timeout", Outcome.HALF_CLOSED_TIMEOUT),
        ("idle_timeout", Outcome.IDLE_TIMEOUT),
        ("policy_revoked", Outcome.POLICY_REVOKED),
        ("killed", Outcome.KILLED),
        ("completed", Outcome.PEER_RESET),
        ("newer_than_this", Outcome.PEER_RESET),
        ("", Outcome.PEER_RESET),
    ],
)
def test_a_peers_abort_resets_the_local_side(v2: Session, argument: str, outcome: Outcome) -> None:
    assert v2.notice(f"abort {argument}".strip()) == [RESET_LOCAL, SendClose(1011, ""), LEAVE_PEER]
    assert (v2.outcome, v2.close_code) == (outcome, 1011)


def test_a_peers_abort_counts_until_all_is_delivered(v2: Session) -> None:
    both_ended(v2)
    assert v2.notice("abort local_reset") == [RESET_LOCAL, SendClose(1011, ""), LEAVE_PEER]
    assert v2.delivered() == []
    assert v2.outcome == Outcome.PEER_RESET


def test_a_peers_abort_after_its_end_and_before_ours(v2: Session) -> None:
    v2.notice("eof")
    v2.delivered()
    assert v2.notice("abort killed") == [RESET_LOCAL, SendClose(1011, ""), LEAVE_PEER]
    assert v2.local_eof() == []
    assert v2.outcome == Outcome.KILLED


@pytest.mark.parametrize("text", ["", " ", "EOF", "eofx", "newer than this", "abortion", "go away"])
def test_unknown_notices_are_ignored(v2: Session, text: str) -> None:
    assert v2.notice(text) == []
    assert v2.outcome is None
    assert v2.accepts_bytes


def test_a_notice_may_have_arguments_that_are_not_known(v2: Session) -> None:
    assert v2.notice("eof newer argument") == [FINISH_LOCAL]


def test_goaway_ends_nothing(v2: Session) -> None:
    assert v2.notice("goaway") == []
    assert v2.peer_draining
    assert (v2.accepts_bytes, v2.sends_bytes, v2.outcome) == (True, True, None)


def test_a_second_eof_is_a_violation(v2: Session) -> None:
    v2.notice("eof")
    assert v2.notice("eof") == [RESET_LOCAL, SendClose(1002, "eof after eof"), LEAVE_PEER]
    assert (v2.outcome, v2.detail) == (Outcome.PROTOCOL_ERROR, "eof after eof")


def test_data_after_eof_is_a_violation(v2: Session) -> None:
    v2.notice("eof")
    assert v2.unexpected_bytes() == [RESET_LOCAL, SendClose(1002, "data after eof"), LEAVE_PEER]
    assert (v2.outcome, v2.close_code) == (Outcome.PROTOCOL_ERROR, 1002)
    assert v2.unexpected_bytes() == []


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1009])
def test_a_violation_is_answered_with_its_code(v2: Session, v1: Session, code: int) -> None:
    for session in (v2, v1):
        actions = session.violation(Code(code), "why")
        assert actions == [RESET_LOCAL, SendClose(code, "why"), LEAVE_PEER]
        assert (session.outcome, session.close_code, session.detail) == (Outcome.PROTOCOL_ERROR, code, "why")


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (1000, Outcome.PEER_LOST),
        (1001, Outcome.DRAIN_DEADLINE),
        (1002, Outcome.PROTOCOL_ERROR),
        (1003, Outcome.PROTOCOL_ERROR),
        (1007, Outcome.PROTOCOL_ERROR),
        (1008, Outcome.PROTOCOL_ERROR),
        (1009, Outcome.PROTOCOL_ERROR),
        (1011, Outcome.PEER_RESET),
        (1012, Outcome.PEER_LOST),
        (4000, Outcome.PEER_LOST),
        (NO_STATUS, Outcome.PEER_LOST),
    ],
)
@pytest.mark.parametrize("before", ["nothing", "local_eof", "peer_eof"])
def test_a_close_without_both_ends_is_an_abort(before: str, code: int, outcome: Outcome) -> None:
    session = Session(half_close=True)
    if before == "local_eof":
        session.local_eof()
    elif before == "peer_eof":
        session.notice("eof")
    assert session.close_received(Close(code, "why")) == [RESET_LOCAL, SendClose(code, ""), LEAVE_PEER]
    assert (session.outcome, session.close_code, session.detail) == (outcome, code, "why")


@pytest.mark.parametrize("code", [code for code in CODES if code != 1000])
def test_a_close_that_is_no_clean_one_is_an_abort_while_delivering(v2: Session, code: int) -> None:
    both_ended(v2)
    assert v2.close_received(Close(code, "")) == [RESET_LOCAL, SendClose(code, ""), LEAVE_PEER]
    assert v2.outcome not in (None, Outcome.COMPLETED)


@pytest.mark.parametrize("before", ["nothing", "local_eof", "peer_eof"])
def test_a_peer_that_is_gone_without_both_ends_is_an_abort(before: str) -> None:
    session = Session(half_close=True)
    if before == "local_eof":
        session.local_eof()
    elif before == "peer_eof":
        session.notice("eof")
        session.delivered()
    assert session.peer_lost() == [RESET_LOCAL, RESET_PEER]
    assert (session.outcome, session.close_code) == (Outcome.PEER_LOST, None)


def test_a_silent_peer_is_reset(v2: Session, v1: Session) -> None:
    for session in (v2, v1):
        assert session.peer_silent() == [RESET_LOCAL, RESET_PEER]
        assert (session.outcome, session.close_code) == (Outcome.PING_TIMEOUT, None)


def test_the_drain_deadline_resets_the_local_side(v2: Session, v1: Session) -> None:
    for session in (v2, v1):
        close = SendClose(1001, "drain_deadline")
        assert session.drain_deadline() == [RESET_LOCAL, close, LEAVE_PEER]
        assert (session.outcome, session.close_code) == (Outcome.DRAIN_DEADLINE, 1001)


def test_a_drain_deadline_while_the_peer_owes_its_close_leaves_it(v2: Session) -> None:
    completed(v2)
    assert v2.drain_deadline() == [LEAVE_PEER]
    assert v2.outcome == Outcome.DRAIN_DEADLINE


# After the end


@pytest.mark.parametrize("end", ["local_lost", "drain_deadline", "completed", "peer_lost", "peer_silent", "violation"])
def test_whatever_comes_after_the_end_changes_nothing(end: str) -> None:
    session = Session(half_close=True)
    if end == "completed":
        completed(session)
        assert session.close_received(Close(1000, "")) == [LEAVE_PEER]
    elif end == "violation":
        session.violation(Code.PROTOCOL_ERROR, "first")
    else:
        getattr(session, end)()
    outcome, detail = session.outcome, session.detail
    later = [
        session.local_eof(),
        session.notice("eof"),
        session.notice("abort killed"),
        session.notice("goaway"),
        session.unexpected_bytes(),
        session.delivered(),
        session.violation(Code.TOO_BIG, "second"),
        session.close_received(Close(1011, "third")),
        session.local_lost(),
        session.peer_silent(),
        session.drain_deadline(),
        session.peer_lost(),
    ]
    assert [action for actions in later for action in actions] == []
    assert (session.outcome, session.detail) == (outcome, detail)
    assert not session.peer_draining


# sokken: a Close ends both directions


def test_an_original_is_told_the_end_by_a_close(v1: Session) -> None:
    assert v1.local_eof() == [NORMAL, FINISH_LOCAL]
    assert (v1.accepts_bytes, v1.sends_bytes, v1.may_send, v1.is_half_closed) == (False, False, False, False)
    assert v1.unexpected_bytes() == []
    assert v1.local_eof() == []
    assert v1.delivered() == [CLOSE_LOCAL]
    assert v1.outcome == Outcome.COMPLETED
    assert v1.close_received(Close(1000, "")) == [LEAVE_PEER]


def test_an_originals_answer_may_come_before_all_is_delivered(v1: Session) -> None:
    v1.local_eof()
    assert v1.close_received(Close(1000, "")) == []
    assert v1.delivered() == [CLOSE_LOCAL, LEAVE_PEER]


@pytest.mark.parametrize("code", [1000, 1001])
def test_an_original_ends_both_directions_with_a_close(v1: Session, code: int) -> None:
    assert v1.close_received(Close(code, "")) == [FINISH_LOCAL]
    assert (v1.accepts_bytes, v1.sends_bytes) == (False, False)
    assert v1.local_eof() == []
    assert v1.delivered() == [CLOSE_LOCAL, NORMAL, LEAVE_PEER]
    assert (v1.outcome, v1.close_code) == (Outcome.COMPLETED, code)


def test_an_original_may_be_gone_after_its_close(v1: Session) -> None:
    v1.close_received(Close(1000, ""))
    assert v1.peer_lost() == []
    assert v1.delivered() == [CLOSE_LOCAL, NORMAL, LEAVE_PEER]


@pytest.mark.parametrize("code", [code for code in CODES if code not in (1000, 1001)])
def test_any_other_close_of_an_original_is_an_abort(v1: Session, code: int) -> None:
    assert v1.close_received(Close(code, "forbidden")) == [RESET_LOCAL, SendClose(code, ""), LEAVE_PEER]
    assert v1.outcome not in (None, Outcome.COMPLETED)
    assert (v1.close_code, v1.detail) == (code, "forbidden")


def test_an_original_that_is_gone_without_a_close_is_an_abort(v1: Session) -> None:
    assert v1.peer_lost() == [RESET_LOCAL, RESET_PEER]
    assert v1.outcome == Outcome.PEER_LOST


def test_an_original_is_told_of_an_end_by_a_close(v1: Session) -> None:
    assert v1.local_lost() == [RESET_LOCAL, SendClose(1011, "local_reset"), LEAVE_PEER]
    assert (v1.outcome, v1.close_code) == (Outcome.LOCAL_RESET, 1011)


@pytest.mark.parametrize("end", ["local_lost", "drain_deadline"])
def test_an_original_is_never_sent_two_closes(v1: Session, end: str) -> None:
    v1.local_eof()
    assert getattr(v1, end)() == [RESET_LOCAL, LEAVE_PEER]
    assert v1.close_code == 1000
    assert v1.outcome != Outcome.COMPLETED


def test_an_originals_violation_after_our_close_counts_no_more(v1: Session) -> None:
    v1.local_eof()
    assert v1.violation(Code.UNSUPPORTED, "text") == []
    assert v1.delivered() == [CLOSE_LOCAL, LEAVE_PEER]
    assert (v1.outcome, v1.detail) == (Outcome.COMPLETED, "")


# Any order of events


class AnyOrder(RuleBasedStateMachine):
    """Tell a session anything at any time, and carry out what it answers as the relay does.

    Only the decoder keeps an order: nothing comes from the peer after its Close or a violation.
    """

    @initialize(half_close=st.booleans())
    def start(self, half_close: bool) -> None:
        self.half_close = half_close
        self.session = Session(half_close=half_close)
        self.local = "open"
        self.peer = "open"
        self.is_decoding = True
        self.closes = 0
        self.ends: set[str] = set()
        self.outcome: Outcome | None = None
        self.was_completed = False
        self.close_code: int | None = None

    def tell(self, actions: list[Action]) -> None:
        self.was_completed |= self.session.outcome is Outcome.COMPLETED
        for action in actions:
            match action:
                case Notify() | SendClose() | Abort():
                    self.send(action)
                case Step.FINISH_LOCAL:
                    assert self.local == "open"
                    self.local = "finishing"
                case Step.CLOSE_LOCAL:
                    assert self.local == "finished"
                    assert self.ends == {"local", "peer"}
                    self.local = "closed"
                case Step.RESET_LOCAL:
                    assert self.local not in ("closed", "reset")
                    self.local = "reset"
                case Step.LEAVE_PEER:
                    assert self.local in ("closed", "reset")
                    assert self.peer == "open"
                    self.peer = "left"
                case Step.RESET_PEER:
                    assert self.peer == "open"
                    self.peer = "reset"

    def send(self, action: Action) -> None:
        assert self.peer == "open"
        assert self.closes == 0
        if isinstance(action, Abort):
            assert self.half_close
            self.peer = "left"
        if isinstance(action, SendClose | Abort):
            self.closes += 1

    def end(self, *ends: str) -> None:
        """Note what has ended, if it was in time."""
        if self.session.outcome is None:
            self.ends.update(ends)

    @rule()
    def local_eof(self) -> None:
        self.end(*(["local"] if self.half_close else ["local", "peer"]))
        self.tell(self.session.local_eof())

    @rule()
    def local_lost(self) -> None:
        self.tell(self.session.local_lost())

    @rule()
    def delivered(self) -> None:
        if self.local == "finishing":
            self.local = "finished"
        self.tell(self.session.delivered())

    @precondition(lambda self: self.half_close and self.is_decoding)
    @rule()
    def peer_eof(self) -> None:
        self.end("peer")
        self.tell(self.session.notice("eof"))

    @precondition(lambda self: self.half_close and self.is_decoding)
    @rule(
        text=st.sampled_from(["goaway", "", "newer", "abort"])
        | st.sampled_from(Outcome).map(lambda outcome: f"abort {outcome}")
    )
    def notice(self, text: str) -> None:
        self.tell(self.session.notice(text))

    @precondition(lambda self: self.is_decoding and not self.session.accepts_bytes)
    @rule()
    def unexpected_bytes(self) -> None:
        self.tell(self.session.unexpected_bytes())

    @precondition(lambda self: self.is_decoding)
    @rule(code=st.sampled_from(Code))
    def violation(self, code: Code) -> None:
        self.is_decoding = False
        self.tell(self.session.violation(code, "broken"))

    @precondition(lambda self: self.is_decoding)
    @rule(code=st.sampled_from(CODES))
    def close_received(self, code: int) -> None:
        self.is_decoding = False
        if not self.half_close and code in (1000, 1001):
            self.end("local", "peer")
        self.tell(self.session.close_received(Close(code, "")))

    @rule()
    def peer_lost(self) -> None:
        self.tell(self.session.peer_lost())

    @rule()
    def peer_silent(self) -> None:
        self.tell(self.session.peer_silent())

    @rule(outcome=st.sampled_from([o for o in Outcome if o is not Outcome.COMPLETED]))
    def ended(self, outcome: Outcome) -> None:
        self.tell(self.session.end(outcome))

    @rule()
    def drain_deadline(self) -> None:
        self.tell(self.session.drain_deadline())

    @invariant()
    def the_outcome_is_set_once(self) -> None:
        # … but a completed end that the peer does not confirm is called by what happened instead.
        if self.outcome not in (None, Outcome.COMPLETED):
            assert self.session.outcome == self.outcome
        self.outcome = self.session.outcome

    @invariant()
    def the_first_close_code_stays(self) -> None:
        if self.close_code is not None:
            assert self.session.close_code == self.close_code
        self.close_code = self.session.close_code
        assert self.closes == 0 or self.close_code is not None

    @invariant()
    def the_local_side_ends_with_the_outcome(self) -> None:
        assert (self.local == "closed") == self.was_completed
        assert (self.local == "reset") == (self.session.outcome is not None and not self.was_completed)

    @invariant()
    def nothing_passes_after_the_end(self) -> None:
        if self.session.outcome is not None:
            assert not self.session.accepts_bytes
            assert not self.session.sends_bytes
            assert not self.session.is_half_closed
        assert self.session.may_send == (self.closes == 0)

    def teardown(self) -> None:
        """However far it came: when the peer is gone and all is delivered, both sides are closed."""
        if not hasattr(self, "session"):
            return
        self.peer_lost()
        self.delivered()
        assert self.local in ("closed", "reset")
        assert self.peer in ("left", "reset")


AnyOrder.TestCase.settings = settings(max_examples=300, stateful_step_count=15, deadline=None)
TestAnyOrder = AnyOrder.TestCase
