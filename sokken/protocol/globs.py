"""Patterns with a wildcard: ``*`` is any characters (none, too), and everything else is itself.

Used by policies for identities and host names. A pattern is about a whole text, never about a part of it.
"""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Glob:
    """What stands before the first ``*``, between two of them, and behind the last."""

    first: str
    middle: tuple[str, ...]
    last: str

    @classmethod
    def parse(cls, pattern: str) -> Self:
        """Take a pattern with at least one ``*`` apart."""
        first, *middle, last = pattern.split("*")
        return cls(first, tuple(middle), last)

    def matches(self, text: str) -> bool:
        """Whether the whole text is like it. Each piece is looked for once, from left to right: linear time."""
        if not text.startswith(self.first) or not text.endswith(self.last):
            return False
        at, end = len(self.first), len(text) - len(self.last)
        for piece in self.middle:
            at = text.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return at <= end
