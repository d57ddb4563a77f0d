"""Host names to socket addresses without blocking the loop.

Names are looked up at every dial, because they move; look-ups of one name that are in flight are shared, and they
run on threads of their own, so that a slow resolver delays nothing else and a hung one does not delay the exit.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Found = tuple[int, int, int, str, SocketAddress]
"""One answer of getaddrinfo(3): family, type, protocol, canonical name, socket address."""

_THREADS: Final = 16
_LookUp = Callable[[str, int], Sequence[Found]]


def look_up(host: str, port: int) -> Sequence[Found]:
    """Ask the system; blocks. Raises socket.gaierror."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


@lru_cache(maxsize=1024)
def read_literal(host: str, port: int) -> tuple[Found, ...]:
    """The address that ``host`` spells, if it is an IP address; else nothing. Does not block."""
    try:
        return tuple(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST))
    except (socket.gaierror, UnicodeError):
        return ()


class Resolver:
    """Resolves names for one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, look_up: _LookUp = look_up) -> None:
        self._loop = loop
        self._look_up = look_up
        self._in_flight: dict[tuple[str, int], asyncio.Future[Sequence[Found]]] = {}
        self._threads = asyncio.Semaphore(_THREADS)

    def __repr__(self) -> str:
        return f"<Resolver in_flight={len(self._in_flight)}>"

    async def resolve(self, host: str, port: int) -> Sequence[Found]:
        """All addresses of ``host``, in the system's order of preference; raises OSError (socket.gaierror)."""
        if literal := read_literal(host, port):
            return literal
        key = host, port
        answer = self._in_flight.get(key)
        if answer is None:
            async with self._threads:
                answer = self._in_flight.get(key) or self._begin(key)
        # Shielded: whoever asked first may give up, the others still wait for the same answer.
        return await asyncio.shield(answer)

    def _begin(self, key: tuple[str, int]) -> asyncio.Future[Sequence[Found]]:
        answer: asyncio.Future[Sequence[Found]] = self._loop.create_future()
        self._in_flight[key] = answer
        answer.add_done_callback(lambda done: self._forget(key, done))
        # A daemon: an executor's threads are joined at exit, and a resolver may hang for minutes.
        threading.Thread(target=self._work, args=(key, answer), name=f"resolve {key[0]}", daemon=True).start()
        return answer

    def _work(self, key: tuple[str, int], answer: asyncio.Future[Sequence[Found]]) -> None:
        found: Sequence[Found] | OSError
        try:
            found = self._look_up(*key)
        except (OSError, UnicodeError) as error:
            found = error if isinstance(error, OSError) else OSError(str(error))
        try:
            self._loop.call_soon_threadsafe(_settle, answer, found)
        except RuntimeError:  # the loop was closed meanwhile: nobody waits
            return

    def _forget(self, key: tuple[str, int], answer: asyncio.Future[Sequence[Found]]) -> None:
        del self._in_flight[key]
        if not answer.cancelled():
            answer.exception()  # seen, even if everybody who asked has given up


def _settle(answer: asyncio.Future[Sequence[Found]], found: Sequence[Found] | OSError) -> None:
    if answer.done():
        return
    if isinstance(found, OSError):
        answer.set_exception(found)
    else:
        answer.set_result(found)
