"""What a pod says of itself: the part of its /statusz that a Tunnel's status is made of (sokken/admin/status.py).

Nothing else of the document is kept. What answers on a pod's port may be anything, so nothing is believed to have the
right shape.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Check:
    """The last time that a pod asked a server whether it would be let in."""

    server: str
    """The URL."""
    outcome: str
    """Why not, in one word; "" if it would be, or was not asked yet."""
    problem: str
    asked_s_ago: float | None


@dataclass(frozen=True, slots=True)
class File:
    """A file that a pod follows."""

    setting: str
    result: str
    problem: str
    paths: int
    """How many it consists of."""
    missing: int
    """And how many of these are not there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking a pod. With a ``problem`` it has not answered, and nothing else is known."""

    asked_at: datetime
    problem: str = ""
    not_ready: str = ""
    checks: tuple[Check, ...] = ()
    files: tuple[File, ...] = ()

    @classmethod
    def failed(cls, problem: str, asked_at: datetime) -> Self:
        """There is none."""
        return cls(asked_at, problem)

    @classmethod
    def parse(cls, body: bytes, asked_at: datetime) -> Self:
        """Read the body of an answer with status 200."""
        try:
            document = json.loads(body)
            checks = tuple(map(_read_check, _objects(document, "servers")))
            files = tuple(map(_read_file, _objects(document, "files")))
            return cls(asked_at, "", _text(document, "not_ready"), checks, files)
        except (ValueError, KeyError, TypeError, RecursionError):
            return cls(asked_at, "what answers there is no client of sokken")


def _objects(document: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    for each in document[name]:
        if not isinstance(each, dict):
            raise TypeError(name)
        yield each


def _read_check(check: Mapping[str, Any]) -> Check:
    asked = check["asked_s_ago"]
    return Check(
        _text(check, "server"),
        _text(check, "outcome"),
        _text(check, "problem"),
        None if asked is None else float(asked),
    )


def _read_file(file: Mapping[str, Any]) -> File:
    # A pod of an older version does not say what is missing: then it is its content that is wrong.
    return File(
        _text(file, "setting"),
        _text(file, "result"),
        _text(file, "problem"),
        len(file["files"]),
        len(file.get("missing", ())),
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    """A text in one line; "" for null."""
    value = document[name]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(name)
    return "".join(character if character.isprintable() else "?" for character in value)
