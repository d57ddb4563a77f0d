"""The header ``traceresponse``: the server says under which trace it has recorded a request (W3C Trace Context).

The server writes it into its answers, the client reads it from a refusal, so that its log can quote it. Identifiers
only: what is recorded, and whose trace is continued, is decided elsewhere.
"""

import re
from typing import Final

TRACE_PARENT: Final = "traceparent"
TRACE_STATE: Final = "tracestate"
TRACE_RESPONSE: Final = "traceresponse"

_read = re.compile(r"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_NO_TRACE: Final = "0" * 32


def format_trace_context(trace_id: int, span_id: int, flags: int) -> str:
    """Write a span's name as ``traceparent`` and ``traceresponse`` have it; ``flags`` is 1 if it is recorded."""
    return f"00-{trace_id:032x}-{span_id:016x}-{flags & 1:02x}"


def parse_trace_id(text: str) -> str | None:
    """Read the trace's id, 32 hexadecimal digits; None if there is none."""
    found = _read(text)
    return found[1] if found and found[1] != _NO_TRACE else None
