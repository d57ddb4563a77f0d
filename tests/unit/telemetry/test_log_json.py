"""A line as JSON: what make_plain and json would make of it, byte for byte."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.telemetry.log_json import format_json
from sokken.telemetry.log_values import MAX_TEXT, make_plain

HEAD = {"timestamp": "2026-11-26T04:42:28.056913Z", "level": "info", "event": 'a "quoted" \u2028 event'}
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**63) - 2, -(2**63) + 2)
    | st.integers(2**63 - 2, 2**63 + 2)
    | st.floats()
    | st.text()
    | st.binary()
)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
NAMES = st.text() | st.sampled_from(["peer", "token", "Set-Cookie", "bytes_up", "password"])


def plainly(head, fields):
    whole = {**head, **make_plain(fields)}
    return json.dumps(whole, allow_nan=False, separators=(",", ":")) + "\n"


@given(st.dictionaries(NAMES.filter(lambda name: name not in HEAD), VALUES, max_size=6))
def test_it_is_what_json_makes_of_the_plain_line(fields):
    assert format_json(HEAD, fields) == plainly(HEAD, fields)


@pytest.mark.parametrize(
    "value",
    [
        "ws://me:hunter2@host/?token=hunter2",
        "x" * (MAX_TEXT + 1),
        "\ud800 \x00 \x1b[31m \u2028",
        -0.0,
        1e300,
        math.inf,
        math.nan,
        True,
        2**63,
        ValueError("what"),
        ("a", 1),
    ],
)
@pytest.mark.parametrize("name", ["detail", "token", 'a"b'])
def test_no_value_is_an_exception(name, value):
    fields = {name: value, "bytes_up": 3}
    assert format_json(HEAD, fields) == plainly(HEAD, fields)
    assert "hunter2" not in format_json(HEAD, fields)


def test_a_line_needs_no_fields():
    assert json.loads(format_json(HEAD, {})) == HEAD
