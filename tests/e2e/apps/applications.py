"""The applications of the stories, alone in their pod with nothing but the standard library.

They are told over HTTP what to do, and asked what they have seen; every answer is JSON. NAME is the story's own word:

    /hold?name=NAME&to=HOST:PORT&count=N&every=S     hold N connections to an echo, each speaks every S seconds
    /visit?name=NAME&to=HOST:PORT&every=S            make a new connection to an echo every S seconds, all day
    /finish?name=NAME[&count=N]                      end N held connections (all) in order, or the visits
    /exchange?to=HOST:PORT&bytes=N&seed=N            send N bytes to an exchange and get as many: are they right?
    /report                                          what has become of all of them

A held connection that is lost is reported with when and how, and opened again, as a real application would.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import random
import signal
import struct
import sys
import time
from asyncio import StreamReader, StreamWriter
from urllib.parse import parse_qsl, urlsplit

PORT = 8080
PATIENCE = 40.0  # seconds; more than a client tries to get a tunnel
PIECE = 65536
AGAIN = 0.5


class Lost(Exception):
    """A connection did not do what it should; how it ended, in one word."""


reached: set[tuple[str, int]] = set()


async def dial(to: tuple[str, int]) -> tuple[StreamReader, StreamWriter]:
    """Connect. A Service that has just come refuses, until the node knows that its pods are ready: only at first."""
    while True:
        try:
            connection = await asyncio.open_connection(*to)
        except ConnectionRefusedError:
            if to in reached:
                raise
            await asyncio.sleep(AGAIN)
        else:
            reached.add(to)
            return connection


@contextlib.asynccontextmanager
async def connected(to: tuple[str, int]):
    """A connection that is closed at the end; whatever goes wrong with it is Lost."""
    writer = None
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await dial(to)
        yield reader, writer
    except (ConnectionResetError, BrokenPipeError):
        raise Lost("reset") from None
    except asyncio.IncompleteReadError:
        raise Lost("ended") from None
    except TimeoutError:
        raise Lost("silent") from None
    except OSError as error:
        raise Lost(error.strerror or str(error)) from None
    finally:
        if writer is not None:
            writer.close()


async def speak(reader: StreamReader, writer: StreamWriter, word: bytes) -> None:
    """Say a word, and hear it again."""
    async with asyncio.timeout(PATIENCE):
        writer.write(word)
        await writer.drain()
        if await reader.readexactly(len(word)) != word:
            raise Lost("garbled")


async def end(reader: StreamReader, writer: StreamWriter) -> None:
    """End in order: the echo of an end is an end."""
    async with asyncio.timeout(PATIENCE):
        writer.write_eof()
        if await reader.read(1):
            raise Lost("garbled")


class Hold:
    """Connections that stay."""

    def __init__(self, to: tuple[str, int], count: int, every: float) -> None:
        self._to, self._every = to, every
        self.open = self.opened = self.spoken = self.finished = 0
        self.lost: list[dict[str, object]] = []
        self.failed: list[dict[str, object]] = []
        self._finish = [asyncio.Event() for _ in range(count)]
        self._tasks = [asyncio.create_task(self._run(asked)) for asked in self._finish]

    def finish(self, count: int) -> None:
        left = [asked for asked in self._finish if not asked.is_set()]
        for asked in left[:count]:
            asked.set()

    def report(self) -> dict[str, object]:
        names = ("open", "opened", "spoken", "finished", "lost", "failed")
        return {name: getattr(self, name) for name in names}

    async def _run(self, asked: asyncio.Event) -> None:
        while not asked.is_set():
            began, is_open = time.time(), False
            try:
                async with connected(self._to) as (reader, writer):
                    await speak(reader, writer, os.urandom(16))
                    is_open = True
                    self.open += 1
                    self.opened += 1
                    await self._stay(asked, reader, writer)
                    await end(reader, writer)
            except Lost as error:
                seen = {"at": time.time(), "after": time.time() - began, "how": str(error)}
                (self.lost if is_open else self.failed).append(seen)
                self.open -= is_open
                await asyncio.sleep(AGAIN)
            else:
                self.open -= 1
                self.finished += 1
                return

    async def _stay(self, asked: asyncio.Event, reader: StreamReader, writer: StreamWriter) -> None:
        """Speak from time to time until asked to finish; nothing else may come, and no end."""
        waiting = asyncio.create_task(asked.wait())
        try:
            while not asked.is_set():
                listening = asyncio.create_task(reader.read(1))
                await asyncio.wait({listening, waiting}, timeout=self._every, return_when=asyncio.FIRST_COMPLETED)
                if listening.done():
                    raise Lost("garbled" if listening.result() else "ended")
                listening.cancel()
                await asyncio.wait({listening})
                await speak(reader, writer, os.urandom(16))
                self.spoken += 1
        finally:
            waiting.cancel()


class Visit:
    """New connections, again and again, whatever has become of those before."""

    def __init__(self, to: tuple[str, int], every: float) -> None:
        self._to, self._every = to, every
        self.done, self.slowest = 0, 0.0
        self.failed: list[dict[str, object]] = []
        self._visits: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._run())

    def finish(self, _: int) -> None:
        self._task.cancel()

    def report(self) -> dict[str, object]:
        underway = len(self._visits)
        return {"done": self.done, "underway": underway, "slowest": self.slowest, "failed": self.failed}

    async def _run(self) -> None:
        while True:
            visit = asyncio.create_task(self._visit())
            self._visits.add(visit)
            visit.add_done_callback(self._visits.discard)
            await asyncio.sleep(self._every)

    async def _visit(self) -> None:
        began = time.time()
        try:
            async with connected(self._to) as (reader, writer):
                await speak(reader, writer, os.urandom(16))
                await end(reader, writer)
        except Lost as error:
            self.failed.append({"at": time.time(), "after": time.time() - began, "how": str(error)})
        else:
            self.done += 1
        self.slowest = max(self.slowest, time.time() - began)


async def exchange(to: tuple[str, int], size: int, seed: int) -> dict[str, object]:
    """Send and receive at once, end, and compare every byte of both directions."""

    async def send() -> bytes:
        went, source = hashlib.sha256(), random.Random(seed)
        writer.write(struct.pack(">QQ", seed, size))
        for at in range(0, size, PIECE):
            piece = source.randbytes(min(PIECE, size - at))
            went.update(piece)
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
        return went.digest()

    async def receive() -> tuple[bytes, bytes]:
        came, left = hashlib.sha256(), size
        while left:
            piece = await reader.read(min(PIECE, left))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            came.update(piece)
            left -= len(piece)
        return came.digest(), await reader.read()

    began = time.time()
    try:
        async with connected(to) as (reader, writer), asyncio.timeout(10 * PATIENCE):
            went, (came, told) = await asyncio.gather(send(), receive())
    except Lost as error:
        return {"right": False, "how": str(error)}
    source, expected = random.Random(seed + 1), hashlib.sha256()
    for at in range(0, size, PIECE):
        expected.update(source.randbytes(min(PIECE, size - at)))
    return {
        "right": told == went and came == expected.digest(),
        "up": told == went,
        "down": came == expected.digest(),
        "seconds": time.time() - began,
    }


groups: dict[str, Hold | Visit] = {}


async def obey(path: str, asked: dict[str, str]) -> dict[str, object]:
    """Do what a request says."""
    host, _, port = asked.get("to", ":0").rpartition(":")
    to = (host, int(port))
    match path:
        case "/hold":
            groups[asked["name"]] = Hold(to, int(asked["count"]), float(asked["every"]))
        case "/visit":
            groups[asked["name"]] = Visit(to, float(asked["every"]))
        case "/finish":
            groups[asked["name"]].finish(int(asked.get("count", sys.maxsize)))
        case "/exchange":
            return await exchange(to, int(asked["bytes"]), int(asked["seed"]))
        case "/report":
            pass
        case _:
            return {"error": f"nobody knows {path}"}
    return {"now": time.time(), **{name: group.report() for name, group in groups.items()}}


async def answer(reader: StreamReader, writer: StreamWriter) -> None:
    """One request a connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        url = urlsplit(head.split(b" ")[1].decode())
        status, document = "200 OK", await obey(url.path, dict(parse_qsl(url.query)))
    except (OSError, asyncio.IncompleteReadError):
        writer.close()
        return
    except (KeyError, ValueError) as error:  # the story is told what was wrong with its request
        status, document = "400 Bad Request", {"error": repr(error)}
    body = json.dumps(document).encode()
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    with contextlib.suppress(OSError):
        await writer.drain()
    writer.close()


async def main() -> None:
    # The first process of a container is not ended by a signal that it does not handle.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    await asyncio.start_server(answer, port=PORT)
    print(json.dumps({"event": "listening"}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
