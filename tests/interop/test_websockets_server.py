"""The `websockets` library as the server of a real client."""

import os
import queue
import socket
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.sync.server import serve

from tests.support.programs import Client, client, join
from tests.support.refused import meet_reset
from tests.support.targets import PATIENCE, connect, receive_all, receive_exactly, reset, was_reset

V2, V1 = "sokken.v2", "sokken"
SPEAKERS = {
    "v2": {"subprotocols": [V2]},
    "v1": {"subprotocols": [V1]},
    "both": {"subprotocols": [V2, V1]},
    "v1 first": {"subprotocols": [V1, V2]},
    "none": {},
    "foreign": {"select_subprotocol": lambda _, __: "chat"},
}


class LibraryServer:
    """Hands each connection to the test, and keeps it until the test is done with it."""

    def __init__(self, **options) -> None:
        self._arrived = queue.SimpleQueue()
        self._done = threading.Event()
        self._server = serve(self._handle, "127.0.0.1", 0, ping_interval=None, **options)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"ws://{join(self._server.socket.getsockname())}/tunnel/%5B::1%5D:22?some=query"

    def _handle(self, connection):
        self._arrived.put(connection)
        self._done.wait()

    def next_connection(self):
        return self._arrived.get(timeout=PATIENCE)

    def close(self):
        self._done.set()
        self._server.shutdown()
        self._thread.join(PATIENCE)


@contextmanager
def library_server(**options):
    started = LibraryServer(**options)
    try:
        yield started
    finally:
        started.close()


@dataclass
class Site:
    """A client with a forward to each speaker."""

    client: Client
    servers: dict[str, LibraryServer]

    def entry(self, speaker):
        return self.client.entries[list(self.servers).index(speaker)]


@pytest.fixture(scope="module")
def site():
    with ExitStack() as stack:
        servers = {name: stack.enter_context(library_server(**options)) for name, options in SPEAKERS.items()}
        urls = [started.url for started in servers.values()]
        env = {"SOKKEN_TUNNEL_NAME": "some-tunnel", "SOKKEN_CLIENT_ID": "someone"}
        yield Site(stack.enter_context(client(*urls, env=env)), servers)


@pytest.fixture
def open_tunnel(site):
    """Opens one and gives the application's connection and the library's."""
    with ExitStack() as stack:

        def open_one(speaker="both"):
            near = stack.enter_context(connect(site.entry(speaker)))
            far = site.servers[speaker].next_connection()
            stack.callback(far.close)
            return near, far

        yield open_one


@pytest.mark.parametrize(("speaker", "chosen"), [("v2", V2), ("v1", V1), ("both", V2), ("v1 first", V1)])
def test_the_client_speaks_what_the_server_chooses(open_tunnel, speaker, chosen):
    near, far = open_tunnel(speaker)
    assert far.subprotocol == chosen
    near.sendall(b"question")
    assert far.recv() == b"question"
    far.send(b"answer")
    assert receive_exactly(near, 6) == b"answer"


@pytest.mark.parametrize("speaker", ["none", "foreign"])
def test_the_client_does_not_speak_with_a_server_that_chooses_no_subprotocol_of_its_own(site, speaker):
    meet_reset(site.entry(speaker))
    site.servers[speaker].next_connection()
    server = site.servers[speaker].url
    line = site.client.program.wait_for("connection_failed", server=server, outcome="protocol_error")
    assert "speaks none of sokken.v2, sokken" in line["detail"]


def test_what_the_client_says_of_itself(open_tunnel, site):
    _, far = open_tunnel()
    request = far.request
    assert request.path == "/tunnel/%5B::1%5D:22?some=query"
    headers = request.headers
    assert headers["Host"] == site.servers["both"].url.split("/")[2]
    assert headers["Sec-WebSocket-Protocol"] == f"{V2}, {V1}"
    assert "Sec-WebSocket-Extensions" not in headers
    assert "Origin" not in headers
    assert (headers["Sokken-Client-Id"], headers["Sokken-Tunnel"]) == ("someone", "some-tunnel")
    line = site.client.program.wait_for("connection_opened", connection_id=headers["Sokken-Connection-Id"])
    assert line["target"] == "[::1]:22"


def test_fragments_and_pings_of_the_library(open_tunnel):
    near, far = open_tunnel()
    far.send(b"%d," % number for number in range(100))
    expected = b"".join(b"%d," % number for number in range(100))
    assert receive_exactly(near, len(expected)) == expected
    assert far.ping().wait(PATIENCE)
    assert far.ping(b"x" * 125).wait(PATIENCE)
    far.pong(b"unsolicited")
    near.sendall(b"x")
    assert far.recv() == b"x"


@pytest.mark.parametrize(("speaker", "limit"), [("v2", 512 * 1024), ("v1", 32768)])
def test_megabytes_both_ways_in_messages_of_bounded_size(open_tunnel, speaker, limit):
    up, down = os.urandom(8_000_000), os.urandom(8_000_000)
    near, far = open_tunnel(speaker)
    arrived = []
    threads = [
        threading.Thread(target=near.sendall, args=(up,)),
        threading.Thread(target=lambda: arrived.append(receive_exactly(near, len(down)))),
        threading.Thread(target=lambda: [far.send(down[at : at + 300_000]) for at in range(0, len(down), 300_000)]),
    ]
    for thread in threads:
        thread.start()
    received, sizes = bytearray(), []
    while len(received) < len(up):
        message = far.recv(timeout=PATIENCE)
        sizes.append(len(message))
        received += message
    for thread in threads:
        thread.join()
    assert received == up
    assert arrived == [down]
    assert 16384 < max(sizes) <= limit


def test_half_close_in_both_orders(open_tunnel):
    for first in ("near", "far"):
        near, far = open_tunnel()
        if first == "near":
            near.shutdown(socket.SHUT_WR)
            assert far.recv() == "eof"
            far.send(b"answer")
            far.send("eof")
            assert receive_all(near) == b"answer"
        else:
            far.send("eof")
            assert receive_all(near) == b""
            near.sendall(b"answer")
            assert far.recv() == b"answer"
            near.shutdown(socket.SHUT_WR)
            assert far.recv() == "eof"
        with pytest.raises(ConnectionClosedOK) as caught:
            far.recv()
        assert caught.value.rcvd.code == 1000


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4000])
def test_the_library_closes_early(open_tunnel, code):
    near, far = open_tunnel("v2")
    far.close(code, "enough")
    assert was_reset(near)
    assert far.protocol.close_rcvd.code == code


def test_a_reset_of_the_application_is_told(open_tunnel):
    near, far = open_tunnel()
    far.send(b"x")
    assert receive_exactly(near, 1) == b"x"  # or it could be reset while the client still waits for the answer
    reset(near)
    assert far.recv() == "abort local_reset"
    with pytest.raises(ConnectionClosed) as caught:
        far.recv()
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1011, "local_reset")
