"""One WebSocket in the doctor's hands, against a peer that the test plays frame by frame."""

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from sokken.doctor.judge_tunnel import End, Ending
from sokken.doctor.line import Line
from sokken.protocol.frames import (
    Close,
    Decoder,
    Notice,
    Opcode,
    Ping,
    Pong,
    Span,
    encode_close,
    encode_frame,
)
from sokken.transport.plane import Plane


class Peer:
    """The server's end."""

    def __init__(self, sock):
        self.sock = sock
        self.sock.settimeout(20)
        self._decoder = Decoder(masked=True, notices=True)
        self._events = []

    def next(self):
        """The next event; payload as bytes. None at the end of the connection."""
        while not self._events:
            data = bytearray(self.sock.recv(65536))
            if not data:
                return None
            for event in self._decoder.decode(data, 0, len(data)):
                self._events.append(bytes(event.payload) if isinstance(event, Span) else event)
        return self._events.pop(0)

    def send(self, opcode, payload=b""):
        self.sock.sendall(encode_frame(opcode, payload))


def play(use, story, *, subprotocol="sokken.v2", tail=b""):
    """Run ``use`` with a line whose peer plays ``story`` on a thread; gives what ``use`` gave."""

    async def main(near):
        plane = Plane(asyncio.get_running_loop(), masks=True)
        try:
            return await use(Line(plane, near, subprotocol, tail))
        finally:
            plane.close()

    with connected() as (near, far):
        thread = threading.Thread(target=story, args=(Peer(far),))
        thread.start()
        try:
            return asyncio.run(main(near))
        finally:
            near.close()
            thread.join(20)


@contextmanager
def connected():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
        near.setblocking(False)
        with near, far:
            yield near, far


def test_a_ping_is_timed():
    def story(peer):
        ping = peer.next()
        peer.send(Opcode.TEXT, b"goaway")
        peer.send(Opcode.BINARY, b"what the target says meanwhile")
        peer.send(Opcode.PONG, b"another's")
        time.sleep(0.05)
        peer.send(Opcode.PONG, ping.payload)

    took = play(lambda line: line.ping(20), story)
    assert 0.05 <= took < 10


def test_what_has_come_with_the_answer_is_read_first():
    async def use(line):
        await line.receive()
        return line.ending

    tail = encode_close(1011, "target address not allowed")
    assert play(use, lambda peer: None, tail=tail) == Ending(End.CLOSED, "target address not allowed", 1011)


def test_a_ping_that_is_not_answered():
    async def use(line):
        return await line.ping(0.1), line.ending

    assert play(use, lambda peer: peer.next()) == (None, None)


@pytest.mark.parametrize(
    ("say", "ending"),
    [
        (lambda peer: peer.sock.shutdown(socket.SHUT_WR), Ending(End.CUT)),
        (lambda peer: peer.send(Opcode.TEXT, b"abort idle_timeout"), Ending(End.ABORTED, "idle_timeout")),
        (lambda peer: peer.sock.sendall(encode_close(1001, "bye")), Ending(End.CLOSED, "bye", 1001)),
        (
            lambda peer: peer.sock.sendall(b"HTTP"),
            Ending(End.VIOLATION, "a reserved bit is set (no extension was agreed)"),
        ),
    ],
)
def test_how_it_ended(say, ending):
    async def use(line):
        held = await line.hold(20, None)
        return held, line.ending, await line.ping(1)

    held, seen, ping = play(use, say)
    assert seen == ending
    assert held < 10
    assert ping is None


@pytest.mark.parametrize("every", [None, 0.05])
def test_it_is_held_and_answers_pings(every):
    seen = []

    def story(peer):
        peer.send(Opcode.PING, b"there?")
        while (event := peer.next()) is not None:
            seen.append(event)

    async def use(line):
        held = await line.hold(0.3, every)
        return held, line.ending

    held, ending = play(use, story)
    assert 0.3 <= held < 5
    assert ending is None
    assert seen[0] == Pong(b"there?") or Pong(b"there?") in seen
    assert (Ping(b"") in seen) is (every is not None)


def echoing(peer):
    while (event := peer.next()) is not None:
        if isinstance(event, bytes):
            peer.send(Opcode.BINARY, event)
        elif isinstance(event, Notice):
            peer.send(Opcode.TEXT, event.text.encode())
        elif isinstance(event, Close):
            peer.sock.sendall(encode_close(1000, ""))
            return


@pytest.mark.parametrize("size", [1, 300_000])
def test_what_is_sent_back(size):
    async def use(line):
        echo = await line.send_back(20, size, 65536)
        await line.close()
        return echo, line.ending

    echo, ending = play(use, echoing)
    assert (echo.sent, echo.received, echo.is_same, echo.has_ended, echo.ending) == (size, size, True, True, None)
    assert ending == Ending(End.CLOSED, "", 1000)


def test_as_much_as_goes_in_half_of_the_time():
    echo = play(lambda line: line.send_back(1, None, 65536), echoing)
    assert echo.sent == echo.received > 65536
    assert echo.is_same
    assert echo.has_ended
    assert echo.seconds < 1


def test_what_is_not_sent_back():
    def story(peer):
        while (event := peer.next()) is not None:
            if isinstance(event, bytes):
                peer.send(Opcode.BINARY, bytes(len(event)))
            elif isinstance(event, Notice):
                peer.send(Opcode.TEXT, b"eof")

    echo = play(lambda line: line.send_back(20, 1000, 65536), story)
    assert (echo.received, echo.is_same, echo.has_ended) == (1000, False, True)


def test_nothing_is_sent_back():
    def story(peer):
        while peer.next() is not None:
            pass

    echo = play(lambda line: line.send_back(0.2, 1000, 65536), story)
    assert (echo.received, echo.is_same, echo.has_ended, echo.ending) == (0, False, False, None)


def test_it_is_cut_while_bytes_are_sent():
    def story(peer):
        peer.next()
        peer.sock.close()

    echo = play(lambda line: line.send_back(20, None, 65536), story)
    assert echo.ending == Ending(End.CUT)
    assert echo.seconds < 10


@pytest.mark.parametrize(
    ("subprotocol", "said"), [("sokken.v2", [Notice("eof"), Close(1000, "")]), ("sokken", [Close(1000, "")])]
)
def test_it_parts_in_order(subprotocol, said):
    seen = []

    def story(peer):
        while (event := peer.next()) is not None:
            seen.append(event)
            if isinstance(event, Notice):
                peer.send(Opcode.TEXT, b"eof")
            if isinstance(event, Close):
                peer.sock.sendall(encode_close(1000, ""))

    play(lambda line: line.close(), story, subprotocol=subprotocol)
    assert seen == said
