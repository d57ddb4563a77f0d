"""Tunnels over which nothing goes for minutes, through a proxy that ends connections over which nothing goes."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.haproxy import pair_through_haproxy
from tests.support.pairs import Pair
from tests.support.targets import connect, echo, receive_all, receive_exactly, target


@dataclass
class Idle:
    """What is open: pairs of programs and the applications' sockets, both by the client's scheme and the target.

    The targets: ``whole`` echoes; ``app_ended`` answers what it got once it is ``over``; ``target_ended`` has ended
    its direction, and puts what still comes into ``heard``.
    """

    pairs: dict[str, Pair] = field(default_factory=dict)
    apps: dict[tuple[str, str], socket.socket] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    heard: queue.SimpleQueue[bytes] = field(default_factory=queue.SimpleQueue)

    @property
    def targets(self) -> dict[str, Callable[[socket.socket], None]]:
        return {"whole": self._whole, "app_ended": self._app_ended, "target_ended": self._target_ended}

    def _whole(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        echo(sock)

    def _app_ended(self, sock: socket.socket) -> None:
        received = receive_all(sock)
        sock.sendall(b"?")
        self.over.wait()
        sock.sendall(received)

    def _target_ended(self, sock: socket.socket) -> None:
        sock.settimeout(None)
        sock.sendall(receive_exactly(sock, 1))
        sock.shutdown(socket.SHUT_WR)
        self.heard.put(receive_all(sock))


@contextmanager
def idle_tunnels(folder: Path) -> Iterator[Idle]:
    """One for each scheme and target, after a byte has gone both ways on each."""
    idle = Idle()
    with ExitStack() as stack:
        targets = {name: stack.enter_context(target(handle)) for name, handle in idle.targets.items()}
        for scheme in ("ws", "wss"):
            own = folder / scheme
            own.mkdir()
            pair = idle.pairs[scheme] = stack.enter_context(pair_through_haproxy(targets, scheme, own))
            stack.callback(idle.over.set)  # what is not over, the programs would wait for
            for name, entry in pair.entries.items():
                app = idle.apps[scheme, name] = stack.enter_context(connect(entry))
                app.sendall(b"?")
                if name == "app_ended":
                    app.shutdown(socket.SHUT_WR)
                assert receive_exactly(app, 1) == b"?"
        yield idle
