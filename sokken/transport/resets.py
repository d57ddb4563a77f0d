"""Tells of resets on sockets that nobody reads: a paused or parked socket must not keep its connection for ever.

Every watched socket sits with an empty event mask in one epoll set, which the event loop watches as one
descriptor. The kernel then reports only errors and hang-ups (epoll_ctl(2)), at no cost while nothing happens.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Final

_BATCH: Final = 256


class ResetWatch:
    """All watched sockets of a loop. ``close`` it with the loop."""

    __slots__ = ("_callbacks", "_epoll", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._on_events)

    def __repr__(self) -> str:
        return f"<ResetWatch sockets={len(self._callbacks)}>"

    def add(self, sock: socket.socket, callback: Callable[[], None]) -> None:
        """Call ``callback`` when ``sock`` has an error, and nobody else; never for an orderly end."""
        fileno = sock.fileno()
        self._callbacks[fileno] = callback
        try:
            # Edge-triggered: an orderly end of both directions is a hang-up for ever, and would spin.
            self._epoll.register(fileno, select.EPOLLET)
        except FileExistsError:
            return  # who was called before is not any more

    def remove(self, sock: socket.socket) -> None:
        """Forget ``sock``; call it before the socket is closed, for descriptors are used again."""
        if self._callbacks.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def forget(self, sock: socket.socket) -> None:
        """The same for a socket that is closed at once: closing takes it out of the set (epoll(7))."""
        self._callbacks.pop(sock.fileno(), None)

    def close(self) -> None:
        """Stop watching."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        self._callbacks.clear()

    def _on_events(self) -> None:
        for fileno, events in self._epoll.poll(0, _BATCH):
            callback = self._callbacks.get(fileno)
            if callback is not None and events & select.EPOLLERR:
                self._tell(callback)

    def _tell(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception as error:  # noqa: BLE001 -- what the others have to hear is told only once
            context = {"message": "an error's callback failed", "exception": error}
            self._loop.call_exception_handler(context)
