"""Which sockets of connections can be read or written, or were reset: one watch for all of a loop.

They sit in one epoll set of our own, which the event loop watches as one descriptor: a call of the system for a
socket's whole life (closing takes it out, epoll(7)), where an event loop needs four to ten. And a socket that is not
read stays in it with an empty event mask: the kernel then reports only errors and hang-ups (epoll_ctl(2)), so that a
paused or parked socket does not keep its connection for ever. It must not know what is done with a socket.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Final

_BATCH: Final = 256
_IN: Final = select.EPOLLIN
_OUT: Final = select.EPOLLOUT
_ERRORS: Final = select.EPOLLET
"""Edge-triggered: an orderly end of both directions is a hang-up for ever, and would spin."""

Callback = Callable[[], object]


class _Watched:
    """A socket in the set, and with which events."""

    __slots__ = ("events", "fileno", "is_forgotten", "on_error", "on_readable", "on_writable", "sock")

    def __init__(self, sock: socket.socket, fileno: int) -> None:
        self.sock = sock
        self.fileno = fileno
        self.events = 0
        self.is_forgotten = False
        self.on_error: Callback | None = None
        self.on_readable: Callback | None = None
        self.on_writable: Callback | None = None


class Watch:
    """All watched sockets of a loop; each has one owner at a time. ``close`` it with the loop.

    A callback may be called once in vain. Whatever is watched must be given up with ``remove`` or ``forget`` before
    it is closed: descriptors are used again.
    """

    __slots__ = ("_epoll", "_loop", "_sockets")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._sockets: dict[int, _Watched] = {}
        loop.add_reader(self._epoll.fileno(), self._on_events)

    def __repr__(self) -> str:
        return f"<Watch sockets={len(self._sockets)}>"

    def read(self, sock: socket.socket, callback: Callback | None) -> None:
        """Call ``callback`` while ``sock`` can be read, and nobody else; None is nobody."""
        watched = self._find(sock)
        watched.on_readable = callback
        self._sync(watched)

    def write(self, sock: socket.socket, callback: Callback | None) -> None:
        """The same while it can be written."""
        watched = self._find(sock)
        watched.on_writable = callback
        self._sync(watched)

    def errors(self, sock: socket.socket, callback: Callback) -> None:
        """Call ``callback`` once when ``sock`` has an error, instead of the others; never for an orderly end."""
        watched = self._find(sock)
        watched.on_error = callback
        self._sync(watched)

    def remove(self, sock: socket.socket) -> None:
        """Watch ``sock`` no longer."""
        watched = self._drop(sock)
        if watched is not None:
            self._epoll.unregister(watched.fileno)

    def forget(self, sock: socket.socket) -> None:
        """The same for a socket that is closed at once: closing takes it out of the set."""
        self._drop(sock)

    async def readable(self, sock: socket.socket) -> None:
        """Until ``sock`` can be read. It stays watched, for whoever reads it next."""
        await self._wait(sock, self.read)

    async def writable(self, sock: socket.socket) -> None:
        """Until ``sock`` can be written. It stays watched."""
        await self._wait(sock, self.write)

    def close(self) -> None:
        """Stop watching, and close what is left: sockets in their last moments (leave.py), which nobody ends now."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        for watched in self._sockets.values():
            watched.sock.close()
        self._sockets.clear()

    def _find(self, sock: socket.socket) -> _Watched:
        fileno = sock.fileno()
        watched = self._sockets.get(fileno)
        if watched is None or watched.sock is not sock:
            watched = self._sockets[fileno] = _Watched(sock, fileno)
        return watched

    def _drop(self, sock: socket.socket) -> _Watched | None:
        watched = self._sockets.pop(sock.fileno(), None)
        if watched is not None:
            watched.is_forgotten = True
        return watched

    def _sync(self, watched: _Watched) -> None:
        """Tell the kernel what is wanted, if that is a change."""
        events = _IN if watched.on_readable is not None else 0
        if watched.on_writable is not None:
            events |= _OUT
        events = events or _ERRORS
        if events == watched.events:
            return
        if watched.events:
            self._epoll.modify(watched.fileno, events)
        else:
            self._epoll.register(watched.fileno, events)
        watched.events = events

    async def _wait(self, sock: socket.socket, watch: Callable[[socket.socket, Callback | None], None]) -> None:
        ready = self._loop.create_future()

        def wake() -> None:
            if ready.done():
                watch(sock, None)  # nobody has taken it over
            else:
                ready.set_result(None)

        watch(sock, wake)
        try:
            await ready
        except BaseException:
            self.remove(sock)
            raise

    def _on_events(self) -> None:
        sockets = self._sockets
        # Looked up before the first callback: one may close a socket, and another one get its number.
        for watched, events in [(sockets.get(fileno), events) for fileno, events in self._epoll.poll(0, _BATCH)]:
            if watched is None or watched.is_forgotten:
                continue
            try:
                if events == _IN and watched.on_readable is not None:
                    watched.on_readable()  # as nearly always
                else:
                    self._tell(watched, events)
            except Exception as error:  # noqa: BLE001 -- what the others have to hear is told only once
                context = {"message": "a socket's callback failed", "exception": error}
                self._loop.call_exception_handler(context)

    def _tell(self, watched: _Watched, events: int) -> None:
        if events & select.EPOLLERR and watched.on_error is not None:
            on_error, watched.on_error = watched.on_error, None
            on_error()
            return
        # An error or a hang-up is for whoever reads or writes to find.
        if events & ~_OUT and watched.on_readable is not None:
            watched.on_readable()
        if events & ~_IN and watched.on_writable is not None and not watched.is_forgotten:
            watched.on_writable()
