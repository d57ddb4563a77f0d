import asyncio
import os
import random
import socket
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from sokken.protocol.handshake import MAX_HEAD_BYTES, Request
from sokken.transport.leave import LEAVE_SECONDS
from sokken.transport.plane import Plane
from sokken.transport.timers import TICK_SECONDS
from sokken.transport.upgrade import ANSWER_SECONDS, HEAD_SECONDS, HeadReader, HttpTransport
from tests.support.loops import LOOPS, Clock, planes, run, soon, tcp_pair
from tests.support.raw_http import parse_answer
from tests.support.targets import receive_all, receive_exactly, reset

pytestmark = pytest.mark.parametrize("loop", LOOPS)
HEAD = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
UPGRADE = b"GET /upgrade HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Http(asyncio.Protocol):
    """Takes aiohttp's place: notes what it is told, and answers when the test says so."""

    transport: HttpTransport

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[Exception | None] = []
        self.flow: list[str] = []

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, error) -> None:
        self.lost.append(error)

    def pause_writing(self) -> None:
        self.flow.append("pause")

    def resume_writing(self) -> None:
        self.flow.append("resume")


class Door:
    """A head reader with a connection, and whatever protocols it asked for."""

    def __init__(self, plane: Plane, ours: socket.socket, theirs: socket.socket, first: bytes = b"") -> None:
        self.plane = plane
        self.ours = ours
        self.channel = theirs
        self.made: list[Http] = []
        self.asked: list[Request] = []
        self.taken: list[tuple[socket.socket, str, bytes]] = []
        ours.sendall(first)
        self.reader = HeadReader(plane, theirs, "192.0.2.1:1234", self._make, self._upgrade)

    def _upgrade(self, request: Request):
        self.asked.append(request)
        return (lambda *taken: self.taken.append(taken)) if request.target == "/upgrade" else None

    def _make(self) -> Http:
        self.made.append(Http())
        return self.made[-1]

    async def http(self) -> Http:
        await soon(lambda: self.made)
        return self.made[0]

    def is_closed(self) -> bool:
        return self.channel.fileno() == -1

    async def answer(self) -> bytes:
        data = await asyncio.to_thread(receive_all, self.ours)
        self.ours.close()
        return data


@asynccontextmanager
async def doors(first: bytes = b"", *, small: bool = False, clock: Clock | None = None):
    """At the end nothing may be watched, timed, or open."""
    with tcp_pair(small=small) as (ours, theirs):
        async with planes(clock=clock) as plane:
            door = Door(plane, ours, theirs, first)
            yield door
            for http in door.made:
                http.transport.abort()
            ours.close()
            await soon(door.is_closed)
            assert repr(plane).endswith("entries=0> <Watch sockets=0>>")
            for http in door.made:
                await soon(lambda http=http: http.lost)
                assert len(http.lost) == 1


# The head


@pytest.mark.parametrize("cuts", [0, 1, 3, len(HEAD) - 1])
def test_a_head_is_passed_on_whole_and_nothing_that_follows(loop, cuts):
    async def main():
        async with doors() as door:
            at = sorted(random.sample(range(1, len(HEAD)), cuts))
            for start, stop in zip([0, *at], [*at, len(HEAD)], strict=True):
                assert not door.made
                last = stop == len(HEAD)
                door.ours.sendall(HEAD[start:stop] + b"tail" * last)
                await asyncio.sleep(0.002)
            http = await door.http()
            assert http.received == HEAD
            assert [request.target for request in door.asked] == ["/health"]
            assert door.taken == []

    run(main(), loop)


def test_a_head_that_is_there_already_is_read_at_once(loop):
    async def main():
        async with doors(HEAD) as door:
            assert [http.received for http in door.made] == [HEAD]
            assert repr(door.reader) == f"<HeadReader 192.0.2.1:1234 {len(HEAD)} bytes>"

    run(main(), loop)


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"\x16\x03\x01", 400, "TLS"),
        (b"GET / HTTP/1.1\nHost", 400, "LF"),
        (HEAD[:-4] + b"\r\nX: " + b"a" * MAX_HEAD_BYTES, 431, "16384"),
    ],
)
@pytest.mark.parametrize("is_there_already", [True, False])
def test_what_is_no_head_is_refused_and_told(loop, data, status, words, is_there_already):
    async def main():
        with capture_logs() as lines:
            async with doors(data if is_there_already else b"") as door:
                if not is_there_already:
                    door.ours.sendall(data)
                answer = parse_answer(await door.answer())
                assert answer.status == status
                assert words in answer.problem["detail"]
                assert not door.made
        assert lines == [
            {
                "event": "bad_request",
                "log_level": "warning",
                "connection_id": answer.fields["sokken-connection-id"],
                "peer": "192.0.2.1:1234",
                "status": status,
                "detail": answer.problem["detail"],
            }
        ]

    run(main(), loop)


def test_the_largest_head_and_one_byte_more(loop):
    async def main():
        room = MAX_HEAD_BYTES - len(HEAD) - len(b"X: \r\n")
        for more, is_taken in ((0, True), (1, False)):
            async with doors(HEAD[:-2] + b"X: " + b"a" * (room + more) + b"\r\n\r\n") as door:
                assert bool(door.made) is is_taken
                if not is_taken:
                    assert parse_answer(await door.answer()).status == 431

    run(main(), loop)


@pytest.mark.parametrize("first", [b"", b"GET /"])
def test_a_reset_within_the_head_ends_it_without_a_word(loop, first):
    """Also where the last bytes and the reset come together: uvloop tells of both at once, and once only."""

    async def main():
        with capture_logs() as lines:
            async with doors() as door:
                door.ours.sendall(first)
                reset(door.ours)
                await soon(door.is_closed, seconds=5)
                assert not door.made
        assert lines == []

    run(main(), loop)


def test_an_end_within_the_head_is_answered(loop):
    async def main():
        async with doors() as door:
            door.ours.sendall(b"GET /")
            door.ours.shutdown(socket.SHUT_WR)
            answer = parse_answer(await door.answer())
            assert (answer.status, answer.problem["detail"]) == (400, "the connection ended within the request's head")

    run(main(), loop)


def test_an_end_before_the_head_is_an_end(loop):
    async def main():
        async with doors() as door:
            door.ours.shutdown(socket.SHUT_WR)
            assert await door.answer() == b""

    run(main(), loop)


async def pass_time(door: Door, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    door.plane.wheel.advance()
    await asyncio.sleep(0.01)


def test_who_says_nothing_is_closed_in_time(loop):
    async def main():
        clock = Clock()
        async with doors(clock=clock) as door:
            await pass_time(door, clock, HEAD_SECONDS - 0.01)
            assert not door.is_closed()
            await pass_time(door, clock, TICK_SECONDS)
            assert door.is_closed()
            assert receive_all(door.ours) == b""

    run(main(), loop)


def test_who_is_slow_is_told_in_time_whatever_goes_on_coming(loop):
    async def main():
        clock = Clock()
        async with doors(HEAD[:5], clock=clock) as door:
            for at in range(5, 14):
                await pass_time(door, clock, HEAD_SECONDS / 10)
                door.ours.sendall(HEAD[at : at + 1])
                assert not door.is_closed()
            await pass_time(door, clock, TICK_SECONDS + 1)
            answer = parse_answer(await door.answer())
            assert (answer.status, answer.problem["detail"]) == (408, "the request's head did not end within 10 s")
            assert not door.made

    run(main(), loop)


def test_once_the_head_is_there_time_does_not_matter(loop):
    async def main():
        clock = Clock()
        async with doors(HEAD, clock=clock) as door:
            await pass_time(door, clock, 3600)
            assert not door.is_closed()
            assert door.made[0].lost == []

    run(main(), loop)


# The transport that answers it


def test_an_answer_and_an_orderly_end(loop):
    async def main():
        async with doors(HEAD + os.urandom(60_000)) as door:
            http = await door.http()
            assert http.transport.get_protocol() is http
            assert http.transport.get_extra_info("peername") == "192.0.2.1:1234"
            assert http.transport.get_extra_info("socket") is door.channel
            assert http.transport.get_extra_info("sslcontext") is None
            assert http.transport.get_extra_info("sslcontext", 1) == 1
            http.transport.pause_reading()
            http.transport.resume_reading()
            assert repr(http.transport) == "<HttpTransport 192.0.2.1:1234 open pending=0>"
            http.transport.on_lost = lambda: pytest.fail("nothing was lost")
            http.transport.write(ANSWER)
            http.transport.close()
            http.transport.close()
            http.transport.write(b"too late")
            assert http.transport.is_closing()
            assert http.lost == []  # not from within close()
            assert await door.answer() == ANSWER
            assert http.lost == [None]

    run(main(), loop)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_large_answer_waits_for_its_reader_and_the_writer_is_told(loop, kind):
    async def main():
        data = os.urandom(4_000_000)
        async with doors(HEAD, small=True) as door:
            http = await door.http()
            http.transport.write(kind(data[:3_000_000]))
            http.transport.write(kind(data[3_000_000:]))
            assert http.flow == ["pause"]
            reading = asyncio.ensure_future(asyncio.to_thread(receive_exactly, door.ours, len(data)))
            await soon(lambda: http.flow == ["pause", "resume"])
            assert await reading == data
            http.transport.write(b"more")
            http.transport.close()
            assert await door.answer() == b"more"
            assert http.flow == ["pause", "resume"]

    run(main(), loop)


def test_closing_behind_a_large_answer_sends_all_of_it(loop):
    async def main():
        data = os.urandom(2_000_000)
        async with doors(HEAD, small=True) as door:
            http = await door.http()
            http.transport.write(data)
            http.transport.close()
            assert await door.answer() == data

    run(main(), loop)


def test_an_abort_is_a_reset(loop):
    async def main():
        async with doors(HEAD) as door:
            http = await door.http()
            http.transport.abort()
            http.transport.abort()
            with pytest.raises(ConnectionResetError):
                receive_all(door.ours)
            await soon(lambda: http.lost)
            assert http.lost == [None]

    run(main(), loop)


@pytest.mark.parametrize("pending", [0, 3_000_000])
def test_a_client_that_resets_is_told_though_nothing_is_read(loop, pending):
    async def main():
        async with doors(HEAD, small=True) as door:
            http = await door.http()
            http.transport.write(bytes(pending))
            reset(door.ours)
            await soon(lambda: http.lost)
            assert isinstance(http.lost[0], ConnectionResetError | BrokenPipeError)
            assert http.transport.is_closing()
            http.transport.write(b"nothing")
            http.transport.close()
            assert repr(http.transport).startswith("<HttpTransport 192.0.2.1:1234 closed ")

    run(main(), loop)


def test_an_answer_to_who_has_gone_is_a_loss(loop):
    async def main():
        async with doors(HEAD) as door:
            http = await door.http()
            reset(door.ours)
            http.transport.write(ANSWER)
            http.transport.write(ANSWER)
            await soon(lambda: http.lost)
            assert isinstance(http.lost[0], OSError)

    run(main(), loop)


@pytest.mark.parametrize("cuts", [0, 1, len(UPGRADE) - 1])
def test_the_channel_of_an_upgrade_is_passed_on_as_it_was(loop, cuts):
    async def main():
        async with doors() as door:
            at = sorted(random.sample(range(1, len(UPGRADE)), cuts))
            for start, stop in zip([0, *at], [*at, len(UPGRADE)], strict=True):
                assert not door.taken
                door.ours.sendall(UPGRADE[start:stop] + b"tail" * (stop == len(UPGRADE)))
                await asyncio.sleep(0.002)
            await soon(lambda: door.taken)
            assert door.made == []
            [(channel, peer, tail)] = door.taken
            assert (channel, peer, tail) == (door.channel, "192.0.2.1:1234", b"tail")
            channel.send(b"still open")
            assert receive_exactly(door.ours, 10) == b"still open"
            assert repr(door.plane.watch) == "<Watch sockets=0>"
            channel.close()

    run(main(), loop)


def test_a_head_that_needs_leniency_is_no_upgrade(loop):
    async def main():
        lenient = UPGRADE.replace(b"Host: a\r\n", b"")
        async with doors(lenient) as door:
            assert (await door.http()).received == lenient
            assert (door.asked, door.taken) == ([], [])

    run(main(), loop)


# Readers that take their time


def test_who_takes_nothing_of_an_answer_is_cut_off_in_time(loop):
    clock = Clock()

    async def main():
        async with doors(HEAD, small=True, clock=clock) as door:
            http = await door.http()
            http.transport.write(bytes(2_000_000))
            for _ in range(3):  # as long as something goes, time does not matter
                await pass_time(door, clock, ANSWER_SECONDS - TICK_SECONDS)
                assert not http.lost
                await asyncio.to_thread(receive_exactly, door.ours, 200_000)
                await asyncio.sleep(0.05)
            await pass_time(door, clock, ANSWER_SECONDS + 2 * TICK_SECONDS)
            await soon(lambda: http.lost)
            assert "took nothing for 30 s" in str(http.lost[0])
            assert door.is_closed()

    run(main(), loop)


def test_a_slow_reader_gets_all_of_an_answer_that_is_finished(loop):
    """More than the second that a farewell takes otherwise."""
    clock = Clock()

    async def main():
        data = os.urandom(1_000_000)
        async with doors(HEAD, small=True, clock=clock) as door:
            http = await door.http()
            http.transport.write(data)
            http.transport.close()
            await pass_time(door, clock, LEAVE_SECONDS * 5)
            assert await door.answer() == data

    run(main(), loop)
