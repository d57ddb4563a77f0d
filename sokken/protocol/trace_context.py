"""W3C Trace Context: to which span of which trace a request belongs.

A client writes ``traceparent``, a server reads it and answers with ``traceresponse``. Texts and values only: what is
recorded, and whose trace is continued, is decided in telemetry/. What is malformed is as if it had not been sent.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

TRACE_PARENT: Final = "traceparent"
TRACE_STATE: Final = "tracestate"
TRACE_RESPONSE: Final = "traceresponse"

_MAX_MEMBERS: Final = 32  # section 3.3.1.1
_MAX_STATE: Final = 512  # section 3.3.1.5: what a vendor should at least pass on
_MAX_LATER: Final = 512  # what a version after 00 may be long (section 3.2.4)

_read = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})").fullmatch
_read_later = re.compile(r"(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-[!-~]*)?").fullmatch
_is_member = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,255}[!-+\--<>-~]").fullmatch
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_SAMPLED: Final = 1


class TraceContext(NamedTuple):
    """A span's name in 32 and 16 hexadecimal digits, and whether it is recorded; ``state`` is its tracestate."""

    trace_id: str
    span_id: str
    is_recorded: bool
    state: str = ""

    def __str__(self) -> str:
        """As ``traceparent`` and ``traceresponse`` have it."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_recorded else '00'}"


def parse_trace_context(text: str, state: str = "") -> TraceContext | None:
    """Read ``traceparent`` and ``tracestate``, or ``traceresponse``; None if the first is malformed."""
    found = _read(text) or (_read_later(text) if len(text) <= _MAX_LATER else None)
    if found is None:
        return None
    trace_id, span_id, flags = found.groups()
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    is_recorded = bool(int(flags, 16) & _SAMPLED)
    return TraceContext(trace_id, span_id, is_recorded, state if state and _is_state(state) else "")


def read_trace_context(headers: Mapping[str, str]) -> TraceContext | None:
    """Read a request's; None if it names no span."""
    parent = headers.get(TRACE_PARENT)
    return None if parent is None else parse_trace_context(parent, headers.get(TRACE_STATE, ""))


def _is_state(text: str) -> bool:
    """Whether this is a list of members with different keys (section 3.3.1)."""
    if len(text) > _MAX_STATE:
        return False
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    keys = {member.partition("=")[0] for member in members}
    return len(keys) == len(members) <= _MAX_MEMBERS and all(map(_is_member, members))
