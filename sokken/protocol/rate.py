"""How often somebody may do something: a token bucket for each, in one number each, and for a bounded many.

Called by the server's admission with its own clock. Pure. It forgets first who was not seen for longest, whose bucket
is the likeliest to be full again: to be forgotten is to have a full bucket.
"""

from collections.abc import Hashable
from typing import Final

MAX_BUCKETS: Final = 16384
_ROUNDING: Final = 1e-6  # tokens


class Buckets:
    """Buckets that hold a second's worth of tokens, at least one (the generic cell rate algorithm, ITU-T I.371)."""

    __slots__ = ("_full_at", "_limit")

    def __init__(self, limit: int = MAX_BUCKETS) -> None:
        self._limit = limit
        self._full_at: dict[Hashable, float] = {}

    def __repr__(self) -> str:
        return f"<Buckets {len(self._full_at)} of {self._limit}>"

    def __len__(self) -> int:
        return len(self._full_at)

    def wait(self, key: Hashable, rate: float, now: float) -> float:
        """Seconds until there is a token, 0 if there is one. ``rate`` is tokens a second, ``now`` in seconds."""
        capacity = max(1.0, rate)
        missing = (self._full_at.get(key, now) - now) * rate  # tokens
        excess = missing + 1 - capacity
        return excess / rate if excess > _ROUNDING else 0.0

    def take(self, key: Hashable, rate: float, now: float) -> float:
        """Take a token; else nothing changes, and the answer is the seconds until there is one."""
        wait = self.wait(key, rate, now)
        if wait > 0:
            return wait
        full_at = max(self._full_at.pop(key, now), now)
        self._full_at[key] = full_at + 1 / rate
        if len(self._full_at) > self._limit:
            del self._full_at[next(iter(self._full_at))]
        return 0.0
