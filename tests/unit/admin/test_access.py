"""Who gets to the admin routes: what browsers, strangers and forged names are answered."""

import asyncio
import json

import pytest

from sokken.admin.access import PROBES, SHELL
from tests.support.admin import TOKEN, bearer, sites
from tests.support.loops import run

DATA = ("/statusz", "/connections", "/events")


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


def statuses(*asked, token=None, hosts=()):
    """The status of each request: a path and its fields."""

    async def main():
        async with sites(token, hosts) as site:
            return [(await site.ask(path, *fields)).status for path, *fields in asked]

    return run(main())


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:19000", "10.1.2.3:80", "[::1]:19000", "[fd00::1]", "localhost:1", "LocalHost."]
)
def test_addresses_and_localhost_are_always_ours(host):
    assert statuses(("/statusz", ("Host", host)), ("/", ("Host", host))) == [200, 200]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example:19000", "localhost.evil.example", "[evil]", "0x7f.1", "2130706433", "a@b"],
)
@pytest.mark.parametrize("path", ["/statusz", "/connections", "/", "/page.js", "/connections/x/abort"])
def test_a_name_that_dns_may_point_anywhere_is_misdirected(host, path):
    async def main():
        async with sites() as site:
            return await site.ask(path, ("Host", host))

    answer = run(main())
    assert answer.status == 421
    assert "SOKKEN_ADMIN_HOSTS" in answer.problem["detail"]


def test_configured_names_are_ours_and_their_neighbours_are_not():
    names = ["sokken.internal", "SOKKEN.internal:19000", "sokken.internal.:80", "x.sokken.internal", "internal"]
    found = statuses(*[("/statusz", ("Host", name)) for name in names], hosts=["sokken.internal"])
    assert found == [200, 200, 200, 421, 421]


def test_probes_are_answered_under_any_name_and_without_a_token(token):
    asked = [(path, ("Host", "anything.example")) for path in sorted(PROBES)]
    assert statuses(*asked, token=token) == [200, 200, 200]


def test_what_is_not_there_is_not_there_under_any_name(token):
    assert statuses(("/unknown", ("Host", "evil.example")), ("/unknown",), token=token) == [404, 404]


def test_a_token_is_needed_for_all_that_tells_something(token):
    for path in DATA:
        wrong = [(), bearer("x" * 28), bearer(TOKEN + "x"), bearer(TOKEN[:-1]), ("Authorization", f"Basic {TOKEN}")]
        assert statuses(*[(path, *([field] if field else [])) for field in wrong], token=token) == [401] * 5
    assert statuses(("/statusz", bearer()), ("/connections", bearer()), token=token) == [200, 200]
    assert statuses(("/statusz", bearer(), bearer()), token=token) == [401]


def test_the_page_itself_comes_without_a_token_and_tells_nothing(token):
    async def main():
        async with sites(token) as site:
            return [await site.ask(path) for path in sorted(SHELL)]

    answers = run(main())
    assert [answer.status for answer in answers] == [200] * 4
    types = {answer.fields["content-type"].partition(";")[0] for answer in answers}
    assert types == {"text/html", "text/javascript", "text/css", "image/svg+xml"}


def test_a_refusal_never_quotes_what_was_shown(token):
    async def main():
        async with sites(token) as site:
            return await site.ask("/statusz", bearer("a-guess-that-is-wrong"))

    answer = run(main())
    assert answer.fields["www-authenticate"] == "Bearer"
    assert b"a-guess" not in answer.body
    assert TOKEN.encode() not in answer.body


def test_a_replaced_token_is_worth_nothing_at_once_and_a_broken_file_changes_nothing(token):
    async def main():
        async with sites(token) as site:
            token.write_text("another-token-of-some-length")
            one = [(await site.ask("/statusz", bearer(it))).status for it in (TOKEN, "another-token-of-some-length")]
            token.write_text("short")
            two = [(await site.ask("/statusz", bearer(it))).status for it in ("short", "another-token-of-some-length")]
            token.unlink()
            return one, two, (await site.ask("/statusz", bearer("another-token-of-some-length"))).status

    assert run(main()) == ([401, 200], [401, 200], 200)


@pytest.mark.parametrize(
    "fields",
    [
        (("Origin", "https://evil.example"),),
        (("Origin", "null"),),
        (("Origin", "http://127.0.0.1:1"),),
        (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "script")),
        (("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")),
        (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")),
    ],
)
@pytest.mark.parametrize("path", ["/connections", "/events", "/page.js", "/"])
def test_another_sites_page_gets_nothing(fields, path):
    async def main():
        async with sites() as site:
            return await site.ask(path, *fields)

    answer = run(main())
    assert (answer.status, answer.problem["reason"]) == (403, "forbidden_origin")
    assert not any(name.startswith("access-control") for name in answer.fields)


def test_our_own_page_and_a_click_from_elsewhere_are_welcome():
    async def main():
        async with sites() as site:
            host = f"127.0.0.1:{site.where[1]}"
            own = [("Origin", f"http://{host}"), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors")]
            click = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
            return [(await site.ask("/connections", *own)).status, (await site.ask("/", *click)).status]

    assert run(main()) == [200, 200]


def test_no_other_site_is_ever_promised_anything(token):
    """A browser asks before it sends another site's POST with a token; the answer must not be yes."""

    async def main():
        async with sites(token) as site:
            asking = [("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST")]
            forged = [("Origin", "https://evil.example"), ("Cookie", f"token={TOKEN}"), bearer()]
            asked = await site.ask("/connections/x/abort", *asking, method="OPTIONS")
            return asked, await site.ask("/connections/x/abort", *forged, method="POST")

    for answer in run(main()):
        assert answer.status == 403
        assert not any(name.startswith("access-control") for name in answer.fields)


def test_a_cookie_is_no_token(token):
    assert statuses(("/statusz", ("Cookie", f"sokken-token={TOKEN}")), token=token) == [401]
    assert statuses((f"/statusz?token={TOKEN}",), token=token) == [401]


@pytest.mark.parametrize("path", ["/", "/page.js", "/statusz", "/connections", "/unknown", "/livez", "/events?limit=0"])
def test_every_answer_says_what_a_browser_may_do_with_it(path):
    async def main():
        async with sites() as site:
            return await site.ask(path)

    fields = run(main()).fields
    policy = {part.split()[0]: part.split()[1:] for part in fields["content-security-policy"].split(";")}
    assert policy["default-src"] == ["'none'"]
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert "unsafe" not in fields["content-security-policy"]
    assert fields["x-frame-options"] == "DENY"
    assert fields["x-content-type-options"] == "nosniff"
    assert fields["referrer-policy"] == "no-referrer"
    assert fields["cache-control"] == "no-store"
    assert fields["server"] == "sokken"


def test_aborting_needs_a_token_always(token):
    async def main(path):
        async with sites(path) as site:
            none = await site.ask("/connections/x/abort", method="POST")
            return none, await site.ask("/connections/x/abort", bearer(), method="POST")

    none, given = run(main(None))
    assert (none.status, given.status) == (403, 403)
    assert "SOKKEN_ADMIN_TOKEN_FILE" in none.problem["detail"]
    none, given = run(main(token))
    assert (none.status, given.status) == (401, 404)


def test_guesses_do_not_take_longer_the_more_of_them_is_right(token):
    """All that is seen from outside is the same: only the comparison's own time could differ, and it is constant."""

    async def main():
        async with sites(token) as site:
            guesses = [bearer(TOKEN[:n] + "~" * (len(TOKEN) - n)) for n in (0, 10, len(TOKEN) - 1)]
            answers = await asyncio.gather(*(site.ask("/statusz", guess) for guess in guesses))
            return {json.dumps(answer.problem) for answer in answers}

    assert len(run(main())) == 1
