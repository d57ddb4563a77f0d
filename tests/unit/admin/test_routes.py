"""What is served where, and how one connection is aborted."""

import asyncio
import json
import re
from pathlib import Path

import pytest

import sokken.admin
from sokken.admin.door import Door, parse_admin_token
from sokken.admin.routes import PlainAdmin
from sokken.protocol.address import Address
from sokken.protocol.outcomes import Outcome
from sokken.transport.connections import Connections
from sokken.transport.files import WatchedFile
from sokken.transport.http import HttpService
from sokken.transport.listen import bind
from tests.support.admin import TOKEN, Site, admit, bearer, sites
from tests.support.loops import planes, run
from tests.support.raw_http import exchange, request

PAGE = Path(sokken.admin.__file__).parent / "page"


def ask(path, *fields, method="GET", **given):
    async def main():
        async with sites(**given) as site:
            return await site.ask(path, *fields, method=method)

    return run(main())


def test_the_status_has_the_settings():
    document = json.loads(ask("/statusz").body)
    assert document["settings"] == [{"variable": "SOKKEN_API_ADDR", "value": ":8000", "given": True}]
    assert (document["role"], document["token_required"]) == ("server", False)


def test_the_list_is_a_page():
    connections = Connections(300)
    for number in range(150):
        admit(connections, number)
    page = json.loads(ask("/connections?sort=bytes&limit=20&offset=20", connections=connections).body)
    assert [row["bytes_up"] for row in page["connections"]] == list(range(129, 109, -1))
    assert (page["total"], page["matching"], page["limit"], page["offset"]) == (150, 150, 20, 20)
    assert len(json.loads(ask("/connections", connections=connections).body)["connections"]) == 100


@pytest.mark.parametrize(
    "path", ["/nothing", "/connections/", "/connections/x", "/page/index.html", "/..", "/index.html"]
)
def test_unknown_paths(path):
    answer = ask(path)
    assert (answer.status, answer.problem["reason"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/", "GET,HEAD"),
        ("DELETE", "/connections", "GET,HEAD"),
        ("PUT", "/statusz", "GET,HEAD"),
        ("OPTIONS", "/connections", "GET,HEAD"),
        ("HEAD", "/events", "GET"),
        ("GET", "/connections/x/abort", "POST"),
    ],
)
def test_other_methods(tmp_path, method, path, allow):
    (tmp_path / "token").write_text(TOKEN)
    answer = ask(path, bearer(), method=method, token=tmp_path / "token")
    assert (answer.status, answer.fields["allow"]) == (405, allow)


def test_a_request_here_has_no_body(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    fields = [bearer(), ("Content-Length", "2")]
    assert ask("/connections/x/abort", *fields, method="POST", token=tmp_path / "token").status == 400


def test_aborting_one_leaves_the_others(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    connections = Connections(10)
    one, other = admit(connections, 1), admit(connections, 2)
    twin = admit(connections, 3, id=one.id)  # a client chooses its connections' ids
    given = {"token": tmp_path / "token", "connections": connections, "method": "POST"}
    assert ask("/connections/id-00009/abort", bearer(), **given).status == 404
    assert json.loads(ask(f"/connections/{one.id}/abort", bearer(), **given).body) == {"aborted": 2}
    assert (one.relay.killed, twin.relay.killed, other.relay.killed) == ([Outcome.KILLED], [Outcome.KILLED], [])


def test_aborting_what_is_still_connecting_gives_it_up(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    connections, given_up = Connections(10), []
    admit(connections, 1, relay=None, give_up=lambda: given_up.append(1))
    given = {"token": tmp_path / "token", "connections": connections, "method": "POST"}
    assert ask("/connections/id-00001/abort", bearer(), **given).status == 200
    assert given_up == [1]


def test_the_page_is_made_of_its_own_files_alone():
    """No other host, nothing inline: what the Content-Security-Policy would refuse must not be there."""
    html = (PAGE / "index.html").read_text()
    script = (PAGE / "page.js").read_text()
    assert re.findall(r"(?:src|href)=\"([^\"]+)\"", html.replace('href="#list"', "")) == [
        "icon.svg",
        "page.css",
        "page.js",
        "icon.svg",
        "statusz",
        "connections",
        "statusz",
        "connections",
        "metrics",
    ]
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|<script>", html)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|cookie", script)
    for file in PAGE.iterdir():
        urls = re.findall(r"https?://[^\s\"']+", file.read_text())
        assert set(urls) <= {"http://www.w3.org/2000/svg"}, file
        assert file.stat().st_size < 32 * 1024


def test_heads_as_the_public_address_takes_them():
    async def main():
        async with sites() as site:
            heads = [
                b"GET /statusz HTTP/1.1\r\n\r\n",
                request("/" + "x" * 20_000, "GET", "HTTP/1.1", ("Host", "localhost")),
                request("/statusz", "GET", "HTTP/1.1", ("Host", "a"), ("Host", "b")),
                b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
            ]
            return [(await asyncio.to_thread(exchange, site.where, head)).status for head in heads]

    first, *others = run(main())
    assert first in {400, 421}
    assert others == [431, 400, 400]


def test_a_program_without_connections_has_probes_status_and_metrics(tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN)

    async def main():
        file = WatchedFile(token, parse_admin_token, "SOKKEN_ADMIN_TOKEN_FILE")
        door = Door(file, frozenset(), [])
        admin = PlainAdmin(door, lambda: {"role": "operator"}, lambda: "draining", lambda: "it hangs")
        async with planes() as plane:
            sockets = bind(Address("127.0.0.1", 0), "SOKKEN_ADMIN_ADDR")
            http = HttpService(plane, admin.app(), sockets)
            await http.start()
            site = Site(sockets[0].getsockname(), Connections(1), http)
            answers = {
                path: [await site.ask(path), await site.ask(path, bearer())]
                for path in ("/livez", "/readyz", "/statusz", "/metrics", "/connections", "/")
            }
            await http.close()
        return answers

    answers = run(main())
    assert [(answer.status, answer.body) for answer in answers["/livez"]] == [(503, b"it hangs\n")] * 2
    assert [(answer.status, answer.body) for answer in answers["/readyz"]] == [(503, b"draining\n")] * 2
    assert answers["/statusz"][0].status == 401
    assert json.loads(answers["/statusz"][1].body) == {"role": "operator"}
    assert "Content-Security-Policy".lower() in answers["/statusz"][1].fields
    assert [answer.status for answer in answers["/metrics"]] == [401, 404]
    assert {answer.status for path in ("/connections", "/") for answer in answers[path]} == {404}
