"""A pattern covers whole texts, and no others."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.globs import Glob


@pytest.mark.parametrize(
    ("pattern", "text", "is_match"),
    [
        ("*", "", True),
        ("*", "anything\nat all", True),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", ".example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.example.com.evil.net", False),
        ("*.example.com", "a.exampleXcom", False),
        ("team-*", "team-a", True),
        ("team-*", "not-team-a", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("ab*ba", "aba", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("a*bc*c", "abc", False),
        ("a**b", "ab", True),
    ],
)
def test_examples(pattern, text, is_match):
    assert Glob.parse(pattern).matches(text) is is_match


@given(
    st.text("ab*", min_size=1, max_size=12).filter(lambda text: "*" in text),
    st.text("abc", max_size=20),
)
def test_it_agrees_with_a_regular_expression(pattern, text):
    expected = re.fullmatch(pattern.replace("*", ".*"), text) is not None
    assert Glob.parse(pattern).matches(text) is expected


def test_no_pattern_takes_long():
    # A regular expression would try each way to place each piece.
    assert not Glob.parse("*a" * 200 + "b").matches("a" * 50_000)
