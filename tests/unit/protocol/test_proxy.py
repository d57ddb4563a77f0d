"""HTTP proxies: which one is used, what it is asked, what its answers mean; and no password in any text."""

import base64

import pytest

from sokken.protocol.address import Address, parse_server_url
from sokken.protocol.handshake import Answer
from sokken.protocol.proxy import (
    Proxy,
    choose_proxy,
    connect_authority,
    format_connect_request,
    judge_connect,
    parse_exemption,
    parse_proxy,
    parse_proxy_credentials,
)

OURS = parse_proxy("http://ours:1")
INHERITED = parse_proxy("http://inherited:1")


@pytest.mark.parametrize(
    ("text", "shown", "user"),
    [
        ("http://proxy.example:3128", "http://proxy.example:3128", None),
        ("HTTP://Proxy.Example:3128/", "http://proxy.example:3128", None),
        ("http://proxy.example", "http://proxy.example:80", None),
        ("https://proxy.example", "https://proxy.example:443", None),
        ("proxy.example:3128", "http://proxy.example:3128", None),
        ("http://[::1]:3128", "http://[::1]:3128", None),
        ("http://[::1]", "http://[::1]:80", None),
        ("http://me:pa%40ss@p:1", "http://p:1", b"me:pa@ss"),
        ("http://me:a@b@p:1", "http://p:1", b"me:a@b"),
        ("http://me:a:b@p:1", "http://p:1", b"me:a:b"),
        ("http://me@p:1", "http://p:1", b"me:"),
        ("me:secret@p:1", "http://p:1", b"me:secret"),
    ],
)
def test_a_proxy_and_what_it_is_shown(text, shown, user):
    proxy = parse_proxy(text)
    assert str(proxy) == shown
    expected = None if user is None else "Basic " + base64.b64encode(user).decode()
    assert proxy.authorization == expected
    assert expected is None or expected not in repr(proxy)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("socks5://me:s3cret@p:1", "a proxy is http:// or https://"),
        ("http://me:s3cret@p:0", "the port is a number from 1 to 65535"),
        ("http://me:s3cret@p:", "the port is a number"),
        ("http://me:s3cret@", "the host is missing"),
        ("http://me:s3cret@p:1/path", "this is no proxy's URL"),
        ("http://me:s3 cret@p:1", "this is no proxy's URL"),
    ],
)
def test_what_is_no_proxy_is_told_without_its_password(text, problem):
    with pytest.raises(ValueError, match=problem) as caught:
        parse_proxy(text)
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize("content", [b"me:pa:55", b"me:pa:55\n", b"me:pa:55\r\n"])
def test_credentials_of_a_file(content):
    assert parse_proxy_credentials(content) == "Basic bWU6cGE6NTU="
    assert parse_proxy_credentials("mé:€".encode()) == "Basic bcOpOuKCrA=="


@pytest.mark.parametrize("content", [b"", b"s3cret", b":s3cret", b"me:s3cret\nyou:s3cret", b"me:\xff\x00s3cret"])
def test_a_file_that_holds_no_credentials(content):
    with pytest.raises(ValueError, match="USER:PASSWORD") as caught:
        parse_proxy_credentials(content)
    assert "s3" not in str(caught.value)


@pytest.mark.parametrize(
    ("item", "covered", "others"),
    [
        ("*", ["ws://a", "ws://192.0.2.1"], []),
        ("example.com", ["ws://example.com", "ws://a.b.Example.com"], ["ws://notexample.com", "ws://example.org"]),
        ("Example.com.", ["ws://example.com"], []),
        (".example.com", ["ws://a.example.com"], ["ws://example.com", "ws://notexample.com"]),
        ("*.example.com", ["ws://a.example.com"], ["ws://example.com"]),
        ("example.com:8000", ["ws://example.com:8000"], ["ws://example.com", "wss://example.com"]),
        ("a:443", ["wss://a"], ["ws://a"]),
        ("*:443", ["wss://a"], ["ws://a"]),
        ("192.0.2.1", ["ws://192.0.2.1"], ["ws://192.0.2.2", "ws://a.192.0.2.1.example"]),
        ("192.0.2.1:80", ["ws://192.0.2.1"], ["ws://192.0.2.1:81"]),
        ("10.0.0.0/8", ["ws://10.1.2.3"], ["ws://11.1.2.3", "ws://[fd00::1]", "ws://a"]),
        ("10.1.2.3/8", ["ws://10.9.9.9"], []),
        ("2001:db8::/32", ["ws://[2001:db8::1]"], ["ws://10.0.0.1"]),
        ("::1", ["ws://[::1]"], ["ws://[::2]"]),
        ("[::1]:8000", ["ws://[::1]:8000"], ["ws://[::1]"]),
        ("10.0.0.0/8", ["ws://[::ffff:10.1.2.3]"], []),
        ("fe80::/10", ["ws://[fe80::1%25eth0]"], []),
        ("a.example", [], ["ws://192.0.2.1"]),
    ],
)
def test_servers_that_are_reached_directly(item, covered, others):
    exemption = parse_exemption(item)
    assert str(exemption) == item
    for text in covered:
        assert choose_proxy(parse_server_url(text), OURS, INHERITED, [exemption]) is None
    for text in others:
        assert choose_proxy(parse_server_url(text), OURS, INHERITED, [exemption]) is OURS


@pytest.mark.parametrize("text", ["10.0.0.0/99", "a/b", ":80"])
def test_what_is_no_exemption(text):
    with pytest.raises(ValueError, match=text):
        parse_exemption(text)


@pytest.mark.parametrize(
    ("url", "ours", "inherited", "chosen"),
    [
        ("ws://a", None, None, None),
        ("ws://a", OURS, None, OURS),
        ("ws://a", OURS, INHERITED, OURS),
        ("ws://a", None, INHERITED, INHERITED),
        ("ws://localhost", None, INHERITED, None),
        ("ws://127.9.9.9", None, INHERITED, None),
        ("ws://[::1]", None, INHERITED, None),
        ("ws://192.0.2.1", None, INHERITED, INHERITED),
        ("ws://localhost", OURS, INHERITED, OURS),
    ],
)
def test_which_proxy_it_is(url, ours, inherited, chosen):
    assert choose_proxy(parse_server_url(url), ours, inherited, []) is chosen


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("ws://b/x", "b:80"),
        ("wss://b/x", "b:443"),
        ("ws://[::1]:8/x", "[::1]:8"),
        ("ws://[fe80::1%25e]/", "[fe80::1]:80"),
    ],
)
def test_what_a_proxy_is_asked_for(url, authority):
    assert connect_authority(parse_server_url(url)) == authority


def test_the_request():
    assert format_connect_request("b:443", Proxy(False, Address("p", 1))) == (
        b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n"
    )
    assert format_connect_request("b:443", parse_proxy("http://me:pw@p:1")) == (
        b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\nProxy-Authorization: Basic bWU6cHc=\r\n\r\n"
    )


@pytest.mark.parametrize("status", [200, 204, 299])
def test_a_proxy_that_has_connected(status):
    assert judge_connect(Answer(status, "", {}), "b:443", OURS) is None


@pytest.mark.parametrize(
    ("status", "proxy", "retry", "outcome", "said"),
    [
        (407, OURS, False, "unauthenticated", "it asks for credentials"),
        (407, parse_proxy("http://me:s3cret@p:1"), False, "unauthenticated", "does not accept the credentials"),
        (401, parse_proxy("http://me:s3cret@p:1"), False, "unauthenticated", "does not accept the credentials"),
        (403, OURS, False, "server_unreachable", "it does not allow a connection to b:443"),
        (502, OURS, True, "server_unreachable", "it could not connect to b:443"),
        (504, OURS, True, "server_unreachable", "it could not connect to b:443"),
        (500, OURS, True, "server_unreachable", "is it an HTTP proxy?"),
        (404, OURS, False, "server_unreachable", "is it an HTTP proxy?"),
        (101, OURS, False, "server_unreachable", "is it an HTTP proxy?"),
    ],
)
def test_a_proxy_that_has_not(status, proxy, retry, outcome, said):
    verdict = judge_connect(Answer(status, "", {}), "b:443", proxy)
    assert (verdict.retry, verdict.outcome) == (retry, outcome)
    assert said in verdict.detail
    assert f"the proxy {proxy} answered {status}" in verdict.detail
    assert "s3cret" not in verdict.detail
