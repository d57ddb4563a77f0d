import asyncio
import contextlib
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from sokken.client.connect import Connector
from sokken.client.forward import Forwarder
from sokken.protocol.address import parse_forward
from sokken.transport.connections import Connections
from sokken.transport.listen import Listener, bind
from sokken.transport.plane import Plane
from tests.support.fake_server import FakeServer, answer, fake_server
from tests.support.loops import LOOPS, planes, run, soon
from tests.support.settings import client_settings
from tests.support.targets import connect, reset, was_reset
from tests.support.wire import BINARY, CLOSE, TEXT, accept_tunnel, format_head

pytestmark = pytest.mark.parametrize("loop", LOOPS)


class Forwarding:
    """A forward that runs, toward a server that is the test's."""

    def __init__(self, plane: Plane, url: str, limit: int, tasks: asyncio.TaskGroup, connector=None) -> None:
        self.connections = Connections(limit)
        self.forward = parse_forward(f"ssh=127.0.0.1:0={url}")
        settings = client_settings()
        forwarder = Forwarder(
            self.forward, plane, settings, connector or Connector(plane, settings), self.connections, tasks
        )
        sockets = bind(self.forward.listen, "forward ssh")
        self.entry = sockets[0].getsockname()
        self.listener = Listener(plane.loop, sockets, forwarder.accept)


@asynccontextmanager
async def forwarding(fake: FakeServer, limit: int = 10, connector=None):
    async with planes(masks=True) as plane, asyncio.TaskGroup() as tasks:
        forward = Forwarding(plane, fake.url("/tunnel/db.test:5432"), limit, tasks, connector)
        yield forward
        forward.listener.close()
        await soon(lambda: len(forward.connections) == 0)


def lines_of(main, loop, *events: str) -> list[dict]:
    with capture_logs() as lines:
        run(main, loop)
    return [line for line in lines if line["event"] in events]


ALL = ("connection_opened", "connection_closed", "connection_failed")


def test_a_connection_is_tunnelled_and_told(loop):
    async def main(fake):
        async with forwarding(fake) as forward:
            with connect(forward.entry) as app:
                app.sendall(b"waits for its tunnel")
                wire = accept_tunnel(await asyncio.to_thread(fake.next_request), tail=b"\x82\x05hello")
                assert await asyncio.to_thread(wire.receive_bytes, 20) == b"waits for its tunnel"
                assert await asyncio.to_thread(app.recv, 5) == b"hello"
                wire.send(TEXT, b"abort local_reset")
                assert (await asyncio.to_thread(wire.receive)).code == 1011
                wire.sock.close()
                assert await asyncio.to_thread(was_reset, app)

    with fake_server() as fake:
        opened, closed = lines_of(main(fake), loop, *ALL)
        url = fake.url("/tunnel/db.test:5432")
    for line in (opened, closed):
        assert line["connection_id"] == opened["connection_id"]
        assert (line["client_id"], line["forward"], line["server"]) == ("machine-a", "ssh", url)
        assert str(line["target"]) == "db.test:5432"
        assert line["peer"].startswith("127.0.0.1:")
    assert (closed["bytes_up"], closed["bytes_down"], closed["outcome"]) == (20, 5, "peer_reset")


def test_one_too_many_is_reset_and_told_and_the_others_go_on(loop):
    async def main(fake):
        async with forwarding(fake, limit=1) as forward:
            with connect(forward.entry) as first:
                wire = accept_tunnel(await asyncio.to_thread(fake.next_request))
                for _ in range(3):
                    with contextlib.suppress(ConnectionResetError), connect(forward.entry) as other:
                        assert await asyncio.to_thread(was_reset, other)
                first.sendall(b"still here")
                assert await asyncio.to_thread(wire.receive_bytes, 10) == b"still here"
                assert len(forward.connections) == 1
                reset(first)
                assert (await asyncio.to_thread(wire.receive)).payload == b"abort local_reset"
                wire.sock.close()

    with fake_server() as fake:
        failed = lines_of(main(fake), loop, "connection_failed")
    assert [(line["outcome"], line["detail"], line["log_level"]) for line in failed] == [
        ("client_full", "all 1 connections are in use", "warning")
    ] * 3
    assert {line["forward"] for line in failed} == {"ssh"}


def test_a_refusal_resets_the_application_and_says_why(loop):
    said = format_head("HTTP/1.1 502 Bad Gateway", {"Sokken-Reason": "target_refused", "Content-Length": "0"})

    async def main(fake):
        async with forwarding(fake) as forward:
            with connect(forward.entry) as app:
                assert await asyncio.to_thread(was_reset, app)

    with fake_server(lambda request: answer(request, said)) as fake:
        [line] = lines_of(main(fake), loop, *ALL)
    assert (line["event"], line["outcome"]) == ("connection_failed", "target_refused")
    assert line["detail"] == "the server answered 502 target_refused"


@pytest.mark.parametrize("unread", [b"", b"sent and given up"])
def test_an_application_that_resets_is_not_connected_for(loop, unread):
    async def main(fake):
        async with forwarding(fake) as forward:
            app = connect(forward.entry)
            app.sendall(unread)
            request = await asyncio.to_thread(fake.next_request)
            reset(app)
            await soon(lambda: len(forward.connections) == 0, seconds=5)
            assert await asyncio.to_thread(was_reset, request.sock)

    with fake_server() as fake:
        [line] = lines_of(main(fake), loop, *ALL)
    assert (line["outcome"], line["detail"]) == (
        "local_gave_up",
        "the application reset its connection while it waited",
    )


def test_an_application_that_has_said_all_is_still_connected_for(loop):
    async def main(fake):
        async with forwarding(fake) as forward:
            with connect(forward.entry) as app:
                app.sendall(b"all")
                app.shutdown(1)
                await asyncio.sleep(0.05)
                wire = accept_tunnel(await asyncio.to_thread(fake.next_request))
                assert await asyncio.to_thread(wire.receive_bytes, 3) == b"all"
                assert (await asyncio.to_thread(wire.receive)).payload == b"eof"
                wire.send(BINARY, b"answer")
                wire.send(TEXT, b"eof")
                told = await asyncio.to_thread(wire.receive)
                assert (told.opcode, told.code) == (CLOSE, 1000)
                wire.send_close(1000)
                wire.sock.close()
                assert await asyncio.to_thread(app.recv, 100) == b"answer"
                assert await asyncio.to_thread(app.recv, 100) == b""

    with fake_server() as fake:
        assert [line["event"] for line in lines_of(main(fake), loop, *ALL)] == [
            "connection_opened",
            "connection_closed",
        ]


def test_at_the_end_of_a_drain_who_still_waits_is_reset(loop):
    async def main(fake):
        async with forwarding(fake) as forward:
            with connect(forward.entry) as app:
                await asyncio.to_thread(fake.next_request)
                forward.connections.end_drain()
                assert await asyncio.to_thread(was_reset, app)

    with fake_server() as fake:
        [line] = lines_of(main(fake), loop, *ALL)
    assert (line["outcome"], line["detail"]) == ("drain_deadline", "the client is ending")


def test_a_tunnel_that_opens_while_the_client_drains_tells_its_server(loop):
    async def main(fake):
        async with forwarding(fake) as forward:
            with connect(forward.entry) as app:
                request = await asyncio.to_thread(fake.next_request)
                forward.connections.go_away()
                wire = accept_tunnel(request)
                assert (await asyncio.to_thread(wire.receive)).payload == b"goaway"
                reset(app)
                assert (await asyncio.to_thread(wire.receive)).payload == b"abort local_reset"
                wire.sock.close()

    with fake_server() as fake:
        lines_of(main(fake), loop)


def test_a_fault_costs_one_connection_and_is_told_with_its_traceback(loop):
    class Faulty:
        async def open(self, url, connection_id):
            raise RuntimeError("a bug")

    async def main(fake):
        async with forwarding(fake, connector=Faulty()) as forward:
            for _ in range(2):
                with connect(forward.entry) as app:
                    assert await asyncio.to_thread(was_reset, app)

    with fake_server() as fake:
        lines = lines_of(main(fake), loop, *ALL)
    assert [(line["outcome"], line["log_level"], bool(line["exc_info"])) for line in lines] == [
        ("internal_error", "error", True)
    ] * 2
