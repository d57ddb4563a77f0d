"""The `websockets` library as a client of a real server."""

import os
import socket
import struct
import threading
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from tests.support.ends import Listening, listening
from tests.support.programs import Server, join, server
from tests.support.targets import receive_all, receive_exactly, was_reset

V2, V1 = "sokken.v2", "sokken"


@dataclass
class Site:
    """A server with a base path, a target on IPv4 and one on IPv6, and one that is allowed but not there."""

    server: Server
    targets: dict[str, Listening]
    absent: tuple[str, int]

    def url(self, path, base="/deep/base"):
        return f"ws://{join(self.server.api)}{base}/tunnel/{path}"

    def address(self, host="127.0.0.1"):
        return self.targets[host].address


@pytest.fixture(scope="module")
def site():
    with ExitStack() as stack:
        targets = {host: stack.enter_context(listening(host)) for host in ("127.0.0.1", "::1")}
        with listening() as absent:
            allowed = [target.address for target in (*targets.values(), absent)]
        program = stack.enter_context(server(*allowed, env={"SOKKEN_BASE_PATH": "/deep/base"}))
        yield Site(program, targets, allowed[-1])


@pytest.fixture
def open_tunnel(site):
    """Opens one and gives the library's connection and the target's; ``path`` is what follows /tunnel/."""
    with ExitStack() as stack:

        def open_one(subprotocols=(V2, V1), host="127.0.0.1", path=None, **options):
            target = site.targets[host]
            url = site.url(join(target.address) if path is None else path)
            near = stack.enter_context(connect(url, subprotocols=subprotocols, proxy=None, **options))
            return near, stack.enter_context(target.accept())

        yield open_one


def refusal(open_tunnel, **options):
    """The answer to a request that opens no tunnel."""
    with pytest.raises(InvalidStatus) as caught:
        open_tunnel(**options)
    return caught.value.response


def assert_carries(near, far):
    near.send(b"to the target")
    assert receive_exactly(far, 13) == b"to the target"
    far.sendall(b"to the application")
    assert near.recv() == b"to the application"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([V2], V2),
        ([V1], V1),
        ([V2, V1], V2),
        ([V1, V2], V2),
        (["chat", V1, "superchat"], V1),
        (["chat", V2], V2),
    ],
)
def test_the_server_takes_the_best_of_its_subprotocols(open_tunnel, offered, chosen):
    near, far = open_tunnel(subprotocols=offered)
    assert near.subprotocol == chosen
    assert_carries(near, far)


@pytest.mark.parametrize("offered", [None, ["chat"], ["chat", "sokken.v3"], ["Sokken"], ["sokken.v"]])
def test_without_a_subprotocol_of_its_own_the_server_refuses(open_tunnel, site, offered):
    answer = refusal(open_tunnel, subprotocols=offered)
    assert answer.status_code == 400
    assert answer.headers["Sokken-Reason"] == "bad_request"
    assert not site.targets["127.0.0.1"].has_waiting()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("quote", ["", ":", ":[]", "everything"])
def test_targets_may_be_percent_encoded(open_tunnel, site, host, quote):
    plain = join(site.address(host))
    path = "".join(f"%{ord(c):02X}" if quote == "everything" or c in quote else c for c in plain)
    assert_carries(*open_tunnel(host=host, path=path))


@pytest.mark.parametrize("written", ["[0:0:0:0:0:0:0:1]", "[::0001]", "%5B0::1%5d"])
def test_an_address_is_the_same_however_it_is_written(open_tunnel, site, written):
    assert_carries(*open_tunnel(host="::1", path=f"{written}:{site.address('::1')[1]}"))


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("127.0.0.1:1", 403, "forbidden_target"),
        ("localhost:{port}", 403, "forbidden_target"),
        ("127.0.0.1:{port}/", 400, "bad_request"),
        ("127.0.0.1", 400, "bad_request"),
        ("127.0.0.1%253A{port}", 400, "bad_request"),  # decoded once, as proxies in between do
        ("127.0.0.1:%FF", 400, "bad_request"),
        ("127.0.0.1%00:{port}", 400, "bad_request"),
        ("", 400, "bad_request"),
    ],
)
def test_what_is_no_allowed_target_is_refused(open_tunnel, site, path, status, reason):
    port = site.address()[1]
    answer = refusal(open_tunnel, path=path.format(port=port))
    assert (answer.status_code, answer.headers["Sokken-Reason"]) == (status, reason)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_the_base_path_is_required(site):
    with pytest.raises(InvalidStatus) as caught:
        connect(site.url(join(site.address()), base=""), subprotocols=[V2], proxy=None)
    assert caught.value.response.status_code == 404
    assert caught.value.response.headers["Sokken-Reason"] == "not_found"


def test_extensions_are_declined(open_tunnel):
    near, far = open_tunnel(compression="deflate")
    assert near.request.headers["Sec-WebSocket-Extensions"].startswith("permessage-deflate")
    assert "Sec-WebSocket-Extensions" not in near.response.headers
    near.send(bytes(100_000))
    assert receive_exactly(far, 100_000) == bytes(100_000)


def test_a_page_is_refused(open_tunnel):
    answer = refusal(open_tunnel, origin="https://page.example")
    assert (answer.status_code, answer.headers["Sokken-Reason"]) == (403, "forbidden_origin")


def test_claims_are_logged_and_the_connection_id_is_shared(open_tunnel, site):
    connection_id = "01a20705-033a-75d6-829b-7b26cfedd1d1"
    claims = {"Sokken-Client-Id": "someone", "Sokken-Tunnel": "some-tunnel", "Sokken-Connection-Id": connection_id}
    near, far = open_tunnel(additional_headers=claims)
    assert near.response.headers["Sokken-Connection-Id"] == connection_id
    assert_carries(near, far)
    opened = site.server.program.wait_for("connection_opened", connection_id=connection_id)
    assert (opened["client_id"], opened["tunnel"]) == ("someone", "some-tunnel")


@pytest.mark.parametrize("subprotocol", [V2, V1])
def test_fragments_and_pings_of_the_library(open_tunnel, subprotocol):
    near, far = open_tunnel(subprotocols=[subprotocol])
    near.send(b"%d," % number for number in range(100))
    expected = b"".join(b"%d," % number for number in range(100))
    assert receive_exactly(far, len(expected)) == expected
    assert near.ping().wait(10)
    assert near.ping(b"x" * 125).wait(10)
    near.pong(b"unsolicited")
    assert_carries(near, far)


@pytest.mark.parametrize(("subprotocol", "limit"), [(V2, 512 * 1024), (V1, 32768)])
def test_megabytes_both_ways_in_messages_of_bounded_size(open_tunnel, subprotocol, limit):
    up, down = os.urandom(8_000_000), os.urandom(8_000_000)
    near, far = open_tunnel(subprotocols=[subprotocol], max_size=limit)
    sizes = []

    def send_both():
        far.sendall(down)

    def send_up():
        for start in range(0, len(up), 300_000):
            near.send(up[start : start + 300_000])

    received = bytearray()
    arrived = []
    threads = [
        threading.Thread(target=send_both),
        threading.Thread(target=send_up),
        threading.Thread(target=lambda: arrived.append(receive_exactly(far, len(up)))),
    ]
    for thread in threads:
        thread.start()
    while len(received) < len(down):
        message = near.recv(timeout=20)
        sizes.append(len(message))
        received += message
    for thread in threads:
        thread.join()
    assert received == down
    assert arrived == [up]
    assert max(sizes) <= limit
    assert max(sizes) > 16384  # large reads make large messages


def test_half_close_in_both_orders(open_tunnel):
    for first in ("near", "far"):
        near, far = open_tunnel()
        if first == "near":
            near.send("eof")
            assert receive_all(far) == b""
            far.sendall(b"answer")
            assert near.recv() == b"answer"
            far.shutdown(socket.SHUT_WR)
            assert near.recv() == "eof"
        else:
            far.shutdown(socket.SHUT_WR)
            assert near.recv() == "eof"
            near.send(b"answer")
            near.send("eof")
            assert receive_all(far) == b"answer"
        with pytest.raises(ConnectionClosedOK) as caught:
            near.recv()
        assert caught.value.rcvd.code == 1000


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4000])
def test_the_library_closes_early(open_tunnel, code):
    near, far = open_tunnel()
    near.close(code, "enough")
    assert was_reset(far)
    assert near.protocol.close_rcvd.code == code


def test_a_reset_of_the_target_is_told(open_tunnel):
    near, far = open_tunnel()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    assert near.recv() == "abort local_reset"
    with pytest.raises(ConnectionClosed) as caught:
        near.recv()
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1011, "local_reset")


def test_a_target_that_is_not_there_is_a_refusal(open_tunnel, site):
    answer = refusal(open_tunnel, path=join(site.absent))
    assert (answer.status_code, answer.headers["Sokken-Reason"]) == (502, "target_refused")
