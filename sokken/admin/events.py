"""Server-sent events for those who watch the page: each tick the whole of what it shows, and nothing between.

A watcher who reads too slowly misses ticks instead of having them kept; one who takes nothing is cut off by the
transport. There are at most ``MOST_WATCHERS``.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web

from sokken.admin.sampling import TICK_SECONDS
from sokken.protocol.outcomes import Reason, Refusal
from sokken.transport.http import sign

MOST_WATCHERS: Final = 16

Look = Callable[[], Awaitable[object]]
"""Gives what to send next, made for JSON."""


class Events:
    """All who watch, until the program ends."""

    def __init__(self) -> None:
        self._count = 0
        self._ending = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Events {self._count} watching>"

    async def stream(self, request: web.Request, look: Look) -> web.StreamResponse:
        """Answer with events for as long as the watcher reads; raises Refusal if there are too many."""
        if self._count >= MOST_WATCHERS:
            raise Refusal(Reason.RATE_LIMITED, f"{MOST_WATCHERS} are watching already", 5)
        self._count += 1
        try:
            return await self._stream(request, look)
        finally:
            self._count -= 1

    async def end(self, _: web.Application) -> None:
        """Let all of them go; a signal of aiohttp (on_shutdown)."""
        self._ending.set()

    async def _stream(self, request: web.Request, look: Look) -> web.StreamResponse:
        seen = await look()  # a refusal can be answered before the head of this answer is sent
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream"})
        sign(response)
        await response.prepare(request)
        while not self._ending.is_set():
            document = json.dumps(seen, separators=(",", ":"))
            await response.write(f"data: {document}\n\n".encode())
            await self._wait()
            try:
                seen = await look()
            except Refusal:
                break  # the watcher asks anew, and is told why
        return response

    async def _wait(self) -> None:
        """For the next tick, or the end."""
        try:
            async with asyncio.timeout(TICK_SECONDS):
                await self._ending.wait()
        except TimeoutError:
            return
