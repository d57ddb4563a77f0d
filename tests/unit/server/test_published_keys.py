"""Keys from a URL: fetched as the settings say, kept while the issuer is away, and never fetched too often."""

import asyncio
import base64
import json
import select
import socket
import ssl
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace

import pytest
from aiohttp import web

from sokken.protocol.credentials import Unproven
from sokken.protocol.proxy import parse_exemption, parse_proxy
from sokken.server import published_keys
from sokken.server.published_keys import open_published_keys
from tests.support.certificates import Authority
from tests.support.targets import PATIENCE, target
from tests.support.tokens import Issuer
from tests.support.wire import receive_head

issuer = Issuer("ec", "ed")


@pytest.fixture
def said(monkeypatch):
    lines = []

    class Log:
        def info(self, event, **fields):
            lines.append(fields)

        error = info

    monkeypatch.setattr(published_keys, "log", Log())
    return lines


class Jwks:
    """What is answered, and what was asked."""

    def __init__(self):
        self.status = 200
        self.body = json.dumps(issuer.jwks())
        self.requests = []
        self.patience = 0

    async def answer(self, request):
        self.requests.append(request)
        await asyncio.sleep(self.patience)
        headers = {"Location": "/elsewhere"} if self.status == 302 else {}
        response = web.Response(status=self.status, text=self.body, headers=headers)
        response.enable_compression()  # for who says that it can be undone
        return response


@asynccontextmanager
async def published(certificate=None):
    jwks = Jwks()
    app = web.Application()
    app.router.add_get("/jwks", jwks.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    scheme = "http" if certificate is None else "https"
    try:
        yield jwks, f"{scheme}://127.0.0.1:{runner.addresses[0][1]}/jwks"
    finally:
        await runner.cleanup()


def test_keys_are_fetched_over_tls_with_a_token(tmp_path, said):
    authority = Authority(tmp_path)
    (tmp_path / "token").write_text("s3cr3t\n")

    async def main():
        async with published(authority.issue("IP:127.0.0.1")) as (jwks, url):
            keys = open_published_keys(url, authority.file, tmp_path / "token")
            with pytest.raises(Unproven):
                keys.known()
            await keys.refresh()
            assert [key.id for key in keys.known()] == ["ec", "ed"]
            assert jwks.requests[0].headers["Authorization"] == "Bearer s3cr3t"
            stranger = open_published_keys(url, None, None)
            await stranger.refresh()
            assert not stranger.has_keys
            assert "certificate verify failed" in stranger.problem

    asyncio.run(main())
    assert [line["result"] for line in said] == ["loaded", "unavailable"]
    assert "s3cr3t" not in str(said)


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (500, "", "it answers 500"),
        (302, "", "it answers 302"),
        (200, "", 'it is no JWK Set, which is JSON: {"keys": [...]}'),
        (200, '{"keys": []}', "it holds no public key for RS, ES or EdDSA signatures"),
        (200, "[" * 100_000, 'it is no JWK Set, which is JSON: {"keys": [...]}'),
        (200, " " * (published_keys.MAX_BYTES + 1), "its answer has more than 1048576 bytes"),
    ],
)
def test_the_last_good_ones_stay(status, body, problem, said, monkeypatch):
    monkeypatch.setattr(published_keys, "LEAST_SECONDS", 0)

    async def main():
        async with published() as (jwks, url):
            keys = open_published_keys(url, None, None)
            await keys.refresh()
            jwks.status, jwks.body = status, body
            await keys.refresh()
            await keys.refresh()
            assert [key.id for key in keys.known()] == ["ec", "ed"]
            assert keys.problem == f"{url}: {problem}"
            jwks.status, jwks.body = 200, json.dumps(Issuer("rsa").jwks())
            await keys.refresh()
            assert [key.id for key in keys.known()] == ["rsa"]
            assert keys.problem is None

    asyncio.run(main())
    assert [line["result"] for line in said] == ["loaded", "kept_last_good", "loaded"]


@contextmanager
def proxy_to(where, password):
    """An HTTP proxy that connects whoever knows the password to this one place, whatever was asked for."""
    asked = []

    def handle(sock):
        request = receive_head(sock)
        asked.append(request.start)
        if request.fields.get("proxy-authorization") != "Basic " + base64.b64encode(password).decode():
            sock.sendall(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(where) as far:
            sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            ways = {sock: far, far: sock}
            while ways:
                for end in select.select(list(ways), [], [], PATIENCE)[0]:
                    if data := end.recv(65536):
                        ways[end].sendall(data)
                    else:
                        ways.pop(end).shutdown(socket.SHUT_WR)

    with target(handle) as proxy:
        yield "http://me:{}@{}:{}", proxy, asked


def test_keys_are_fetched_through_a_proxy(tmp_path, said):
    authority = Authority(tmp_path)

    async def main():
        async with published(authority.issue("DNS:issuer.test")) as (jwks, url):
            port = int(url.rpartition(":")[2].partition("/")[0])
            with proxy_to(("127.0.0.1", port), b"me:s3cr3t") as (form, proxy, asked):
                good, bad = (parse_proxy(form.format(word, *proxy)) for word in ("s3cr3t", "wr0ng"))
                keys = open_published_keys("https://issuer.test/jwks", authority.file, None, good)
                await keys.refresh()
                assert [key.id for key in keys.known()] == ["ec", "ed"]
                assert "Proxy-Authorization" not in jwks.requests[0].headers
                refused = open_published_keys("https://issuer.test/jwks", authority.file, None, bad)
                await refused.refresh()
                assert "407" in refused.problem
                assert asked == ["CONNECT issuer.test:443 HTTP/1.1"] * 2

    asyncio.run(main())
    assert "s3cr3t" not in str(said)
    assert "wr0ng" not in str(said)


@pytest.mark.parametrize(
    ("url", "exempt", "is_used"),
    [
        ("https://issuer.test/jwks", "", True),
        ("https://issuer.test/jwks", ".test", False),
        ("https://10.1.2.3:6443/jwks", "10.0.0.0/8", False),
        ("https://127.0.0.1/jwks", "", False),
        ("https://kubernetes.default.svc/openid/v1/jwks", "", False),
        ("https://kubernetes.default.svc.cluster.local/openid/v1/jwks", "", False),
    ],
)
def test_what_is_asked_through_the_proxy(url, exempt, is_used):
    exemptions = [parse_exemption(exempt)] if exempt else []
    keys = open_published_keys(url, None, None, parse_proxy("http://p:1"), exemptions)
    assert (keys._proxy is not None) is is_used


def test_nobody_makes_the_server_ask_too_often():
    async def main():
        async with published() as (jwks, url):
            keys = open_published_keys(url, None, None)
            await asyncio.gather(*(keys.refresh() for _ in range(20)))
            await keys.refresh()
            assert len(jwks.requests) == 1

    asyncio.run(main())


def test_an_issuer_that_is_away_is_asked_again(monkeypatch, said):
    pauses = []

    async def main():
        async with published() as (jwks, url):
            jwks.status = 503
            keys = open_published_keys(url, None, None)

            async def sleep(seconds):
                pauses.append(seconds)
                if len(pauses) == 3:
                    jwks.status = 200
                if len(pauses) == 4:
                    raise asyncio.CancelledError

            monkeypatch.setattr(published_keys, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": sleep}))
            with pytest.raises(asyncio.CancelledError):
                await keys.run()
            assert keys.has_keys

    asyncio.run(main())
    for pause, expected in zip(pauses, (2, 4, 8, 300), strict=True):
        assert expected * 0.8 <= pause <= expected * 1.2
    assert [line["result"] for line in said] == ["unavailable", "loaded"]


def test_who_answers_nothing_is_not_waited_for(monkeypatch, said):
    monkeypatch.setattr(published_keys, "FETCH_SECONDS", 0.1)

    async def main():
        async with published() as (jwks, url):
            jwks.patience = 1
            keys = open_published_keys(url, None, None)
            await keys.refresh()
            assert keys.problem == f"{url}: it did not answer within 0.1 s"

    asyncio.run(main())
