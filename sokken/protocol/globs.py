"""Patterns with wildcards: ``*`` is any characters (none, too), ``?`` is one, and everything else is itself.

Used by policies for identities and host names. A pattern is about a whole text, never about a part of it.
"""

import re


def is_glob(text: str) -> bool:
    """Whether it has a wildcard."""
    return "*" in text or "?" in text


def compile_glob(*patterns: str) -> re.Pattern[str]:
    """A regular expression for all these patterns; use ``fullmatch``."""
    return re.compile("|".join(map(_translate, patterns)), re.DOTALL)


def _translate(pattern: str) -> str:
    """What lies between two stars is looked for once and kept (``(?>``): no text takes long to be told apart."""
    first, *rest = pattern.split("*")
    if not rest:
        return _translate_plain(first)
    *middle, last = rest
    pieces = (f"(?>.*?{_translate_plain(piece)})" for piece in middle if piece)
    return f"{_translate_plain(first)}{''.join(pieces)}.*{_translate_plain(last)}"


def _translate_plain(piece: str) -> str:
    return ".".join(map(re.escape, piece.split("?")))
