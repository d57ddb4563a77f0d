"""The target of the stories, alone in its pod with nothing but the standard library.

Ports 7007 and 7008 send back what they get. Port 7009 exchanges: it gets 8 bytes of seed and 8 of size, and then that
many bytes made from the seed, while it sends as many made from the next seed; after the end of its input it sends
the checksum of what came, and ends. So every byte of both directions is known to both ends.
"""

import asyncio
import hashlib
import os
import random
import signal
from asyncio import StreamReader, StreamWriter

PIECE = 65536


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    writer.write_eof()


async def exchange(reader: StreamReader, writer: StreamWriter) -> None:
    head = await reader.readexactly(16)
    seed, size = int.from_bytes(head[:8]), int.from_bytes(head[8:])
    came, _ = await asyncio.gather(digest(reader), send(writer, seed + 1, size))
    writer.write(came)
    writer.write_eof()


async def digest(reader: StreamReader) -> bytes:
    """The checksum of everything up to the end."""
    came = hashlib.sha256()
    while piece := await reader.read(PIECE):
        came.update(piece)
    return came.digest()


async def send(writer: StreamWriter, seed: int, size: int) -> None:
    source = random.Random(seed)
    for at in range(0, size, PIECE):
        writer.write(source.randbytes(min(PIECE, size - at)))
        await writer.drain()


async def serve(handle, reader: StreamReader, writer: StreamWriter) -> None:
    try:
        await handle(reader, writer)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass  # the application will tell
    finally:
        writer.close()


async def main() -> None:
    # The first process of a container is not ended by a signal that it does not handle.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    for port, handle in ((7007, echo), (7008, echo), (7009, exchange)):
        await asyncio.start_server(lambda r, w, handle=handle: serve(handle, r, w), port=port, backlog=1024)
    print('{"event": "listening"}', flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
