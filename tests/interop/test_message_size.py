"""SOKKEN_MAX_MESSAGE_BYTES: for gateways that end a connection over a larger message, as the library does here."""

import os
import threading
from contextlib import ExitStack

import pytest
from websockets.sync.client import connect as connect_library

from tests.support.ends import client_end, listening
from tests.support.programs import server
from tests.support.targets import receive_exactly

LIMIT = 1500
CAPPED = {"SOKKEN_MAX_MESSAGE_BYTES": str(LIMIT)}
PAYLOAD = os.urandom(300_000)
SUBPROTOCOLS = pytest.mark.parametrize("subprotocol", ["sokken.v2", "sokken"])


@pytest.fixture(scope="module")
def capped_server():
    with ExitStack() as stack:
        target = stack.enter_context(listening())
        yield target, stack.enter_context(server(target.address, env=CAPPED))


@pytest.fixture(scope="module")
def capped_client():
    with client_end(CAPPED) as end:
        yield end


@pytest.fixture
def end(capped_client):
    yield capped_client
    capped_client.release()


@SUBPROTOCOLS
def test_the_server_sends_no_larger_message(capped_server, subprotocol):
    target, far = capped_server
    url = far.url(target.address)
    with connect_library(url, subprotocols=[subprotocol], proxy=None, max_size=LIMIT) as near, target.accept() as sock:
        writer = threading.Thread(target=sock.sendall, args=(PAYLOAD,))
        writer.start()
        received = bytearray()
        while len(received) < len(PAYLOAD):
            received += near.recv(timeout=20)
        writer.join()
        assert received == PAYLOAD
        near.send(PAYLOAD)  # what it takes is not limited
        assert receive_exactly(sock, len(PAYLOAD)) == PAYLOAD


@SUBPROTOCOLS
def test_the_client_sends_no_larger_message(end, subprotocol):
    tunnel = end.open(subprotocol)
    writer = threading.Thread(target=tunnel.local.sendall, args=(PAYLOAD,))
    writer.start()
    received = bytearray()
    while len(received) < len(PAYLOAD):
        message = tunnel.wire.receive()
        assert len(message.payload) <= LIMIT
        received += message.payload
    writer.join()
    assert received == PAYLOAD
