"""The list of connections: which of them are asked for, in which order, and what is told of each.

Whatever is asked, an answer is a page of at most ``MOST_ROWS``; sorting and filtering take turns with the loop, and
one asker waits for another, so that the tunnels do not wait for either.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from sokken.admin.sampling import Sample, Sampler, Sweep, in_turns
from sokken.protocol.outcomes import Reason, Refusal
from sokken.transport.connections import Connection

MOST_ROWS: Final = 500
MOST_OFFSET: Final = 1_000_000
MOST_FILTER: Final = 100
MOST_WAITING: Final = 32
"""Who asks while so many wait is refused."""

_NONE: Final = float("-inf")
_SORTS: Final[Mapping[str, Callable[[Sample], float]]] = {
    "rate": lambda sample: _NONE if sample.rate_up is None else sample.rate_up + (sample.rate_down or 0),
    "bytes": lambda sample: sample.bytes_up + sample.bytes_down,
    "age": lambda sample: -sample.connection.admitted_at,
}
SORTS: Final = tuple(_SORTS)
ORDERS: Final = ("desc", "asc")


@dataclass(frozen=True, slots=True)
class Query:
    """Which page of the list. ``order`` ``desc`` has the busiest, largest or oldest first."""

    sort: str = "rate"
    order: str = "desc"
    filter: str = ""
    limit: int = 100
    offset: int = 0


def parse_query(parameters: Mapping[str, str]) -> Query:
    """Read a URL's parameters; raises Refusal for one that is unknown or malformed."""
    given: dict[str, str] = dict(parameters)
    query = Query(
        sort=_choose(given, "sort", SORTS),
        order=_choose(given, "order", ORDERS),
        filter=given.pop("filter", "").casefold().strip(),
        limit=_count(given, "limit", 100, least=1, most=MOST_ROWS),
        offset=_count(given, "offset", 0, least=0, most=MOST_OFFSET),
    )
    if len(query.filter) > MOST_FILTER:
        raise _bad(f"filter has more than {MOST_FILTER} characters")
    if given:
        raise _bad(f"there is no parameter {next(iter(given))[:40]!r}; there are sort, order, filter, limit and offset")
    return query


class Lister:
    """Answers queries about the connections that a sampler looks at."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def view(self, query: Query) -> tuple[Sweep, dict[str, object]]:
        """One page, and the look at all connections that it was made of; raises Refusal if too many ask."""
        if self._waiting >= MOST_WAITING:
            raise Refusal(Reason.RATE_LIMITED, "too many ask for the list of connections at once", 2)
        self._waiting += 1
        try:
            async with self._turn:
                sweep = await self._sampler.sweep()
                found = await _select(sweep, query)
        finally:
            self._waiting -= 1
        now = time.monotonic()
        rows = [describe(sample, now) for sample in found[query.offset : query.offset + query.limit]]
        return sweep, {
            "total": len(sweep.samples),
            "matching": len(found),
            "offset": query.offset,
            "limit": query.limit,
            "sort": query.sort,
            "order": query.order,
            "filter": query.filter,
            "connections": rows,
        }


async def _select(sweep: Sweep, query: Query) -> list[Sample]:
    """All that match, in their order; the older ones first where that does not tell them apart."""
    key, sign = _SORTS[query.sort], -1 if query.order == "desc" else 1
    keyed: list[tuple[float, str, int]] = []
    place = 0
    async for samples in in_turns(sweep.samples):
        for sample in samples:
            if not query.filter or _matches(sample.connection, query.filter):
                keyed.append((sign * key(sample), sample.connection.id, place))
            place += 1
    keyed.sort()
    return [sweep.samples[place] for _, _, place in keyed]


def describe(sample: Sample, now: float) -> dict[str, object]:
    """What is told of a connection. What is not known, or was not said, is null."""
    connection = sample.connection
    labels = connection.labels
    return {
        "id": connection.id,
        "state": state_of(connection),
        "half_closed": connection.half_closed,
        "identity": None if connection.identity.method == "none" else connection.identity.name,
        "identity_method": connection.identity.method,
        "client_id": connection.client_id,
        "tunnel": labels.get("tunnel"),
        "peer": connection.peer,
        "via": labels.get("via"),
        "target": None if connection.target is None else str(connection.target),
        "forward": labels.get("forward"),
        "server": labels.get("server"),
        "age_s": round(now - connection.admitted_at, 3),
        "bytes_up": sample.bytes_up,
        "bytes_down": sample.bytes_down,
        "rate_up": None if sample.rate_up is None else round(sample.rate_up, 1),
        "rate_down": None if sample.rate_down is None else round(sample.rate_down, 1),
        "trace_id": connection.trail.ids.get("trace_id"),
    }


def state_of(connection: Connection) -> str:
    """``connecting``, ``open``, ``half_closed``, or ``ending``: its outcome is decided, its sockets are not closed."""
    if connection.relay is None:
        return "connecting"
    if connection.relay.session.outcome is not None:
        return "ending"
    return "open" if connection.half_closed is None else "half_closed"


def _matches(connection: Connection, text: str) -> bool:
    labels = connection.labels
    told = (
        connection.id,
        connection.identity.name,
        connection.client_id,
        connection.peer,
        str(connection.target),
        labels.get("tunnel"),
        labels.get("forward"),
        state_of(connection),
    )
    return any(text in field.casefold() for field in told if field)


def _choose(given: dict[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = given.pop(name, choices[0])
    if value not in choices:
        raise _bad(f"{name} is one of {', '.join(choices)}")
    return value


def _count(given: dict[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = given.pop(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise _bad(f"{name} is a number from {least} to {most}")
    return int(text)


def _bad(detail: str) -> Refusal:
    return Refusal(Reason.BAD_REQUEST, detail)
