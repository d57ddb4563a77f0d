"""Host names to socket addresses without blocking the loop.

Names are looked up at every dial, because they move; look-ups of one name that are in flight are shared, and they
run on threads of their own, so that a slow resolver delays nothing else and a hung one does not delay the exit.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

SocketAddress = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
Found = tuple[int, int, int, str, SocketAddress]
"""One answer of getaddrinfo(3): family, type, protocol, canonical name, socket address."""

MAX_NAMES: Final = 256
"""Names that are looked up at once; a policy with patterns lets clients think of new ones."""

_LookUp = Callable[[str, int], Sequence[Found]]
_Answer = Sequence[Found] | Exception


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
        self._in_flight: dict[tuple[str, int], asyncio.Future[_Answer]] = {}

    def __repr__(self) -> str:
        return f"<Resolver in_flight={len(self._in_flight)}>"

    async def resolve(self, host: str, port: int) -> Sequence[Found]:
        """All addresses of ``host``, in the system's order of preference; raises OSError (socket.gaierror)."""
        if literal := read_literal(host, port):
            return literal
        key = host, port
        # Shielded: whoever asked first may give up, the others still wait for the same answer.
        answer = await asyncio.shield(self._in_flight.get(key) or self._begin(key))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _begin(self, key: tuple[str, int]) -> asyncio.Future[_Answer]:
        if len(self._in_flight) >= MAX_NAMES:
            raise OSError(None, "too many names are being looked up")
        answer: asyncio.Future[_Answer] = self._loop.create_future()
        # A thread a name, not a pool: one that hangs holds up no other. A daemon: the exit does not wait for it.
        threading.Thread(target=self._work, args=(key,), name=f"resolve {key[0]}", daemon=True).start()
        self._in_flight[key] = answer
        return answer

    def _work(self, key: tuple[str, int]) -> None:
        answer: _Answer
        try:
            answer = self._look_up(*key)
        except UnicodeError as error:  # no name by RFC 5890
            answer = OSError(str(error))
        except Exception as error:  # noqa: BLE001 -- it is raised where it was asked for
            answer = error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            self._loop.call_soon_threadsafe(self._settle, key, answer)

    def _settle(self, key: tuple[str, int], answer: _Answer) -> None:
        self._in_flight.pop(key).set_result(answer)
