"""Those who watch: what they get, how many there may be, and what becomes of one who does not read."""

import asyncio
import json
import socket

import pytest

from sokken.admin.events import MOST_WATCHERS
from sokken.transport import upgrade
from sokken.transport.connections import Connections
from tests.support.admin import TOKEN, admit, bearer, sites
from tests.support.loops import LOOPS, run, soon
from tests.support.raw_http import parse_answer, request
from tests.support.targets import PATIENCE, connect

every_loop = pytest.mark.parametrize("loop", LOOPS)


def watch(site, *fields, path="/events", receive_buffer=None):
    sock = socket.socket()
    sock.settimeout(PATIENCE)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.connect(site.where)
    sock.sendall(request(path, "GET", "HTTP/1.1", ("Host", "localhost"), *fields))
    return sock


def events(data: bytes):
    """What was told so far, out of the chunks of HTTP."""
    body = data.partition(b"\r\n\r\n")[2]
    text, rest = b"", body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        text, rest = text + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return [json.loads(event.removeprefix("data: ")) for event in text.decode().split("\n\n") if event]


async def receive(sock, count):
    """The head and that many events."""
    data = b""
    while data.count(b"data: ") < count or not data.endswith(b"\n\n\r\n"):
        part = await asyncio.to_thread(sock.recv, 65536)
        assert part, data
        data += part
    return data


@every_loop
def test_a_watcher_is_told_once_a_tick(loop):
    async def main():
        connections = Connections(100)
        one = admit(connections, 1000)
        async with sites(connections=connections) as site:
            with watch(site, path="/events?sort=age&limit=1") as sock:
                first = await receive(sock, 1)
                one.relay.bytes_in += 1_000_000
                return first, await receive(sock, 1)

    first, then = run(main(), loop)
    head = first.partition(b"\r\n\r\n")[0].decode().lower()
    assert "200 ok" in head
    assert "content-type: text/event-stream" in head
    assert "server: sokken\r\n" in head + "\r\n"
    assert "connection: close" in head
    [told] = events(first)
    [later] = events(b"\r\n\r\n" + then)
    assert (told["status"]["role"], told["list"]["limit"], told["list"]["sort"]) == ("server", 1, "age")
    assert later["list"]["connections"][0]["rate_up"] == pytest.approx(1e6, rel=0.2)
    assert later["status"]["connections"]["rate_up"] == pytest.approx(1e6, rel=0.2)


@every_loop
def test_there_are_only_so_many(loop):
    async def main():
        async with sites() as site:
            socks = [watch(site) for _ in range(MOST_WATCHERS)]
            for sock in socks:
                await receive(sock, 1)
            refused = await site.ask("/events")
            socks.pop().close()  # one place becomes free, as soon as it is noticed
            last = None
            while last is None:
                with watch(site) as sock:
                    data = await asyncio.to_thread(sock.recv, 65536)
                    last = data if b" 200 " in data else None
                await asyncio.sleep(0.1)
            for sock in socks:
                sock.close()
            return refused

    refused = run(main(), loop)
    assert (refused.status, refused.problem["reason"], refused.fields["retry-after"]) == (429, "rate_limited", "5")


@every_loop
def test_the_programs_end_is_a_clean_end_for_all(loop):
    async def main():
        async with sites() as site:
            with watch(site) as sock:
                data = await receive(sock, 1)
                await site.http.close()
                while part := await asyncio.to_thread(sock.recv, 65536):
                    data += part
                return data

    assert run(main(), loop).endswith(b"0\r\n\r\n")


@every_loop
def test_one_who_does_not_read_is_cut_off_and_holds_up_nobody(loop, monkeypatch):
    monkeypatch.setattr(upgrade, "ANSWER_SECONDS", 1.0)
    told = [{"variable": "X" * 200, "value": "y" * 5000, "given": True}]

    async def main():
        connections = Connections(1000)
        for number in range(500):
            admit(connections, number, client_id="c" * 5000)  # ticks of 2 MB and more
        async with sites(connections=connections, settings=told) as site:
            with watch(site, path="/events?limit=500", receive_buffer=4096) as lazy, watch(site) as keen:
                await receive(keen, 1)
                watching = await receive(keen, 2)
                await soon(lambda: "reset" if was_reset(lazy) else None)
                return len(events(b"\r\n\r\n" + watching))

    assert run(main(), loop) >= 2


def was_reset(sock) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))


def test_a_token_that_is_replaced_ends_the_stream(tmp_path):
    (tmp_path / "token").write_text(TOKEN)

    async def main():
        async with sites(tmp_path / "token") as site:
            with watch(site, bearer()) as sock:
                data = await receive(sock, 1)
                (tmp_path / "token").write_text("another-token-of-some-length")
                while part := await asyncio.to_thread(sock.recv, 65536):
                    data += part
            return data, (await site.ask("/events", bearer())).status

    data, status = run(main())
    assert (data.endswith(b"0\r\n\r\n"), status) == (True, 401)


def test_a_malformed_query_is_answered_before_anything_is_streamed():
    async def main():
        async with sites() as site:
            with connect(site.where) as sock:
                sock.sendall(request("/events?sort=x", "GET", "HTTP/1.1", ("Host", "localhost")))
                data = b""
                while part := await asyncio.to_thread(sock.recv, 65536):
                    data += part
            return parse_answer(data)

    assert run(main()).status == 400
