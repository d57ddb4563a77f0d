"""That the double keeps the original's rules: without this, working with the double would say nothing."""

import contextlib
import os
import select
import socket
from contextlib import ExitStack

import pytest

from tests.support.ends import listening
from tests.support.fake_server import fake_server
from tests.support.original import original_client, original_server
from tests.support.programs import join
from tests.support.targets import connect, receive_all, receive_exactly, reset, wait_until_writable_stalls
from tests.support.wire import BINARY, CONTINUATION, PING, PONG, TEXT, accept_tunnel, open_tunnel, receive_head

PATIENCE = 0.5  # seconds; the original has 5


@pytest.fixture(scope="module")
def site():
    with ExitStack() as stack:
        target = stack.enter_context(listening())
        with listening() as absent:
            pass
        server = stack.enter_context(original_server(join(target.address), join(absent.address), patience=PATIENCE))
        fake = stack.enter_context(fake_server())
        client = stack.enter_context(original_client(fake.url("/tunnel/some:1"), patience=PATIENCE))
        yield {"target": target, "absent": absent, "server": server, "fake": fake, "client": client}


@pytest.fixture
def ask(site):
    """Ask the server for a tunnel; gives the answer's head and the WebSocket."""
    with ExitStack() as stack:

        def ask_for(target, subprotocol="sokken"):
            answer, wire = open_tunnel(site["server"].address, f"/tunnel/{target}", subprotocol)
            stack.enter_context(wire)
            return answer, wire

        yield ask_for


@pytest.fixture(params=["server", "client"])
def opened(request, site, ask):
    """A WebSocket of the double's, by hand, and its local side."""
    with ExitStack() as stack:
        if request.param == "server":
            answer, wire = ask(join(site["target"].address), "sokken.v2, sokken")
            assert answer.fields["sec-websocket-protocol"] == "sokken"
            yield wire, stack.enter_context(site["target"].accept())
        else:
            local = stack.enter_context(connect(site["client"].address))
            head = site["fake"].next_request()
            assert head.fields["sec-websocket-protocol"] == "sokken"
            assert head.fields["sec-websocket-extensions"].startswith("permessage-deflate")
            yield stack.enter_context(accept_tunnel(head, "sokken")), local


def ends(sock):
    """Read to the end of a connection, in order or not."""
    with contextlib.suppress(ConnectionResetError):
        while sock.recv(65536):
            pass
    return True


def test_a_target_that_is_not_allowed_is_told_after_the_upgrade(ask):
    answer, wire = ask("127.0.0.1:1")
    assert answer.status == 101
    received = wire.receive()
    assert (received.code, received.payload[2:]) == (1011, b"target address not allowed")


@pytest.mark.parametrize("offered", [None, "sokken.v2", "chat"])
def test_without_its_subprotocol_it_closes_after_the_upgrade(site, ask, offered):
    answer, wire = ask(join(site["target"].address), offered)
    assert answer.status == 101
    assert "sec-websocket-protocol" not in answer.fields
    assert wire.receive().code == 1008


def test_a_target_that_refuses_is_silence(site, ask):
    answer, wire = ask(join(site["absent"].address))
    assert answer.status == 101
    wire.send(PING, b"anybody?")
    wire.send_close(1000)
    wire.sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        wire.receive()


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_request_without_upgrade_is_426(site, method):
    with connect(site["server"].address) as sock:
        sock.sendall(f"{method} /tunnel/{join(site['target'].address)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert receive_head(sock).status == 426


def test_a_full_one_says_429_and_nothing_more(site):
    with original_server(join(site["target"].address), max_connections=1, patience=PATIENCE) as server:
        path = f"/tunnel/{join(site['target'].address)}"
        _, first = open_tunnel(server.address, path, "sokken")
        with first, site["target"].accept() as local:
            first.send(BINARY, b"x")
            assert local.recv(1) == b"x"  # from here on it counts
            answer, second = open_tunnel(server.address, path, "sokken")
            second.sock.close()
    assert answer.status == 429
    assert "retry-after" not in answer.fields


def test_a_message_per_read_of_at_most_32_kib(opened):
    wire, local = opened
    payload = os.urandom(200_000)
    local.sendall(payload)
    received, sizes = b"", []
    while len(received) < len(payload):
        message = wire.receive()
        assert message.opcode == BINARY
        sizes.append(len(message.payload))
        received += message.payload
    assert received == payload
    assert max(sizes) <= 32768


def test_a_message_of_32_kib_is_taken(opened):
    wire, local = opened
    payload = os.urandom(32768)
    wire.send(BINARY, payload)
    assert receive_exactly(local, 32768) == payload
    wire.send(BINARY, payload[:30_000], fin=False)
    wire.send(CONTINUATION, payload[30_000:])
    assert receive_exactly(local, 32768) == payload


@pytest.mark.parametrize("parts", [1, 2])
def test_a_larger_message_ends_the_connection(opened, parts):
    wire, local = opened
    if parts == 1:
        wire.send(BINARY, bytes(32769))
    else:
        wire.send(BINARY, bytes(30_000), fin=False)
        wire.send(CONTINUATION, bytes(2769))
    assert wire.receive().code == 1009
    assert ends(local)


def test_text_ends_the_connection(opened):
    wire, local = opened
    wire.send(TEXT, b"eof")
    assert wire.receive().code == 1003
    wire.send_close(1003)
    assert ends(local)


def test_a_ping_is_answered(opened):
    wire, _ = opened
    wire.send(PING, b"payload")
    received = wire.receive()
    assert (received.opcode, received.payload) == (PONG, b"payload")


@pytest.mark.parametrize("code", [1000, 1001, 1011, None])
def test_every_close_is_an_end_of_the_local_side(opened, code):
    wire, local = opened
    wire.send(BINARY, b"last words")
    wire.send_close(code)
    assert receive_all(local) == b"last words"
    assert wire.receive().code == code


def test_so_is_an_end_without_close(opened):
    wire, local = opened
    wire.send(BINARY, b"last words")
    wire.sock.shutdown(socket.SHUT_WR)
    assert receive_all(local) == b"last words"


def test_the_end_of_the_local_side_ends_both_directions(opened):
    wire, local = opened
    local.sendall(b"last words")
    local.shutdown(socket.SHUT_WR)
    assert wire.receive_bytes(10) == b"last words"
    assert wire.receive().code == 1000
    wire.send(BINARY, b"too late")
    assert receive_all(local) == b""
    wire.send_close(1000)
    assert ends(wire.sock)


def test_a_reset_of_the_local_side_looks_like_its_end(opened):
    wire, local = opened
    local.sendall(b"x")
    assert wire.receive_bytes(1) == b"x"
    reset(local)
    assert wire.receive().code == 1000


def test_a_ping_that_cannot_be_answered_ends_the_connection(opened):
    wire, local = opened
    with contextlib.suppress(ConnectionError):
        while not select.select([local], [], [], 0.1)[0]:  # until it ends, though nobody has ended it
            wait_until_writable_stalls(local, seconds=0.2)
            wire.send(PING, b"are you there?")
        assert ends(local)
