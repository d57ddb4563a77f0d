"""When to ping and when to believe a peer dead, from times alone (docs/protocol.md "Liveness").

Called by the relay's timer, never for a chunk. Times are monotonic seconds; the caller brings them.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

PING_SECONDS: Final = 20.0
PING_SPREAD: Final = 0.1
SILENCE_SECONDS: Final = 70.0
UNANSWERED_PINGS: Final = 3


class Pulse(Enum):
    """What a look at the clock says."""

    FINE = auto()
    PING = auto()
    DEAD = auto()


@dataclass(frozen=True, slots=True)
class Sight:
    """What this end knows of a peer.

    ``heard_at`` is when something last came from it, or when reading was last resumed; ``is_reading`` whether this
    end reads from it now; ``is_holding`` whether this end holds frames that it does not take; ``has_spoken``
    whether anything ever came from it.
    """

    sent_at: float
    heard_at: float
    is_reading: bool
    is_holding: bool
    has_spoken: bool


@dataclass(slots=True)
class Liveness:
    """One peer. ``spread`` in 0..1 places the ping interval within ±10 %, so that connections do not ping in step.

    ``original`` is a peer that speaks `sokken`: it is judged by pings, and only while it has never said anything,
    because it may be the Go program, which cannot be trusted to read while its own side is stalled.
    """

    original: bool
    spread: float
    unanswered: int = 0

    @property
    def interval(self) -> float:
        """Seconds without sending after which a ping is due."""
        return PING_SECONDS * (1 - PING_SPREAD + 2 * PING_SPREAD * self.spread)

    def look(self, now: float, sight: Sight) -> Pulse:
        """Judge the peer at ``now``."""
        is_due = now - sight.sent_at >= self.interval and not sight.is_holding
        if self.original:
            return self._look_at_original(sight) if is_due and sight.is_reading else Pulse.FINE
        if sight.is_reading and now - sight.heard_at >= SILENCE_SECONDS:
            return Pulse.DEAD
        return Pulse.PING if is_due else Pulse.FINE

    def next_look(self, now: float, sight: Sight) -> float:
        """When to look again, in the same seconds."""
        due = min(sight.sent_at + self.interval, sight.heard_at + SILENCE_SECONDS)
        return due if due > now else now + self.interval / 4

    def _look_at_original(self, sight: Sight) -> Pulse:
        if sight.has_spoken:  # then TCP's keep-alive finds a dead host
            return Pulse.PING
        self.unanswered += 1
        return Pulse.PING if self.unanswered <= UNANSWERED_PINGS else Pulse.DEAD
