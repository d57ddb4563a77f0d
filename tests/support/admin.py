"""Admin routes in the test's own process, with as many connections as a test wants."""

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sokken.admin.door import Door, parse_admin_token
from sokken.admin.routes import Admin
from sokken.admin.status import Program
from sokken.protocol.address import Address
from sokken.protocol.outcomes import Outcome
from sokken.transport.connections import Connection, Connections
from sokken.transport.files import WatchedFile
from sokken.transport.http import HttpService
from sokken.transport.listen import bind
from tests.support.loops import planes
from tests.support.raw_http import Answer, exchange, request

TOKEN = "correct-horse-battery-staple"


@dataclass
class StillSession:
    outcome: Outcome | None = None
    ended_side: str | None = None


@dataclass
class StillRelay:
    """Stands for a relay, of which ten thousand do not fit into a test: its counters are what the test says."""

    bytes_in: int = 0
    bytes_out: int = 0
    session: StillSession = field(default_factory=StillSession)
    killed: list[Outcome] = field(default_factory=list)

    def end(self, outcome: Outcome) -> None:
        self.killed.append(outcome)


def admit(connections: Connections, number: int, **given: Any) -> Connection:
    """An open connection at the server, with ``number`` bytes up and twice as many down."""
    labels = given.pop("labels", {})
    fields = {
        "id": f"id-{number:05}",
        "client_id": f"client-{number % 7}",
        "peer": f"192.0.2.{number % 250}:{number}",
        "target": Address("db.internal", 5432),
        "relay": StillRelay(number, 2 * number),
        "admitted_at": float(number),
    } | given
    connection = Connection(connections, labels=labels, **fields)
    connections.admit(connection)
    return connection


@dataclass
class DrainTimes:
    endpoint_delay_seconds: float = 2
    drain_timeout_seconds: float = 10


@dataclass
class Site:
    """Where the routes are served, and what they tell of."""

    where: tuple[str, int]
    connections: Connections
    http: HttpService

    async def ask(self, path: str, *fields: tuple[str, str], method: str = "GET") -> Answer:
        given = {name for name, _ in fields}
        host = () if "Host" in given else (("Host", f"127.0.0.1:{self.where[1]}"),)
        head = request(path, method, "HTTP/1.1", *host, *fields)
        return await asyncio.to_thread(exchange, self.where, head)


@asynccontextmanager
async def sites(token: Path | None = None, hosts: Sequence[str] = (), **given: Any):
    """``given`` replaces what the program tells of itself."""
    connections = given.pop("connections", None) or Connections(100)
    file = None if token is None else WatchedFile(token, parse_admin_token, "SOKKEN_ADMIN_TOKEN_FILE")
    door = Door(file, frozenset(hosts), [])
    told = {
        "role": "server",
        "settings": [{"variable": "SOKKEN_API_ADDR", "value": ":8000", "given": True}],
        "connections": connections,
        "not_ready": lambda: None,
        "leaving_since": lambda: None,
        "drain": DrainTimes(),
    } | given
    async with planes() as plane:
        sockets = bind(Address("127.0.0.1", 0), "SOKKEN_ADMIN_ADDR")
        where = sockets[0].getsockname()
        http = HttpService(plane, Admin(door, Program(**told)).app(), sockets)
        await http.start()
        try:
            yield Site(where, connections, http)
        finally:
            await http.close()


def bearer(token: str = TOKEN) -> tuple[str, str]:
    return ("Authorization", f"Bearer {token}")
