"""A real server or client between two sockets of the test: the WebSocket, by hand, and the plain TCP side.

Both programs keep the same rules toward both sides, so that most tests of the wire run against either as an ``End``.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.fake_server import fake_server
from tests.support.programs import Line, Program, client, join, server
from tests.support.targets import PATIENCE, connect
from tests.support.wire import Wire, accept_tunnel, open_tunnel


class Listening:
    """A target whose connections the test takes itself."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=256)
        self._listener.settimeout(PATIENCE)
        self.address: tuple[str, int] = self._listener.getsockname()[:2]

    def accept(self) -> socket.socket:
        sock, _ = self._listener.accept()
        sock.settimeout(PATIENCE)
        return sock

    def has_waiting(self) -> bool:
        """Whether somebody has connected and was not accepted; takes it."""
        self._listener.setblocking(False)
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        finally:
            self._listener.settimeout(PATIENCE)
        return True

    def close(self) -> None:
        self._listener.close()


@contextmanager
def listening(host: str = "127.0.0.1") -> Iterator[Listening]:
    target = Listening(host)
    try:
        yield target
    finally:
        target.close()


@dataclass
class Tunnel:
    """An open one: the test holds ``wire``, the peer's end of the WebSocket, and ``local``, the plain TCP side."""

    end: "End"
    wire: Wire
    local: socket.socket
    connection_id: str

    def closed(self, **fields: object) -> Line:
        """The line about its end, which must have these fields."""
        line = self.end.program.wait_for("connection_closed", connection_id=self.connection_id)
        assert {name: line.get(name) for name in fields} == fields
        return line

    @property
    def is_closed(self) -> bool:
        return bool(self.end.program.events("connection_closed", connection_id=self.connection_id))


@dataclass
class End:
    """A running program and how to open a tunnel through it (subprotocol, bytes behind the handshake)."""

    program: Program
    is_server: bool
    _open: Callable[[str, bytes], tuple[Wire, socket.socket, str]]
    _tunnels: list[Tunnel] = field(default_factory=list)

    def open(self, subprotocol: str = "sokken.v2", tail: bytes = b"") -> Tunnel:
        tunnel = Tunnel(self, *self._open(subprotocol, tail))
        self._tunnels.append(tunnel)
        return tunnel

    def release(self) -> None:
        """Close what the test left open; the program must then have ended every one of its connections."""
        tunnels, self._tunnels = self._tunnels, []
        for tunnel in tunnels:
            with contextlib.suppress(OSError):
                tunnel.local.close()
            with contextlib.suppress(OSError):
                tunnel.wire.sock.close()
        for tunnel in tunnels:
            tunnel.closed()


@contextmanager
def server_end(env: dict[str, str] | None = None) -> Iterator[End]:
    with listening() as target, server(target.address, env=env) as program:

        def open_one(subprotocol: str, tail: bytes) -> tuple[Wire, socket.socket, str]:
            answer, wire = open_tunnel(program.api, f"/tunnel/{join(target.address)}", subprotocol, tail)
            assert answer.status == 101
            assert answer.fields["sec-websocket-protocol"] == subprotocol
            return wire, target.accept(), answer.fields["sokken-connection-id"]

        yield End(program.program, True, open_one)


@contextmanager
def client_end(env: dict[str, str] | None = None) -> Iterator[End]:
    with fake_server() as fake, client(fake.url("/tunnel/target:1"), env=env) as program:

        def open_one(subprotocol: str, tail: bytes) -> tuple[Wire, socket.socket, str]:
            application = connect(program.entry)
            request = fake.next_request()
            connection_id = request.fields["sokken-connection-id"]
            wire = accept_tunnel(request, subprotocol, tail)
            program.program.wait_for("connection_opened", connection_id=connection_id)
            return wire, application, connection_id

        yield End(program.program, False, open_one)
