"""A span before it is one of OpenTelemetry's: what a connection's trail knows of it.

Made by trails.py, and turned into the SDK's spans by spans.py, both on the thread that sends them.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sokken.protocol.trace_context import TraceContext

Value = str | int


class Draft(NamedTuple):
    """A span that has ended. Times are Unix nanoseconds; ``error`` is its ``error.type``."""

    name: str
    context: TraceContext
    parent: TraceContext | None
    began: int
    ended: int
    attributes: Mapping[str, Value]
    error: str | None = None
    link: TraceContext | None = None
    events: Sequence[tuple[str, int]] = ()
