"""Values in log lines: always JSON, never a secret, never an exception."""

import json
import time
from enum import IntEnum, StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.address import parse_listen_address, parse_server_url
from sokken.telemetry.log_values import (
    MASK,
    MAX_CAUSES,
    MAX_FRAMES,
    MAX_TEXT,
    describe_exception,
    make_plain,
    mask_address,
)


class Colour(StrEnum):
    RED = "red"


class Code(IntEnum):
    GONE = 1001


class Hostile:
    def __str__(self):
        raise RuntimeError("no")


class HostileMapping(dict):
    def items(self):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (0.5, 0.5),
        ("text", "text"),
        (Code.GONE, 1001),
        (Colour.RED, "red"),
        (Path("/var/log"), "/var/log"),
        (parse_listen_address(":8000"), ":8000"),
        (parse_server_url("ws://b:8000/tunnel/127.0.0.1:22"), "ws://b:8000/tunnel/127.0.0.1:22"),
        (ValueError("bad\nnews"), "bad\nnews"),
        (TimeoutError(), "TimeoutError"),
        (b"raw \xff", "raw \\xff"),
        (float("inf"), "inf"),
        (float("nan"), "nan"),
        (2**70, str(2**70)),
        ((1, Path("a")), [1, "a"]),
        ({Path("k"): {1}}, {"k": [1]}),
        (Hostile(), "<unprintable Hostile>"),
        (HostileMapping(), "<unprintable HostileMapping>"),
        ([Hostile()], ["<unprintable Hostile>"]),
        (10**5000, "<unprintable int>"),
        ("x" * (MAX_TEXT + 1), "x" * MAX_TEXT + "…"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_value_becomes_json(value, plain):
    assert make_plain(value) == plain
    assert json.loads(json.dumps(make_plain(value), allow_nan=False)) == plain


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.builds(Hostile),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary() | st.integers(), inner) | st.tuples(inner),
    max_leaves=20,
)


@given(anything)
def test_no_value_fails(value):
    json.dumps(make_plain(value), allow_nan=False)


def test_a_value_that_holds_itself_ends_somewhere():
    loop = []
    loop.append({"again": loop})
    assert "…" in json.dumps(make_plain(loop), ensure_ascii=False)
    circle = {}
    circle["again"] = circle
    assert "…" in json.dumps(make_plain(circle), ensure_ascii=False)


@pytest.mark.parametrize(
    "key", ["token", "access_token", "Authorization", "Proxy-Authorization", "Set-Cookie", "PASSWORD", "client_secret"]
)
def test_secrets_are_masked_by_their_key_at_any_depth(key):
    plain = make_plain({key: "hunter2", "headers": {key: ["hunter2"]}, "list": [{key: {"deep": "hunter2"}}]})
    assert "hunter2" not in json.dumps(plain)
    assert plain == {key: "***", "headers": {key: "***"}, "list": [{key: "***"}]}


def test_a_secret_that_is_not_set_is_told_as_such():
    assert make_plain({"token": None}) == {"token": None}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("ws://user:pw@host/x", "ws://***@host/x"),
        ("cannot reach wss://pw@[::1]:80, nor http://a:b@c:1", "cannot reach wss://***@[::1]:80, nor http://***@c:1"),
        ("ws://user:p@w@host/tunnel/a@b", "ws://***@host/tunnel/a@b"),
        ("ws://host/tunnel/a@b", "ws://host/tunnel/a@b"),
        ("ws://host/t?access_token=abc&x=1", "ws://host/t?access_token=***&x=1"),
        ("/t?x=1&Password=a%20b#c", "/t?x=1&Password=***#c"),
        ("/t?tokens", "/t?tokens"),
    ],
)
def test_secrets_in_urls_are_masked(text, clean):
    assert make_plain(text) == clean
    assert make_plain([{"url": ValueError(text)}]) == [{"url": clean}]


@pytest.mark.parametrize("text", ["?" * 16384 + "=", "://" * 5461, "?token" * 2730 + "=", "?" + "token" * 3276 + "="])
def test_a_hostile_value_costs_no_time(text):
    before = time.process_time()
    make_plain(text)
    assert time.process_time() - before < 0.1


def raise_from(depth):
    if depth:
        raise_from(depth - 1)
    raise ValueError("at the bottom")


def caught(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 whatever it raises
        return error
    raise AssertionError("it raised nothing")


def test_an_exception_tells_type_message_and_frames():
    (described,) = describe_exception(caught(raise_from, 1))
    assert described["type"] == "ValueError"
    assert described["message"] == "at the bottom"
    assert [frame["function"] for frame in described["frames"]] == ["caught", "raise_from", "raise_from"]
    assert {frame["file"] for frame in described["frames"]} == {__file__}
    assert all(isinstance(frame["line"], int) for frame in described["frames"])


def test_the_innermost_frames_are_kept():
    (described,) = describe_exception(caught(raise_from, 100))
    assert [frame["function"] for frame in described["frames"]] == ["raise_from"] * MAX_FRAMES


def test_causes_follow_and_what_was_suppressed_does_not():
    def explicit():
        try:
            raise_from(0)
        except ValueError as error:
            raise OSError("outer") from error

    def implicit():
        try:
            raise_from(0)
        except ValueError:
            raise OSError("outer")  # noqa: B904 the case

    def suppressed():
        try:
            raise_from(0)
        except ValueError:
            raise OSError("outer") from None

    def types(function):
        return [link["type"] for link in describe_exception(caught(function))]

    assert types(explicit) == ["OSError", "ValueError"]
    assert types(implicit) == ["OSError", "ValueError"]
    assert types(suppressed) == ["OSError"]


def test_the_members_of_a_group_follow_it():
    group = ExceptionGroup("many", [ValueError("a"), ExceptionGroup("inner", [KeyError("b")])])
    assert [link["type"] for link in describe_exception(group)] == [
        "ExceptionGroup",
        "ValueError",
        "ExceptionGroup",
        "KeyError",
    ]


def test_causes_are_bounded_and_a_circle_of_them_ends():
    last = error = ValueError("0")
    for number in range(20):
        error.__cause__ = ValueError(str(number + 1))
        error = error.__cause__
    assert len(describe_exception(last)) == 1 + MAX_CAUSES
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert [link["message"] for link in describe_exception(one)] == ["one", "two"]


def test_the_type_of_a_foreign_exception_has_its_module():
    assert describe_exception(json.JSONDecodeError("m", "d", 0))[0]["type"] == "json.decoder.JSONDecodeError"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77:51234", "192.0.2.0/24"),
        ("192.0.2.77", "192.0.2.0/24"),
        ("[2001:db8:1:2345::7]:443", "2001:db8:1:2300::/56"),
        ("2001:db8:1:2345::7", "2001:db8:1:2300::/56"),
        ("[fe80::1%eth0]:22", "fe80::/56"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("annas-laptop.example:22", MASK),
        ("unknown", MASK),
        ("", MASK),
    ],
)
def test_an_address_as_its_network(address, network):
    assert mask_address(address) == network


@pytest.mark.parametrize(
    "value",
    [
        {"authorization": "Bearer s3cret"},
        {"Proxy-Authorization": "Basic s3cret"},
        {"set-cookie": "session=s3cret"},
        {"SOKKEN_TOKEN": "s3cret"},
        {"headers": {"Cookie": ["s3cret"]}},
        {"url": "https://anna:s3cret@collector.example/v1/traces"},
        {"detail": "cannot reach http://anna:s3cret@proxy:3128 now"},
        {"url": "wss://b/?access_token=s3cret&a=1"},
    ],
    ids=str,
)
def test_no_secret_survives_under_any_of_its_names(value):
    assert "s3cret" not in str(make_plain(value))
