import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from sokken.protocol.address import Address
from sokken.protocol.outcomes import Reason, Refusal
from sokken.transport.http import HttpService, answer_refusal
from sokken.transport.listen import bind
from tests.support.loops import LOOPS, planes, run, soon
from tests.support.raw_http import Answer, exchange, parse_answer, request
from tests.support.targets import connect, receive_all

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
every_loop = pytest.mark.parametrize("loop", LOOPS)

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """A running one; ``/`` is served by the handler that the test gives."""

    def __init__(self, where: tuple[str, int], http: HttpService) -> None:
        self.where = where
        self.http = http

    async def ask(self, data: bytes) -> Answer:
        return await asyncio.to_thread(exchange, self.where, data)


@asynccontextmanager
async def services(handle: Handle):
    app = web.Application()
    app.router.add_get("/", handle)
    async with planes() as plane:
        sockets = bind(Address("127.0.0.1", 0), "API_ADDR")
        http = HttpService(plane, app, sockets)
        await http.start()
        yield Service(sockets[0].getsockname() if sockets else ("", 0), http)
        await http.close()
        await soon(lambda: repr(plane).endswith("entries=0> <Watch sockets=0>>"))


async def ok(_: web.Request) -> web.Response:
    return web.Response(text="ok\n", headers={"Server": "aiohttp/1.2.3"})


def ask_root(*fields: tuple[str, str]) -> bytes:
    return request("/", "GET", "HTTP/1.1", *fields)


def ask(handle: Handle, data: bytes, loop: str) -> tuple[Answer, list[dict]]:
    """The answer to one request, and what was logged."""

    async def main():
        async with services(handle) as service:
            return await service.ask(data)

    with capture_logs() as lines:
        answer = run(main(), loop)
    return answer, lines


@every_loop
def test_an_answer_ends_its_connection_and_tells_no_version(loop):
    answer, lines = ask(ok, ask_root(("Connection", "keep-alive")), loop)
    assert (answer.status, answer.body) == (200, b"ok\n")
    assert (answer.fields["connection"], answer.fields["server"]) == ("close", "sokken")
    assert lines == []


@every_loop
@pytest.mark.parametrize(
    ("reason", "given", "retry_after"),
    [
        (Reason.FORBIDDEN_TARGET, None, None),
        (Reason.SERVER_FULL, None, "1"),
        (Reason.DRAINING, 7, "7"),
        (Reason.TARGET_TIMEOUT, None, None),
    ],
)
def test_a_refusal_is_a_problem(loop, reason, given, retry_after):
    async def refuse(_):
        raise Refusal(reason, "because of this", given)

    answer, lines = ask(refuse, ask_root(("Sokken-Connection-Id", ID)), loop)
    assert (answer.fields["sokken-reason"], answer.problem["detail"]) == (reason, "because of this")
    assert answer.fields.get("retry-after") == retry_after
    assert answer.fields["sokken-connection-id"] == ID
    assert [(line["event"], line["status"], line["connection_id"]) for line in lines] == [
        ("bad_request", answer.status, ID)
    ]


def test_a_refusal_may_be_answered_by_its_handler():
    response = answer_refusal(Refusal(Reason.SERVER_FULL, "full", 3), ID)
    assert (response.status, response.content_type) == (429, "application/problem+json")
    assert {name: response.headers[name] for name in ("Sokken-Reason", "Retry-After", "Sokken-Connection-Id")} == {
        "Sokken-Reason": "server_full",
        "Retry-After": "3",
        "Sokken-Connection-Id": ID,
    }
    assert json.loads(response.body)["detail"] == "full"


@every_loop
@pytest.mark.parametrize(
    ("data", "status", "allow"),
    [
        (request("/nothing"), 404, None),
        (request("/nothing?token=s3cr3t"), 404, None),
        (request("http://me:s3cr3t@server.test/nothing"), 404, None),
        (request("/", "POST"), 405, "GET,HEAD"),
        (request("/" + "x" * 5000), 404, None),
        (request("/", "GET", "HTTP/1.1", ("Host", "a"), ("Host", "b")), 400, None),
        (request("/", "GET", "HTTP/1.1", ("X", "a\x01b")), 400, None),
        (request("/", "GET", "HTTP/1.1", ("Content-Length", "1")), 400, None),
    ],
)
def test_what_never_reaches_a_handler_is_a_problem_too(loop, data, status, allow):
    answer, lines = ask(ok, data, loop)
    assert answer.status == status
    assert len(answer.problem["detail"]) < 200
    assert "s3cr3t" not in answer.problem["detail"] + str(lines)
    assert answer.fields.get("allow") == allow
    assert (answer.fields["connection"], answer.fields["server"]) == ("close", "sokken")
    assert [(line["event"], line["log_level"], line["status"]) for line in lines] == [
        ("bad_request", "warning", status)
    ]


class Fault(Exception):
    pass


@every_loop
@pytest.mark.parametrize("fault", [Fault("a bug"), TimeoutError("a bug"), ConnectionRefusedError("a bug")])
def test_a_fault_is_answered_and_told_with_its_traceback(loop, fault):
    async def fail(_):
        raise fault

    answer, lines = ask(fail, ask_root(("Sokken-Connection-Id", ID), ("Accept", "text/html")), loop)
    assert (answer.status, answer.fields["content-type"]) == (500, "application/problem+json")
    assert json.loads(answer.body) == {"type": "about:blank", "title": "Internal Server Error", "status": 500}
    assert "sokken-reason" not in answer.fields  # so that a client tries again
    assert (answer.fields["connection"], answer.fields["server"]) == ("close", "sokken")
    assert answer.fields["sokken-connection-id"] == ID
    [line] = lines
    assert line["exc_info"] is fault
    assert re.fullmatch(r"127\.0\.0\.1:\d+", line["peer"])
    told = {name: line[name] for name in ("event", "log_level", "connection_id", "method", "path")}
    assert told == {
        "event": "request_failed",
        "log_level": "error",
        "connection_id": ID,
        "method": "GET",
        "path": "/",
    }


@every_loop
def test_a_handler_whose_client_has_only_said_all_goes_on(loop):
    async def answer_later(_):
        await asyncio.sleep(0.05)
        return web.Response(text="later")

    async def main():
        async with services(answer_later) as service:
            answer = await asyncio.to_thread(exchange, service.where, ask_root(), end=True)
            assert (answer.status, answer.body) == (200, b"later")

    run(main(), loop)


@every_loop
def test_closing_waits_for_what_is_being_answered(loop):
    async def answer_later(_):
        await asyncio.sleep(0.1)
        return web.Response(text="later")

    async def main():
        async with services(answer_later) as service:
            sock = connect(service.where)
            sock.sendall(ask_root())
            await asyncio.sleep(0.05)
            closing = asyncio.ensure_future(service.http.close())
            assert parse_answer(await asyncio.to_thread(receive_all, sock)).body == b"later"
            sock.close()
            await closing
            with pytest.raises(ConnectionRefusedError):
                connect(service.where)

    run(main(), loop)


@every_loop
def test_requests_are_answered_side_by_side(loop):
    arrived = []

    async def meet(_):
        arrived.append(1)
        while len(arrived) < 20:
            await asyncio.sleep(0.001)
        return web.Response(text="met")

    async def main():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(20))
        async with services(meet) as service:
            answers = await asyncio.gather(*[service.ask(ask_root()) for _ in range(20)])
            assert [answer.body for answer in answers] == [b"met"] * 20

    run(main(), loop)
