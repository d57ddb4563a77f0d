"""Event loops in the test's own process, for the parts that live on one; and connected sockets for them."""

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from sokken.transport.channel import prepare
from sokken.transport.plane import Plane
from sokken.transport.tls import parse_authorities
from tests.support.targets import PATIENCE

T = TypeVar("T")

CERTIFICATE = Path(__file__).with_name("localhost.pem")
AUTHORITIES = parse_authorities(CERTIFICATE.read_bytes())
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def run(main: Coroutine[Any, Any, T], loop: str = "asyncio") -> T:
    """Run ``main`` on a new loop, in bounded time; nothing may fail behind its back, and no task may be left."""
    failures: list[dict[str, Any]] = []

    async def bounded() -> T:
        async with asyncio.timeout(PATIENCE):
            result = await main
        await asyncio.sleep(0)
        left = [task for task in asyncio.all_tasks() - {asyncio.current_task()} if not _is_asyncios(task)]
        assert left == []
        return result

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: failures.append(context))
        result = runner.run(bounded())
    assert failures == []
    return result


def _is_asyncios(task: asyncio.Task[Any]) -> bool:
    """Its servers have a task for each TLS handshake, which goes on for a turn after the connection is lost."""
    return task.get_coro().__qualname__ == "BaseSelectorEventLoop._accept_connection2"


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self, now: float = 1000.25) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def planes(*, masks: bool = False, clock: Callable[[], float] | None = None) -> AsyncIterator[Plane]:
    """The running loop's. With a ``clock`` nothing is due before ``plane.wheel.advance()``."""
    plane = Plane(asyncio.get_running_loop(), masks=masks, clock=clock)
    try:
        yield plane
    finally:
        plane.close()


async def soon(condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """What ``condition`` gives, once that is true."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{condition} did not become true within {seconds:g} s"
        await asyncio.sleep(0.005)
    return result


@contextmanager
def tcp_pair(*, small: bool = False) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection: one for the test, with a time-out, and one prepared for a relay.

    ``small``: little fits between them.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as ours:
        if small:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        ours.settimeout(PATIENCE)
        ours.connect(listener.getsockname())
        theirs, _ = listener.accept()
        with theirs:
            prepare(theirs)
            yield ours, theirs


@contextmanager
def unix_pair(*, small: bool = False) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The same within the kernel: how much fits between them does not depend on a network's timing."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if small:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        ours.settimeout(PATIENCE)
        theirs.setblocking(False)
        yield ours, theirs


def server_context() -> ssl.SSLContext:
    """Of a TLS server that is localhost and 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context
