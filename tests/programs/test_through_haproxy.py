"""Every kind of traffic and every kind of end through haproxy, which speaks TLS toward the client or does not."""

import hashlib
import os
import queue
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache

import pytest

from tests.support.haproxy import pair_through_haproxy
from tests.support.targets import (
    PATIENCE,
    connect,
    count,
    echo,
    receive_all,
    receive_exactly,
    reset,
    target,
    was_reset,
)

pytestmark = pytest.mark.programs

MIB = 1024 * 1024
seen = queue.SimpleQueue()  # what targets noticed


@cache
def stream():
    """More than all buffers on the way hold."""
    return os.urandom(64 * MIB)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def end_first(sock):
    sock.sendall(b"bye")
    sock.shutdown(socket.SHUT_WR)
    seen.put(receive_all(sock))


def reset_when_asked(sock):
    receive_exactly(sock, 1)
    reset(sock)


def fill(sock):
    """Write until nothing more is taken, and say how much that was."""
    rest = memoryview(stream())
    sock.setblocking(False)
    while rest and select.select([], [sock], [], 0.5)[1]:
        rest = rest[sock.send(rest[:MIB]) :]
    sock.settimeout(PATIENCE)
    seen.put(len(stream()) - len(rest))
    return rest


def fill_and_go_on(sock):
    sock.sendall(fill(sock))


def fill_and_reset(sock):
    fill(sock)
    reset(sock)


def tell_the_end(sock):
    sock.sendall(b"!")
    seen.put(was_reset(sock))


HANDLERS = {
    handle.__name__: handle
    for handle in (echo, count, end_first, reset_when_asked, fill_and_go_on, fill_and_reset, tell_the_end)
}


@pytest.fixture(
    scope="module", params=[(scheme, loop) for scheme in ("ws", "wss") for loop in ("asyncio", "uvloop")], ids="-".join
)
def way(request, tmp_path_factory):
    scheme, loop = request.param
    with ExitStack() as stack:
        targets = {name: stack.enter_context(target(handle)) for name, handle in HANDLERS.items()}
        folder = tmp_path_factory.mktemp("haproxy")
        yield stack.enter_context(pair_through_haproxy(targets, scheme, folder, {"SOKKEN_EVENT_LOOP": loop}))


def exchange(entry, data):
    """Write ``data`` and its end, while everything that comes is read."""
    with connect(entry) as app:
        writer = threading.Thread(target=lambda: (app.sendall(data), app.shutdown(socket.SHUT_WR)))
        writer.start()
        answer = receive_all(app)
        writer.join()
    return answer


def closed(way, target, app_port):
    """The last lines of a connection at both ends; the port may have been another's, to another target, before."""
    host, port = way.targets[target]
    near = way.client.program.wait_for("connection_closed", peer=f"127.0.0.1:{app_port}", target=f"{host}:{port}")
    return near, way.server.program.wait_for("connection_closed", connection_id=near["connection_id"])


def test_64_mib_go_both_ways_at_once(way):
    assert digest(exchange(way.entries["echo"], stream())) == digest(stream())


def test_the_application_ends_first(way):
    data = stream()[: 3 * MIB + 1]
    with connect(way.entries["count"]) as app:
        port = app.getsockname()[1]
        app.sendall(data)
        app.shutdown(socket.SHUT_WR)
        assert receive_all(app) == b"%d" % len(data)
    for line in closed(way, "count", port):
        assert (line["outcome"], line["close_code"]) == ("completed", 1000)
        assert (line["bytes_up"], line["bytes_down"]) == (len(data), len(str(len(data))))


def test_the_target_ends_first(way):
    data = stream()[:MIB]
    with connect(way.entries["end_first"]) as app:
        assert receive_all(app) == b"bye"
        app.sendall(data)
        app.shutdown(socket.SHUT_WR)
        assert digest(seen.get(timeout=PATIENCE)) == digest(data)


def test_a_reset_of_the_target_reaches_the_application(way):
    with connect(way.entries["reset_when_asked"]) as app:
        port = app.getsockname()[1]
        app.sendall(b"x")
        assert was_reset(app)
    near, far = closed(way, "reset_when_asked", port)
    assert (near["outcome"], near["close_code"]) == ("peer_reset", 1011)
    assert (far["outcome"], far["close_code"]) == ("local_reset", 1011)


def test_a_reset_of_a_target_that_writes_faster_than_is_read_reaches_the_application(way):
    with connect(way.entries["fill_and_reset"]) as app:
        port = app.getsockname()[1]
        assert 0 < seen.get(timeout=PATIENCE) < len(stream())
        opened = way.client.program.wait_for("connection_opened", peer=f"127.0.0.1:{port}")
        # At once, while the application reads nothing. haproxy tells it once it has got rid of what it holds.
        way.server.program.wait_for(
            "connection_closed", connection_id=opened["connection_id"], outcome="local_reset", close_code=1011
        )
        assert was_reset(app)
    near, _ = closed(way, "fill_and_reset", port)
    assert near["outcome"] == "peer_lost"  # nobody could be told more


def test_a_reset_of_the_application_reaches_the_target(way):
    app = connect(way.entries["tell_the_end"])
    port = app.getsockname()[1]
    receive_exactly(app, 1)
    reset(app)
    assert seen.get(timeout=PATIENCE) is True
    near, far = closed(way, "tell_the_end", port)
    assert (near["outcome"], far["outcome"]) == ("local_reset", "peer_reset")


def test_an_end_of_the_application_is_no_reset_for_the_target(way):
    with connect(way.entries["tell_the_end"]) as app:
        receive_exactly(app, 1)
        app.shutdown(socket.SHUT_WR)
        assert seen.get(timeout=PATIENCE) is False
        assert receive_all(app) == b""


def test_a_reader_that_waits_gets_everything(way):
    with connect(way.entries["fill_and_go_on"]) as app:
        assert 0 < seen.get(timeout=PATIENCE) < len(stream())
        assert digest(receive_all(app)) == digest(stream())


def test_single_bytes_go_at_once(way):
    data = stream()[:300]
    with connect(way.entries["echo"]) as app:
        app.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(data)):
            app.sendall(data[at : at + 1])
            assert receive_exactly(app, 1) == data[at : at + 1]


def test_many_small_messages(way):
    pieces = [stream()[at : at + 1 + at % 97] for at in range(20_000)]
    with connect(way.entries["echo"]) as app:
        app.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer = threading.Thread(
            target=lambda: ([app.sendall(piece) for piece in pieces], app.shutdown(socket.SHUT_WR))
        )
        writer.start()
        assert digest(receive_all(app)) == digest(b"".join(pieces))
        writer.join()


def test_twenty_at_once(way):
    parts = [stream()[n * MIB : (n + 1) * MIB + n] for n in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = pool.map(lambda part: exchange(way.entries["echo"], part), parts)
        assert [digest(answer) for answer in answers] == [digest(part) for part in parts]
