import asyncio
import socket
import threading
import time

import pytest

from sokken.protocol.handshake import MAX_HEAD_BYTES, Answer, HandshakeError
from sokken.transport.exchange import BODY_SECONDS, MAX_BODY_BYTES, exchange, read_body
from tests.support.loops import LOOPS, planes, run, tcp_pair
from tests.support.targets import receive_exactly, reset

pytestmark = pytest.mark.parametrize("loop", LOOPS)
ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"


async def ask(pieces: list[bytes], *, pause: float = 0.001, end: bool = False) -> tuple[Answer, bytes]:
    """The answer to ``ASK`` that comes in these pieces."""
    with tcp_pair() as (ours, theirs):

        def answer() -> None:
            assert receive_exactly(ours, len(ASK)) == ASK
            for piece in pieces:
                ours.sendall(piece)
                time.sleep(pause)
            if end:
                ours.shutdown(socket.SHUT_WR)

        async with planes(masks=True) as plane:
            answering = asyncio.ensure_future(asyncio.to_thread(answer))
            try:
                return await exchange(plane, theirs, ASK)
            finally:
                await answering


def test_an_answer_and_what_came_behind_it(loop):
    async def main():
        answer, rest = await ask([OK + b"the rest"])
        assert answer == Answer(200, "OK", {"a": "b"})
        assert rest == b"the rest"

    run(main(), loop)


def test_an_answer_byte_by_byte(loop):
    async def main():
        answer, rest = await ask([OK[at : at + 1] for at in range(len(OK))])
        assert (answer.status, rest) == (200, b"")

    run(main(), loop)


@pytest.mark.parametrize("together", [True, False])
def test_interim_answers_are_skipped(loop, together):
    async def main():
        heads = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK, b"rest"]
        answer, rest = await ask([b"".join(heads)] if together else heads[:3])
        assert (answer.status, answer.headers) == (200, {"a": "b"})
        assert rest == (b"rest" if together else b"")

    run(main(), loop)


def test_switching_protocols_is_final(loop):
    async def main():
        answer, rest = await ask([b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x82\x00"])
        assert (answer.status, rest) == (101, b"\x82\x00")

    run(main(), loop)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_an_end_before_the_answer(loop, data):
    async def main():
        with pytest.raises(ConnectionResetError, match="ended before there was an answer; if it expects TLS, use wss"):
            await ask([data], end=True)

    run(main(), loop)


def test_a_reset_before_the_answer(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            async with planes() as plane:
                asking = asyncio.ensure_future(exchange(plane, theirs, ASK))
                await asyncio.to_thread(receive_exactly, ours, len(ASK))
                ours.sendall(b"HTTP/1.1 ")
                reset(ours)
                with pytest.raises(ConnectionResetError):
                    await asking

    run(main(), loop)


def test_what_is_no_answer(loop):
    async def main():
        with pytest.raises(HandshakeError, match="no HTTP/1"):
            await ask([b"SSH-2.0-OpenSSH_9.6\r\n\r\n"])

    run(main(), loop)


def test_an_endless_head(loop):
    async def main():
        with pytest.raises(HandshakeError, match=f"more than {MAX_HEAD_BYTES} bytes"):
            await ask([b"HTTP/1.1 200 OK\r\nA: " + b"a" * (2 * MAX_HEAD_BYTES)])

    run(main(), loop)


def test_a_request_that_does_not_fit_at_once(loop):
    async def main():
        request = b"GET / HTTP/1.1\r\nA: " + b"a" * 3_000_000 + b"\r\n\r\n"
        with tcp_pair(small=True) as (ours, theirs):
            received = []

            def answer() -> None:
                received.append(receive_exactly(ours, len(request)))
                ours.sendall(OK)

            thread = threading.Thread(target=answer)
            async with planes() as plane:
                asking = asyncio.ensure_future(exchange(plane, theirs, request))
                await asyncio.sleep(0.05)
                assert not asking.done()
                thread.start()
                assert (await asking)[0].status == 200
            thread.join()
        assert received == [request]

    run(main(), loop)


async def body(answer: Answer, start: bytes, pieces: list[bytes], *, end: bool) -> tuple[bytes, float]:
    with tcp_pair() as (ours, theirs):
        async with planes() as plane:
            started = time.monotonic()
            for piece in pieces:
                ours.sendall(piece)
            if end:
                ours.shutdown(socket.SHUT_WR)
            return await read_body(plane, theirs, answer, start), time.monotonic() - started


@pytest.mark.parametrize(
    ("length", "start", "pieces", "expected"),
    [
        ("8", b"problem!", [], b"problem!"),
        ("8", b"prob", [b"lem!"], b"problem!"),
        ("8", b"", [b"problem!", b" and more"], b"problem!"),
        ("0", b"unasked", [], b""),
    ],
)
def test_a_body_of_known_length_is_not_waited_for_longer(loop, length, start, pieces, expected):
    async def main():
        answer = Answer(403, "Forbidden", {"content-length": length})
        found, seconds = await body(answer, start, pieces, end=False)
        assert found == expected
        assert seconds < BODY_SECONDS / 2

    run(main(), loop)


@pytest.mark.parametrize("length", [None, "", "x", "-1", "²", "9" * 5000])
def test_a_body_of_unknown_length_goes_to_the_end(loop, length):
    async def main():
        answer = Answer(403, "Forbidden", {} if length is None else {"content-length": length})
        assert (await body(answer, b"a", [b"b", b"c"], end=True))[0] == b"abc"

    run(main(), loop)


def test_a_body_that_does_not_come_costs_a_second(loop):
    async def main():
        found, seconds = await body(Answer(403, "Forbidden", {"content-length": "8"}), b"prob", [], end=False)
        assert found == b"prob"
        assert BODY_SECONDS - 0.1 <= seconds < BODY_SECONDS + 1

    run(main(), loop)


def test_a_large_body_is_cut(loop):
    async def main():
        answer = Answer(403, "Forbidden", {"content-length": "1000000"})
        assert (await body(answer, b"", [b"a" * 50_000], end=False))[0] == b"a" * MAX_BODY_BYTES

    run(main(), loop)


def test_a_body_that_is_reset_is_what_came_of_it(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            async with planes() as plane:
                reset(ours)
                assert await read_body(plane, theirs, Answer(403, "Forbidden", {}), b"start") == b"start"

    run(main(), loop)
