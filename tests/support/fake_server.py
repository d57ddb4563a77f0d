"""What a client takes for its server: tests decide what each request for a tunnel is answered with."""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.support.targets import PATIENCE
from tests.support.wire import Head, format_head, receive_head

NO_CONTENT = format_head("HTTP/1.1 204 No Content", {"Connection": "close"})


class FakeServer:
    """Passes its checks by itself; requests for tunnels go to ``on_request``, or wait for ``next_request``."""

    def __init__(self, on_request: Callable[[Head], None] | None = None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address: tuple[str, int] = self._listener.getsockname()
        self._requests: queue.SimpleQueue[Head] = queue.SimpleQueue()
        self._on_request = on_request or self._requests.put
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def url(self, path: str) -> str:
        return f"ws://{self.address[0]}:{self.address[1]}{path}"

    def next_request(self) -> Head:
        return self._requests.get(timeout=PATIENCE)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)
        for sock in self._sockets:
            sock.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(PATIENCE)
            self._sockets.append(sock)
            with contextlib.suppress(OSError):
                self._take(receive_head(sock))

    def _take(self, request: Head) -> None:
        if request.method == "HEAD":
            answer(request, NO_CONTENT)
        else:
            self._on_request(request)


@contextmanager
def fake_server(on_request: Callable[[Head], None] | None = None) -> Iterator[FakeServer]:
    fake = FakeServer(on_request)
    try:
        yield fake
    finally:
        fake.close()


def answer(request: Head, data: bytes) -> None:
    """Send ``data`` and end in order."""
    request.sock.sendall(data)
    request.sock.close()
