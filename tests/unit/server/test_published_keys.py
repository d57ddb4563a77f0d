"""Keys from a URL: fetched as the settings say, kept while the issuer is away, and never fetched too often."""

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from aiohttp import web

from sokken.protocol.credentials import Unproven
from sokken.server import published_keys
from sokken.server.published_keys import open_published_keys
from tests.support.certificates import Authority
from tests.support.tokens import Issuer

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
