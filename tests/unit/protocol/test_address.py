"""Addresses, URLs and forwards: what is accepted, what is refused and how, and that text and value agree."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.errors import SokkenError
from sokken.protocol.address import (
    Address,
    AddressError,
    Forward,
    ServerUrl,
    parse_forward,
    parse_listen_address,
    parse_server_url,
    parse_target,
)


def refusal(parse, text):
    with pytest.raises(AddressError) as caught:
        parse(text)
    return caught.value


# ------------------------------------------------------------------------------------- listen addresses
@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":8000", "", 8000),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("127.0.0.1:65535", "127.0.0.1", 65535),
        ("[::1]:80", "::1", 80),
        ("[::]:80", "::", 80),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("localhost:080", "localhost", 80),
    ],
)
def test_a_listen_address_is_a_host_or_none_and_a_port(text, host, port):
    assert parse_listen_address(text) == Address(host, port)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "the port is missing"),
        ("8000", "the port is missing"),
        ("127.0.0.1", "the port is missing"),
        ("[::1]", "the port is missing"),
        (":", "the port is a number from 0 to 65535"),
        (":65536", "the port is a number from 0 to 65535"),
        (":-1", "the port is a number from 0 to 65535"),
        (":+1", "the port is a number from 0 to 65535"),
        (":000080", "the port is a number from 0 to 65535"),
        (":\u0661", "the port is a number from 0 to 65535"),
        (":http", "the port is a number from 0 to 65535"),
        (":80 ", "the port is a number from 0 to 65535"),
        (":80\n", "the port is a number from 0 to 65535"),
        ("::1:80", "an IPv6 address is written in brackets"),
        ("[::1:80", "an IPv6 address is written in brackets"),
        ("[::g]:80", "what is in brackets is no IPv6 address"),
        ("[127.0.0.1]:80", "what is in brackets is no IPv6 address"),
        ("[]:80", "what is in brackets is no IPv6 address"),
        ("[fe80::1%]:80", "what is in brackets is no IPv6 address"),
        ("[2001:db8::1%eth0]:80", "a zone is an interface's name after a link-local address"),
        ("[fe80::1%a b]:80", "a zone is an interface's name after a link-local address"),
        ("me@localhost:80", "an address has no user or password"),
        ("*:80", "this is no host name"),
        (" :80", "this is no host name"),
        ("ws://localhost:80", "an IPv6 address is written in brackets"),
    ],
)
def test_a_malformed_listen_address_is_refused(text, problem):
    assert refusal(parse_listen_address, text).problem == problem


# ---------------------------------------------------------------------------------------------- targets
@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("127.0.0.1:22", "127.0.0.1:22"),
        ("GitHub.COM:443", "github.com:443"),
        ("github.com.:443", "github.com:443"),
        ("my_db-1:5432", "my_db-1:5432"),
        ("3com.example:1", "3com.example:1"),
        ("[0:0:0:0:0:0:0:1]:65535", "[::1]:65535"),
        ("[2001:DB8::A]:22", "[2001:db8::a]:22"),
        ("[fe80::1%eth0]:22", "[fe80::1%eth0]:22"),
        (f"{'a' * 63}.example:1", f"{'a' * 63}.example:1"),
    ],
)
def test_a_target_has_one_canonical_form(text, canonical):
    assert str(parse_target(text)) == canonical


def test_an_ipv4_mapped_address_is_not_its_ipv4_address():
    mapped = parse_target("[::ffff:127.0.0.1]:22")
    assert mapped == parse_target("[::FFFF:7F00:1]:22")
    assert mapped != parse_target("127.0.0.1:22")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (":22", "the host is missing"),
        ("example:0", "the port is a number from 1 to 65535"),
        ("example", "the port is missing"),
        ("ws://example:22", "a target is HOST:PORT, not a URL"),
        ("root@example:22", "an address has no user or password"),
        ("example/x:22", "this is no host name"),
        ("exa mple:22", "this is no host name"),
        ("exam\x00ple:22", "this is no host name"),
        ("-example:22", "this is no host name"),
        ("example-:22", "this is no host name"),
        ("a..b:22", "this is no host name"),
        (".:22", "this is no host name"),
        ("a..:22", "this is no host name"),
        ("127.0.0.1%eth0:22", "this is no host name"),
        (f"{'a' * 64}:22", "this is no host name"),
        (f"{'a.' * 127}:22", None),
        (f"{'a.' * 127}b:22", "this is no host name"),
        ("b\u00fccher.example:22", "an international host name is written in its ASCII form"),
        ("\u212aelvin:22", "an international host name is written in its ASCII form"),
        ("127.1:22", "an IPv4 address has four decimal numbers from 0 to 255"),
        ("256.0.0.1:22", "an IPv4 address has four decimal numbers from 0 to 255"),
        ("127.0.0.01:22", "an IPv4 address has four decimal numbers from 0 to 255"),
        ("127.0.0.1.:22", "an IPv4 address has four decimal numbers from 0 to 255"),
        ("0x7f000001:22", "an IPv4 address has four decimal numbers from 0 to 255"),
        ("2130706433:22", "an IPv4 address has four decimal numbers from 0 to 255"),
        ("a.0X1:22", "an IPv4 address has four decimal numbers from 0 to 255"),
    ],
)
def test_a_malformed_target_is_refused(text, problem):
    if problem is None:
        assert len(parse_target(text).host) == 253
    else:
        assert refusal(parse_target, text).problem == problem


# ------------------------------------------------------------------------------------------ server URLs
@pytest.mark.parametrize(
    ("text", "url"),
    [
        (
            "ws://machine-b:8000/tunnel/127.0.0.1:22",
            ServerUrl(secure=False, host="machine-b", port=8000, path="/tunnel/127.0.0.1:22"),
        ),
        ("ws://a", ServerUrl(secure=False, host="a", port=80, path="/")),
        ("WSS://A.", ServerUrl(secure=True, host="a", port=443, path="/")),
        ("wss://a:80?x=/y", ServerUrl(secure=True, host="a", port=80, path="/?x=/y")),
        ("ws://[::1]/x", ServerUrl(secure=False, host="::1", port=80, path="/x")),
        ("ws://[fe80::1%25eth0]:1", ServerUrl(secure=False, host="fe80::1%eth0", port=1, path="/")),
        ("ws://[fe80::1%eth0]:1", ServerUrl(secure=False, host="fe80::1%eth0", port=1, path="/")),
    ],
)
def test_a_server_url_has_a_scheme_a_host_a_port_and_a_path(text, url):
    assert parse_server_url(text) == url


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("ws://a/tunnel/[::1]:22", "/tunnel/[::1]:22"),
        ("ws://a/tunnel/%5b::1%5D:22", "/tunnel/%5b::1%5D:22"),
        ('ws://a/caf\u00e9|`"<>{}^\\', "/caf%C3%A9%7C%60%22%3C%3E%7B%7D%5E%5C"),
        ("ws://a//b;c=1?q=a+b&c?d", "//b;c=1?q=a+b&c?d"),
    ],
)
def test_a_path_is_encoded_for_the_request_line_and_never_twice(text, path):
    assert parse_server_url(text).path == path
    assert parse_server_url(f"ws://a{path}").path == path


@pytest.mark.parametrize(
    ("text", "authority", "formatted"),
    [
        ("ws://Machine-B:8000/x", "machine-b:8000", "ws://machine-b:8000/x"),
        ("ws://a:80/x", "a", "ws://a/x"),
        ("wss://a:443/x", "a", "wss://a/x"),
        ("wss://a:80/x", "a:80", "wss://a:80/x"),
        ("ws://[0::1]:80/x", "[::1]", "ws://[::1]/x"),
        ("ws://[fe80::1%eth0]:8000/x", "[fe80::1]:8000", "ws://[fe80::1%25eth0]:8000/x"),
    ],
)
def test_the_host_header_and_the_text_leave_out_default_ports(text, authority, formatted):
    url = parse_server_url(text)
    assert url.authority == authority
    assert str(url) == formatted


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ws://a/tunnel/127.0.0.1:22", "127.0.0.1:22"),
        ("ws://a/base/tunnel/tunnel/b:22?x=/tunnel/y", "b:22"),
        ("ws://a/tunnel/%5B::1%5D:22", "[::1]:22"),
        ("ws://a/tunnel/", None),
        ("ws://a/elsewhere", None),
    ],
)
def test_the_target_of_a_url_is_what_follows_its_last_tunnel(text, target):
    assert parse_server_url(text).target == target


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("http://a/x", "write ws:// instead of http://"),
        ("HTTPS://a/x", "write wss:// instead of https://"),
        ("ftp://a/x", "a server URL starts with ws:// or wss://"),
        ("a:8000/tunnel/b:22", "a server URL starts with ws:// or wss://"),
        ("", "a server URL starts with ws:// or wss://"),
        ("ws://a/ b", "a URL holds no space and no control character"),
        ("ws://a/\r\nb", "a URL holds no space and no control character"),
        ("ws://a/\x7f", "a URL holds no space and no control character"),
        ("ws://a/\udcff", "a URL holds no space and no control character"),
        ("ws://a/x#y", "a server URL has no fragment (#)"),
        ("ws://me@a/x", "a server URL has no user or password"),
        ("ws://a/tunnel/me:s3cr3t@b:22", "a target has no user or password"),
        ("ws://a/tunnel/me:s3cr3t%40b:22", "a target has no user or password"),
        ("ws://a/%", "a % in a URL's path is followed by two hexadecimal digits"),
        ("ws://a/%0g", "a % in a URL's path is followed by two hexadecimal digits"),
        ("ws:///x", "the host is missing"),
        ("ws://:80/x", "the host is missing"),
        ("ws://a:/x", "the port is a number from 1 to 65535"),
        ("ws://a:0/x", "the port is a number from 1 to 65535"),
        ("ws://a:b:1/x", "an IPv6 address is written in brackets"),
        ("ws://[::1", "an IPv6 address is written in brackets"),
        ("ws://127.1/x", "an IPv4 address has four decimal numbers from 0 to 255"),
    ],
)
def test_a_malformed_url_is_refused(text, problem):
    assert refusal(parse_server_url, text).problem == problem


# --------------------------------------------------------------------------------------------- forwards
def test_a_forward_is_named_after_its_listen_address():
    forward = parse_forward("127.0.0.1:2222=ws://b:8000/tunnel/c:22?token=a=b")
    assert forward == Forward(
        name="127.0.0.1:2222",
        listen=Address("127.0.0.1", 2222),
        url=ServerUrl(secure=False, host="b", port=8000, path="/tunnel/c:22?token=a=b"),
    )
    assert str(forward) == "127.0.0.1:2222=ws://b:8000/tunnel/c:22?token=a=b"


def test_a_forward_may_have_a_name_of_its_own():
    forward = parse_forward(f"{'a-9' * 21}=:2222=wss://b/tunnel/c:22")
    assert forward.name == "a-9" * 21
    assert str(forward) == f"{'a-9' * 21}=:2222=wss://b/tunnel/c:22"


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a.b", "a=b", "\u00e4", "a" * 64])
def test_the_name_of_a_forward_is_a_dns_label(name):
    error = refusal(parse_forward, f"{name}=:1=ws://b/")
    assert error.problem == "a forward's name is 1 to 63 lower-case letters, digits and inner hyphens"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ws://b/tunnel/c:22", "a forward is [NAME=]LISTEN=URL"),
        (":2222", "a forward is [NAME=]LISTEN=URL"),
        ("", "a forward is [NAME=]LISTEN=URL"),
        ("2222=ws://b/", "the port is missing"),
        (":2222=b:8000/tunnel/c:22", "a server URL starts with ws:// or wss://"),
        (":2222=http://b/tunnel/c:22", "write ws:// instead of http://"),
    ],
)
def test_a_malformed_forward_is_refused(text, problem):
    assert refusal(parse_forward, text).problem == problem


# ------------------------------------------------------------------------------------------- the errors
def test_an_error_is_one_line_with_an_example():
    error = refusal(parse_target, "example\n:22")
    assert isinstance(error, SokkenError)
    assert str(error) == r"'example\n:22': this is no host name, for example 127.0.0.1:22"


@pytest.mark.parametrize(
    ("parse", "text", "shown"),
    [
        (parse_server_url, "ws://me:secret@b/x", "ws://***@b/x"),
        (parse_server_url, "http://me:sec/ret#@b/x", "http://***@b/x"),
        (parse_forward, "a=:1=ws://me:secret@b/x", "ws://***@b/x"),
        (parse_target, "me:secret@b:22", "***@b:22"),
    ],
)
def test_an_error_never_shows_credentials(parse, text, shown):
    error = refusal(parse, text)
    assert error.text == shown
    assert "sec" not in str(error)


def test_an_error_shows_the_beginning_of_a_long_text():
    error = refusal(parse_target, "x" * 100_000)
    assert error.text == "x" * 200 + "…"


# ------------------------------------------------------------------------------------- text and values
LABELS = st.from_regex(r"[a-z_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
IPV4 = st.ip_addresses(v=4).map(str)
IPV6 = st.ip_addresses(v=6).map(str)
ZONED = st.builds(
    "fe80::{:x}%{}".format,
    st.integers(1, 0xFFFF),
    st.text(string.ascii_letters + string.digits + ".-", min_size=1, max_size=15),
)
HOSTS = st.one_of(NAMES, IPV4, IPV6, ZONED)
PORTS = st.integers(1, 65535)
TARGETS = st.builds(Address, HOSTS, PORTS)
LISTEN = st.builds(Address, st.one_of(st.just(""), HOSTS), st.integers(0, 65535))
PATHS = st.text(string.ascii_letters + string.digits + "/?:@!$&'()*+,;=-._~[]", max_size=40).map("/{}".format)
URLS = st.builds(ServerUrl, st.booleans(), HOSTS, PORTS, PATHS)
FORWARD_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
FORWARDS = st.builds(
    lambda name, listen, url: Forward(name or str(listen), listen, url),
    st.one_of(st.none(), FORWARD_NAMES),
    LISTEN,
    URLS,
)


@given(LISTEN)
def test_a_listen_address_survives_its_text(address):
    assert parse_listen_address(str(address)) == address


@given(TARGETS)
def test_a_target_survives_its_text(address):
    assert parse_target(str(address)) == address


@given(URLS)
def test_a_url_survives_its_text(url):
    assert parse_server_url(str(url)) == url


@given(FORWARDS)
def test_a_forward_survives_its_text(forward):
    assert parse_forward(str(forward)) == forward


@given(
    st.sampled_from([parse_listen_address, parse_target, parse_server_url, parse_forward]),
    st.one_of(
        st.text(),
        st.text("ws:/[]%@#?=.0a1:\n ", max_size=30),
        st.text("ws:/[]%@#?=.0a1:\n ", max_size=30).map("ws://{}".format),
    ),
)
def test_any_text_is_a_value_that_survives_or_one_line(parse, text):
    try:
        value = parse(text)
    except AddressError as error:
        shown = str(error)
    else:
        shown = repr(str(value))
        assert parse(str(value)) == value
    assert "\n" not in shown
