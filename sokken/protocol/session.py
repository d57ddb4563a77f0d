"""The life of one open tunnel, as a state machine without input or output.

The relay tells it what happened (``local_eof``, ``notice``, ``close_received`` …) and carries out the steps that
come back, in their order. It knows nothing of bytes, sockets or time. Here, and only here, is decided how a
connection ends (docs/protocol.md "sokken.v2", "sokken", "Outcomes").
"""

from dataclasses import dataclass
from enum import Enum, auto

from sokken.protocol.frames import Close, Code
from sokken.protocol.outcomes import Outcome

EOF = "eof"
GOAWAY = "goaway"


class Step(Enum):
    """What the relay must do next; sides are closed only by these."""

    FINISH_LOCAL = auto()
    """Deliver what is held, shut down writing, then tell ``delivered``."""
    CLOSE_LOCAL = auto()
    """Both directions have ended and everything is delivered: close without a reset."""
    RESET_LOCAL = auto()
    """Drop what is held and reset: the other end must be able to tell a cut from an end."""
    LEAVE_PEER = auto()
    """Flush, drop what still comes, close."""
    RESET_PEER = auto()
    """The peer can't be told anything: reset its TCP connection."""


@dataclass(frozen=True, slots=True)
class Notify:
    """Send a TEXT message."""

    text: str


@dataclass(frozen=True, slots=True)
class SendClose:
    """Send a Close; the last frame this end sends."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Abort:
    """Tell the peer at once that its side is to be reset, or, if it takes nothing now, reset its connection."""

    outcome: Outcome


Action = Step | Notify | SendClose | Abort

_FROM_ABORT = {Outcome.LOCAL_RESET.value: Outcome.PEER_RESET}  # what is local over there is the peer here
_FROM_ABORT |= {outcome.value: outcome for outcome in Outcome if outcome is not Outcome.LOCAL_RESET}
del _FROM_ABORT[Outcome.COMPLETED.value]
_FROM_CLOSE: dict[int, Outcome] = {
    Code.GOING_AWAY: Outcome.DRAIN_DEADLINE,
    Code.PROTOCOL_ERROR: Outcome.PROTOCOL_ERROR,
    Code.UNSUPPORTED: Outcome.PROTOCOL_ERROR,
    Code.INVALID_TEXT: Outcome.PROTOCOL_ERROR,
    Code.POLICY: Outcome.PROTOCOL_ERROR,
    Code.TOO_BIG: Outcome.PROTOCOL_ERROR,
    Code.INTERNAL: Outcome.PEER_RESET,
}


class Session:
    """One tunnel that is open. ``half_close`` is whether the subprotocol can say ``eof`` (``sokken.v2``).

    ``outcome`` is set when it is decided how the connection ends (and again only if a completed end is never
    confirmed by the peer); ``close_code`` is the first Close code
    that either end sent, ``detail`` a sentence for the log where there is one.
    """

    __slots__ = (
        "_close_answered",
        "_close_sent",
        "_delivered",
        "_half_close",
        "_local_ended",
        "_peer_ended",
        "_peer_left",
        "close_code",
        "detail",
        "outcome",
        "peer_draining",
    )

    def __init__(self, *, half_close: bool) -> None:
        self._half_close = half_close
        self._local_ended = False  # the local side's EOF was read and said
        self._peer_ended = False  # the peer's EOF has come
        self._delivered = False  # … and everything before it has reached the local side
        self._close_sent = False
        self._close_answered = False  # the peer's Close has come, or never will
        self._peer_left = False  # its connection is being closed, one way or another
        self.outcome: Outcome | None = None
        self.close_code: int | None = None
        self.detail = ""
        self.peer_draining = False

    def __repr__(self) -> str:
        ended = "+".join(["local"] * self._local_ended + ["peer"] * self._peer_ended) or "none"
        return f"<Session ended={ended} outcome={self.outcome} close_code={self.close_code}>"

    @property
    def accepts_bytes(self) -> bool:
        """Whether payload from the peer is still delivered."""
        return not self._peer_ended and not self._close_sent and self.outcome is None

    @property
    def sends_bytes(self) -> bool:
        """Whether what the local side writes is still taken."""
        return not self._local_ended and not self._close_sent and self.outcome is None

    @property
    def is_half_closed(self) -> bool:
        """Whether exactly one direction has ended."""
        return self.outcome is None and self._local_ended != self._peer_ended

    @property
    def ended_side(self) -> str | None:
        """While half-closed, whose direction has ended: ``local`` or ``peer``."""
        if not self.is_half_closed:
            return None
        return "local" if self._local_ended else "peer"

    @property
    def may_send(self) -> bool:
        """Whether frames may still be sent (nothing follows a Close, RFC 6455 section 5.5.1)."""
        return not self._close_sent

    @property
    def has_parted(self) -> bool:
        """Whether Close has gone both ways: nothing more can come, and nothing is owed."""
        return self._close_sent and self._close_answered

    # What the local side does

    def local_eof(self) -> list[Action]:
        """The local side has ended its direction."""
        if not self.sends_bytes:
            return []
        self._local_ended = True
        if self._half_close:
            return [Notify(EOF), *self._complete()]
        # `sokken` has no half-close: a Close ends both directions; what is held is still delivered.
        self._peer_ended = True
        return [*self._send_close(Code.NORMAL), Step.FINISH_LOCAL]

    def local_lost(self) -> list[Action]:
        """The local side was reset, or can't be written any more."""
        return self.end(Outcome.LOCAL_RESET)

    def delivered(self) -> list[Action]:
        """FINISH_LOCAL is done: the local side has everything and its end."""
        if not self._peer_ended or self._delivered:
            return []
        self._delivered = True
        return self._complete()

    # What the peer does

    def notice(self, text: str) -> list[Action]:
        """A TEXT message has come; unknown verbs are ignored, for peers newer than this one."""
        verb, _, argument = text.partition(" ")
        if verb == "abort":
            self._doubt(_FROM_ABORT.get(argument, Outcome.PEER_RESET))
        if self._close_sent or self._close_answered or self.outcome is not None:
            return []
        if verb == EOF:
            return self._peer_eof_said()
        if verb == "abort":
            outcome = _FROM_ABORT.get(argument, Outcome.PEER_RESET)
            return self._break(outcome, SendClose(Code.INTERNAL, ""), Step.LEAVE_PEER)
        if verb == GOAWAY:
            self.peer_draining = True
        return []

    def unexpected_bytes(self) -> list[Action]:
        """Payload has come that ``accepts_bytes`` denies: after a Close it is ignored, after ``eof`` a violation."""
        if self._close_sent or self.outcome is not None:
            return []
        return self.violation(Code.PROTOCOL_ERROR, "data after eof")

    def violation(self, code: Code, detail: str) -> list[Action]:
        """The peer broke the protocol."""
        if self._close_sent or self.outcome is not None:
            # Nothing is owed to it any more, and nothing it says now counts.
            self._doubt(Outcome.PROTOCOL_ERROR)
            self._close_answered = True
            return self._part()
        self.detail = detail
        return self._break(Outcome.PROTOCOL_ERROR, SendClose(code, detail), Step.LEAVE_PEER)

    def close_received(self, close: Close) -> list[Action]:
        """The peer's Close has come: nothing follows it."""
        outcome = _FROM_CLOSE.get(close.code, Outcome.PEER_LOST)
        if close.code != Code.NORMAL:
            self._doubt(outcome)
        self._close_answered = True
        if self.close_code is None:
            self.close_code = close.code
        if self._close_sent or self.outcome is not None:
            return self._part()
        if not self._half_close and close.code in {Code.NORMAL, Code.GOING_AWAY}:
            self._local_ended = self._peer_ended = True
            return [Step.FINISH_LOCAL]
        if self._local_ended and self._peer_ended and close.code == Code.NORMAL:
            return []  # the answer goes out when everything is delivered
        self.detail = close.reason
        return self._break(outcome, SendClose(close.code, ""), Step.LEAVE_PEER)

    def peer_lost(self) -> list[Action]:
        """The peer's TCP connection has ended, cleanly or not."""
        self._doubt(Outcome.PEER_LOST)
        was_answered, self._close_answered = self._close_answered, True
        if self._close_sent:
            return self._part()
        if was_answered and self.outcome is None:
            return []  # its Close had come: it has all that was sent, and what it sent is still delivered
        return self._break(Outcome.PEER_LOST, None, Step.RESET_PEER)

    # What this end decides

    def end(self, outcome: Outcome) -> list[Action]:
        """End the connection from here, for a reason that the peer is told."""
        if self._half_close:
            return self._break(outcome, Abort(outcome))
        return self._break(outcome, SendClose(Code.INTERNAL, outcome.value), Step.LEAVE_PEER)

    def peer_silent(self) -> list[Action]:
        """The peer has not been heard for too long."""
        return self._break(Outcome.PING_TIMEOUT, None, Step.RESET_PEER)

    def drain_deadline(self) -> list[Action]:
        """The drain time is over."""
        close = SendClose(Code.GOING_AWAY, Outcome.DRAIN_DEADLINE.value)
        return self._break(Outcome.DRAIN_DEADLINE, close, Step.LEAVE_PEER)

    # The three ways to end

    def _peer_eof_said(self) -> list[Action]:
        if self._peer_ended:
            return self.violation(Code.PROTOCOL_ERROR, "eof after eof")
        self._peer_ended = True
        return [Step.FINISH_LOCAL]

    def _complete(self) -> list[Action]:
        """Both directions have ended cleanly, once the local side has everything."""
        if not (self._local_ended and self._delivered) or self.outcome is not None:
            return []
        self.outcome = Outcome.COMPLETED
        return [Step.CLOSE_LOCAL, *self._send_close(Code.NORMAL), *self._part()]

    def _part(self) -> list[Action]:
        """Leave the peer once Close has gone both ways, unless the local side is still being served."""
        if self._peer_left or self.outcome is None or not self.has_parted:
            return []
        self._peer_left = True
        return [Step.LEAVE_PEER]

    def _doubt(self, outcome: Outcome) -> None:
        """The peer never confirmed with its Close what was sent to it: an end like that is not called complete.

        An original may close without a word; it can't be told from one that has everything.
        """
        if self._half_close and self.outcome is Outcome.COMPLETED and not self._close_answered:
            self.outcome = outcome

    def _break(self, outcome: Outcome, farewell: SendClose | Abort | None, *steps: Step) -> list[Action]:
        """End both sides at once; whatever came first decides the outcome."""
        if self.outcome is not None:
            if self._close_sent:
                self._doubt(outcome)
                self._close_answered = True
                return self._part()
            return []
        self.outcome = outcome
        self._peer_left = True
        actions: list[Action] = [Step.RESET_LOCAL]
        if isinstance(farewell, Abort):
            self._note_close(Code.INTERNAL)
            actions.append(farewell)
        elif farewell is not None and not self._close_sent:
            actions += self._send_close(farewell.code, farewell.reason)
        return [*actions, *steps]

    def _send_close(self, code: int, reason: str = "") -> list[Action]:
        if self._close_sent:
            return []
        self._note_close(code)
        return [SendClose(code, reason)]

    def _note_close(self, code: int) -> None:
        self._close_sent = True
        if self.close_code is None:
            self.close_code = code
