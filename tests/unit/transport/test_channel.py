import asyncio
import contextlib
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from sokken.transport.channel import TlsChannel, close_cleanly, prepare, wait_ready
from sokken.transport.tls import client_context, start_tls
from tests.support.loops import AUTHORITIES, LOOPS, run, server_context, soon, tcp_pair
from tests.support.targets import PATIENCE, is_reset, receive_all, receive_exactly, reset, was_reset

every_loop = pytest.mark.parametrize("loop", LOOPS)


# A plain socket


def test_a_prepared_socket_resets_when_it_is_closed():
    with tcp_pair() as (ours, theirs):
        theirs.close()
        assert was_reset(ours)


def test_a_clean_close_is_an_end_behind_what_was_sent():
    with tcp_pair() as (ours, theirs):
        theirs.send(b"last words")
        close_cleanly(theirs)
        assert receive_all(ours) == b"last words"


def test_a_clean_close_of_what_has_gone_is_no_error():
    with tcp_pair() as (ours, theirs):
        reset(ours)
        close_cleanly(theirs)
        assert theirs.fileno() == -1


def test_what_every_socket_of_a_connection_has():
    with tcp_pair() as (ours, _):
        sizes = [ours.getsockopt(socket.SOL_SOCKET, which) for which in (socket.SO_RCVBUF, socket.SO_SNDBUF)]
        prepare(ours)
        tcp = {"IDLE": 60, "INTVL": 15, "CNT": 4}
        assert ours.getblocking() is False
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for name, value in tcp.items():
            assert ours.getsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_KEEP{name}")) == value
        assert struct.unpack("ii", ours.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 0)
        # Would kill a closed window, and turn autotuning off:
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
        assert [ours.getsockopt(socket.SOL_SOCKET, which) for which in (socket.SO_RCVBUF, socket.SO_SNDBUF)] == sizes


@every_loop
def test_waiting_until_there_is_something_to_read(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            waiting = asyncio.ensure_future(wait_ready(asyncio.get_running_loop(), theirs))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            ours.sendall(b"x")
            await waiting
            assert theirs.recv(1) == b"x"

    run(main(), loop)


@every_loop
def test_waiting_until_it_can_be_written(loop):
    async def main():
        with tcp_pair(small=True) as (ours, theirs):
            while wait_writable(theirs, 0.05):
                with contextlib.suppress(BlockingIOError):
                    theirs.send(bytes(65536))
            waiting = asyncio.ensure_future(wait_ready(asyncio.get_running_loop(), theirs, to_write=True))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            ours.setblocking(False)

            def drain() -> bool:
                with contextlib.suppress(BlockingIOError):
                    ours.recv(1 << 20)
                return waiting.done()

            await soon(drain)

    run(main(), loop)


@every_loop
def test_waiting_ends_at_a_reset(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            waiting = asyncio.ensure_future(wait_ready(asyncio.get_running_loop(), theirs))
            await asyncio.sleep(0)
            reset(ours)
            await waiting
            with pytest.raises(ConnectionResetError):
                theirs.recv(1)

    run(main(), loop)


@every_loop
def test_who_stops_waiting_watches_no_more(loop):
    async def main():
        with tcp_pair() as (ours, theirs):
            running = asyncio.get_running_loop()
            waiting = asyncio.ensure_future(wait_ready(running, theirs))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not running.remove_reader(theirs.fileno())
            ours.sendall(b"x")
            await wait_ready(running, theirs)  # and may wait again

    run(main(), loop)


# The same over TLS


class Pair:
    """A blocking TLS server's socket, and the channel that was connected to it."""

    def __init__(self, ours: ssl.SSLSocket, channel: TlsChannel) -> None:
        self.ours = ours
        self.channel = channel


@pytest.fixture
def pair(request):
    """``request.param``: the version of TLS."""
    with tls_pair(getattr(request, "param", ssl.TLSVersion.TLSv1_3)) as made:
        yield made


@contextlib.contextmanager
def tls_pair(version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Iterator[Pair]:
    server, client = server_context(), client_context(AUTHORITIES)
    with tcp_pair(small=True) as (ours, theirs):
        client.maximum_version = version
        secured: list[ssl.SSLSocket] = []
        wrap = partial(server.wrap_socket, suppress_ragged_eofs=False)  # an end must be said in TLS
        thread = threading.Thread(target=lambda: secured.append(wrap(ours, server_side=True)))
        thread.start()

        async def main():
            return await start_tls(asyncio.get_running_loop(), theirs, client, "localhost")

        channel = run(main())
        thread.join(PATIENCE)
        with channel, secured[0] as end:
            end.settimeout(PATIENCE)
            yield Pair(end, channel)


both_versions = pytest.mark.parametrize("pair", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], indirect=True)


def send_all(channel: TlsChannel, data: bytes) -> list[int]:
    """Send as the relay does: on with what was not taken; gives how much was taken at each turn."""
    steps, view = [], memoryview(data)
    while view:
        try:
            sent = channel.send(view)
        except BlockingIOError:
            sent = 0
        steps.append(sent)
        view = view[sent:]
        if view:
            assert wait_writable(channel)
    return steps


def wait_writable(sock: socket.socket, seconds: float = PATIENCE) -> bool:
    return bool(select.select([], [sock], [], seconds)[1])


def receive(channel: TlsChannel, size: int, step: int) -> bytes:
    """Exactly ``size`` bytes, ``step`` at most at a time."""
    data, buffer = bytearray(), bytearray(step)
    while len(data) < size:
        try:
            count = channel.recv_into(memoryview(buffer))
        except BlockingIOError:
            assert select.select([channel], [], [], PATIENCE)[0]
            continue
        assert count
        data += buffer[:count]
    return bytes(data)


@both_versions
def test_nothing_to_read_is_said_as_a_socket_says_it(pair):
    with pytest.raises(BlockingIOError):
        pair.channel.recv_into(bytearray(10))


@both_versions
@pytest.mark.parametrize("step", [1, 7, 100, 16384, 100_000])
def test_what_was_decrypted_is_read_in_any_steps(pair, step):
    data = os.urandom(20_000 if step < 100 else 300_000)
    thread = threading.Thread(target=pair.ours.sendall, args=(data,))
    thread.start()
    assert receive(pair.channel, len(data), step) == data
    thread.join(PATIENCE)


def test_a_small_read_leaves_the_rest_pending(pair):
    pair.ours.sendall(b"0123456789")
    assert receive(pair.channel, 4, 4) == b"0123"
    assert pair.channel.pending() == 6
    assert receive(pair.channel, 6, 4) == b"456789"
    with pytest.raises(BlockingIOError):
        pair.channel.recv_into(bytearray(4))


def test_several_records_are_read_in_one_call(pair):
    for _ in range(5):
        pair.ours.sendall(bytes(1000))
    buffer = bytearray(100_000)
    assert receive(pair.channel, 1, 1) == b"\0"
    total = 1
    while total < 5000:
        with contextlib.suppress(BlockingIOError):
            count = pair.channel.recv_into(memoryview(buffer))
            assert count > 1000 or total + count == 5000
            total += count
    assert total == 5000


def test_a_count_bounds_a_read(pair):
    pair.ours.sendall(b"0123456789")
    assert receive(pair.channel, 1, 1) == b"0"
    buffer = bytearray(10)
    assert pair.channel.recv_into(buffer, 3) == 3
    assert buffer == b"123" + bytes(7)


@both_versions
def test_a_large_write_goes_in_parts_to_a_reader_in_small_steps(pair):
    data = os.urandom(2_000_000)
    received = []

    def read():
        parts, total = [], 0
        while total < len(data):
            parts.append(pair.ours.recv(5000))
            total += len(parts[-1])
        received.append(b"".join(parts))

    first = 0  # or a part of a record, of which nobody is told
    with contextlib.suppress(BlockingIOError):
        first = pair.channel.send(data)
    assert first < len(data)
    with pytest.raises(BlockingIOError):
        pair.channel.send(data[first:])
    thread = threading.Thread(target=read)
    thread.start()
    steps = send_all(pair.channel, data[first:])
    thread.join(PATIENCE)
    assert received == [data]
    assert sum(steps) + first == len(data)


def test_a_write_that_had_to_wait_may_be_repeated_from_another_place_in_memory(pair):
    """The relay copies what was not taken; OpenSSL must not mind that the bytes have moved."""
    data = os.urandom(1_500_000)
    thread = threading.Thread(target=lambda: received.append(receive_exactly(pair.ours, len(data))))
    received = []
    rest = bytearray(data)
    with contextlib.suppress(BlockingIOError):
        del rest[: pair.channel.send(rest)]
    thread.start()
    while rest:
        wait_writable(pair.channel)
        rest = bytearray(rest)
        with contextlib.suppress(BlockingIOError):
            del rest[: pair.channel.send(bytes(rest))]
    thread.join(PATIENCE)
    assert received == [data]


def test_an_empty_write_is_nothing(pair):
    assert pair.channel.send(b"") == 0


@both_versions
def test_the_end_of_the_other_side(pair):
    pair.ours.sendall(b"last words")
    with contextlib.suppress(OSError):
        pair.ours.settimeout(0.05)
        pair.ours.unwrap()
    assert receive(pair.channel, 10, 100) == b"last words"
    assert pair.channel.recv_into(bytearray(10)) == 0
    assert pair.channel.recv_into(bytearray(10)) == 0


def test_an_end_of_tcp_alone(pair):
    pair.ours.sendall(b"last words")
    socket.socket.shutdown(pair.ours, socket.SHUT_WR)
    assert receive(pair.channel, 10, 100) == b"last words"
    assert pair.channel.recv_into(bytearray(10)) == 0


def test_the_end_of_this_side_is_said_in_tls_and_the_other_goes_on(pair):
    pair.channel.send(b"last words")
    pair.channel.shutdown(socket.SHUT_WR)
    assert receive_all(pair.ours) == b"last words"  # an end in TLS: without it this would be an error
    with pytest.raises(BrokenPipeError):
        socket.socket.send(pair.channel, b"more")


def test_an_end_with_unsent_bytes_does_not_wait(pair):
    with contextlib.suppress(BlockingIOError):
        while True:
            pair.channel.send(bytes(100_000))
    pair.channel.shutdown(socket.SHUT_WR)


def meet_a_reset(channel: TlsChannel, call: Callable[[TlsChannel], object]) -> None:
    """``call`` it once the reset is there."""
    assert is_reset(channel)
    with contextlib.suppress(OSError):
        call(channel)


def assert_only_waits(channel: TlsChannel) -> None:
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            channel.recv_into(bytearray(10))


@pytest.mark.parametrize(
    "call",
    [
        lambda channel: channel.recv_into(bytearray(10)),
        lambda channel: channel.send(b"x"),
        lambda channel: channel.shutdown(socket.SHUT_WR),
    ],
    ids=["recv_into", "send", "shutdown"],
)
@both_versions
def test_a_reset_is_told_of_one_connection_only(pair, call):
    with tls_pair() as other:
        assert_only_waits(pair.channel)
        assert_only_waits(other.channel)
        reset(pair.ours)
        meet_a_reset(pair.channel, call)
        assert_only_waits(other.channel)


def test_a_reset_in_the_handshake_is_told_of_one_connection_only(pair):
    assert_only_waits(pair.channel)
    with tcp_pair() as (ours, theirs):
        secured = client_context(AUTHORITIES).wrap_socket(
            theirs, server_hostname="localhost", do_handshake_on_connect=False
        )
        with secured:
            with pytest.raises(ssl.SSLWantReadError):
                secured.do_handshake()
            reset(ours)
            meet_a_reset(secured, TlsChannel.do_handshake)
            assert_only_waits(pair.channel)


def test_a_reset_is_met_behind_what_came_before_it(pair):
    pair.ours.sendall(b"last words")
    assert receive(pair.channel, 1, 1) == b"l"
    reset(pair.ours)
    assert receive(pair.channel, 9, 4) == b"ast words"
    with contextlib.suppress(ConnectionResetError):  # some versions of Python tell of an end
        assert pair.channel.recv_into(bytearray(10)) == 0


@pytest.mark.parametrize("before", [b"", b"last words"])
def test_garbage_instead_of_a_record_is_an_error_behind_what_came_before_it(pair, before):
    if before:
        pair.ours.sendall(before)
    socket.socket.send(pair.ours, b"garbage, not a record of TLS")
    time.sleep(0.01)  # so that one call meets both
    assert receive(pair.channel, len(before), 100) == before
    for _ in range(3):  # and it stays one
        with pytest.raises(ssl.SSLError):
            receive(pair.channel, 1, 10)
