"""Whose turn it is to be rolled: how many Tunnels may roll at once because the operator changed (a new default image).

A user's own change never waits for a turn. Kept in memory by the program, on its event loop; which Tunnels roll is
read from their Deployments again after a start.
"""


class Turns:
    """At most ``limit`` at once; a Tunnel keeps its turn until its Deployment has been seen to have finished."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._begun: set[str] = set()
        self._rolling: set[str] = set()

    def __repr__(self) -> str:
        return f"<Turns {len(self._begun | self._rolling)} of {self._limit}>"

    def take(self, uid: str) -> bool:
        """Whether this Tunnel may roll now; if so, its turn begins."""
        taken = self._begun | self._rolling
        if uid not in taken and len(taken) >= self._limit:
            return False
        self._begun.add(uid)
        return True

    def note(self, uid: str, *, is_rolling: bool) -> None:
        """What a Tunnel's Deployment shows: at each of its events, and what applying it has given back.

        A turn that has begun ends when the Deployment has been seen to roll, and then no more.
        """
        if is_rolling:
            self._rolling.add(uid)
            self._begun.discard(uid)
        elif uid in self._rolling:
            self._rolling.discard(uid)

    def release(self, uid: str) -> None:
        """Nothing came of it: the apply has failed, or the Tunnel is gone."""
        self._begun.discard(uid)
        self._rolling.discard(uid)
