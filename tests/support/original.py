"""A double of the original program, whose subprotocol is `sokken`: its rules, so far as its peers notice them.

On the `websockets` library's protocols without input or output. As the original it has one thread for each direction
of a connection, which are blocked where the original is blocked, and ends both directions when either ends.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import unquote

from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

SUBPROTOCOL = "sokken"
READ_LIMIT = 32768
CONTROL_SECONDS = 5.0
"""For writing a Pong or Close, and again for the peer's Close."""
PATIENCE = 20.0


class Plumbing:
    """One connection: a WebSocket and, once it is open, a local socket."""

    def __init__(self, sock: socket.socket, protocol: ClientProtocol | ServerProtocol, patience: float) -> None:
        self._sock = sock
        self._patience = patience
        self._local: socket.socket | None = None
        self._protocol = protocol
        self._state = threading.Lock()  # of the protocol
        self._writing = threading.Lock()  # one frame at a time
        self._close_received = threading.Event()
        self._early: list[object] = []  # came with the handshake
        self._size = 0
        self.pings = 0
        self.largest_message = 0
        self.is_timed_out = False  # a Pong or Close could not be written in time

    @property
    def is_tunnel(self) -> bool:
        """Whether it has, or had, a local side."""
        return self._local is not None

    def handshake(self) -> Request | Response:
        """What the peer says first."""
        while not (events := self._receive()):
            pass
        first, *self._early = events
        return first

    def plumb(self, local: socket.socket) -> None:
        """Pass bytes on until either side ends, then close both."""
        self._local = local
        thread = threading.Thread(target=self._push_to_peer, daemon=True)
        thread.start()
        self._push_to_local()
        thread.join()

    def close(self, code: int, reason: str = "") -> None:
        """Send Close, unless one was sent; end the connection when the peer's has come, or after a while."""
        with contextlib.suppress(OSError, WebSocketException), self._limited():
            self.send(lambda: self._protocol.send_close(code, reason))
        self._close_received.wait(self._patience)
        self.break_off()

    def break_off(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def send(self, queue_frame: Callable[[], None] = lambda: None) -> None:
        """Write a frame and what the protocol itself has to say."""
        with self._writing:
            with self._state:
                queue_frame()
                data = b"".join(self._protocol.data_to_send())
            self._sock.sendall(data)

    def read_to_the_end(self) -> None:
        """Until the peer's Close or the end of its connection; data is discarded."""
        with contextlib.suppress(OSError, WebSocketException):
            while not self._close_received.is_set():
                self._receive()

    def _push_to_peer(self) -> None:
        with contextlib.suppress(OSError, WebSocketException):
            while data := self._local.recv(READ_LIMIT):
                self.send(lambda data=data: self._protocol.send_binary(data))
        self.end_local()
        self.close(1000)

    def _push_to_local(self) -> None:
        closer = threading.Thread(target=self.close, args=(1000,), daemon=True)
        try:
            while self._early or not self._close_received.is_set():
                for event in self._receive():
                    self._deliver(event)
        except (OSError, WebSocketException):
            pass  # of either socket
        closer.start()
        self.read_to_the_end()
        closer.join()
        self.end_local()

    def _deliver(self, event: object) -> None:
        if not isinstance(event, Frame) or event.opcode not in {Opcode.BINARY, Opcode.CONT, Opcode.TEXT}:
            return
        if event.opcode is Opcode.TEXT:
            self.send(lambda: self._protocol.send_close(1003, "unexpected frame type"))
            raise ConnectionAbortedError
        self._size += len(event.data)
        self.largest_message = max(self.largest_message, self._size)
        if event.fin:
            self._size = 0
        self._local.sendall(event.data)

    def _receive(self) -> list[object]:
        """What has come, once the protocol's own answer to it is written."""
        if self._early:
            events, self._early = self._early, []
            return events
        try:
            data = self._sock.recv(65536)
        except OSError:
            data = b""  # however it ended
        with self._state:
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            events = self._protocol.events_received()
        kinds = {event.opcode for event in events if isinstance(event, Frame)}
        self.pings += sum(isinstance(event, Frame) and event.opcode is Opcode.PING for event in events)
        is_over = not data or Opcode.CLOSE in kinds or self._protocol.parser_exc is not None
        if is_over:
            self._close_received.set()
        if is_over or Opcode.PING in kinds:
            with self._limited():
                self.send()
        return events

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """End the connection if what is written within does not go in time."""
        timer = threading.Timer(self._patience, self._time_out)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _time_out(self) -> None:
        self.is_timed_out = True
        self.break_off()

    def end_local(self) -> None:
        if self._local is not None:
            with contextlib.suppress(OSError):
                self._local.shutdown(socket.SHUT_RDWR)


class Original:
    """Accepts connections, each on its own thread, and remembers their plumbings."""

    def __init__(self, serve: Callable[["Original", socket.socket], None], patience: float) -> None:
        self._serve = serve
        self._patience = patience
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address: tuple[str, int] = self._listener.getsockname()
        self.plumbings: list[Plumbing] = []
        self.active = 0
        self.is_ending = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def begin(self, sock: socket.socket, protocol: ClientProtocol | ServerProtocol) -> Plumbing:
        plumbing = Plumbing(sock, protocol, self._patience)
        self.plumbings.append(plumbing)
        return plumbing

    def plumb(self, plumbing: Plumbing, local: socket.socket) -> None:
        self.active += 1
        plumbing.plumb(local)
        self.active -= 1

    def end(self) -> None:
        self.is_ending.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for plumbing in self.plumbings:
            plumbing.break_off()
            plumbing.end_local()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._run, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError, WebSocketException):
            self._serve(self, sock)


@contextmanager
def original_server(*targets: str, max_connections: int = 100, patience: float = CONTROL_SECONDS) -> Iterator[Original]:
    """The original as a server; ``targets`` are compared as text."""

    def serve(server: Original, sock: socket.socket) -> None:
        protocol = ServerProtocol(
            select_subprotocol=lambda _, offered: next((name for name in offered if name.lower() == SUBPROTOCOL), None),
            extensions=[ServerPerMessageDeflateFactory()],
            max_size=READ_LIMIT,
        )
        plumbing = server.begin(sock, protocol)
        request = plumbing.handshake()
        target = unquote(request.path.partition("?")[0]).removeprefix("/tunnel/")
        response = protocol.accept(request)
        if server.active >= max_connections:
            response = protocol.reject(HTTPStatus.TOO_MANY_REQUESTS, "too many proxied connections\n")
        elif "upgrade" not in request.headers.get("Connection", "").lower():
            response = protocol.reject(HTTPStatus.UPGRADE_REQUIRED, "no upgrade\n")
        plumbing.send(lambda: protocol.send_response(response))
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return
        refusal = None
        if protocol.subprotocol != SUBPROTOCOL:
            refusal = 1008, "client not using sokken subprotocol"
        elif target not in targets:
            refusal = 1011, "target address not allowed"
        if refusal is not None:
            plumbing.send(lambda: protocol.send_close(*refusal))  # it reads only afterwards
            threading.Thread(target=plumbing.read_to_the_end, daemon=True).start()
            plumbing.close(*refusal)
            return
        try:
            host, _, port = target.rpartition(":")
            local = socket.create_connection((host.strip("[]"), int(port)))
        except OSError:
            server.is_ending.wait()  # it neither reads nor closes the WebSocket
            return
        with local:
            server.plumb(plumbing, local)

    yield from _running(serve, patience)


@contextmanager
def original_client(url: str, patience: float = CONTROL_SECONDS) -> Iterator[Original]:
    """The original as a client, with one tunnel."""
    uri = parse_uri(url)

    def serve(client: Original, local: socket.socket) -> None:
        with socket.create_connection((uri.host, uri.port)) as sock:
            deflate = ClientPerMessageDeflateFactory(
                server_no_context_takeover=True, client_no_context_takeover=True, client_max_window_bits=None
            )
            protocol = ClientProtocol(uri, subprotocols=[SUBPROTOCOL], extensions=[deflate], max_size=READ_LIMIT)
            plumbing = client.begin(sock, protocol)
            plumbing.send(lambda: protocol.send_request(protocol.connect()))
            plumbing.handshake()
            if protocol.handshake_exc is None:
                client.plumb(plumbing, local)

    yield from _running(serve, patience)


def _running(serve: Callable[[Original, socket.socket], None], patience: float) -> Iterator[Original]:
    original = Original(serve, patience)
    try:
        yield original
    finally:
        original.end()
