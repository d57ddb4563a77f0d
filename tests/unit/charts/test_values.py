"""values.yaml as it is read: each value with its default, and with what the comment directly above it says."""

import pytest

from charts.generate.kinds import schema_of_kind
from charts.generate.values import read_values

TEXT = """\
# About the whole file.

# What it is,
# in two lines
# @type labels
# @schema {maxProperties: 3}
labels: {a: b}
top:
  # How many
  # @schema {minimum: 0}
  count: 2
  deep: {on: true}

# of nothing

bare: text
"""


def by_path():
    return {value.path: value for top in read_values(TEXT) for value in top.walk()}


def test_a_comment_is_about_the_key_below_it():
    labels = by_path()[("labels",)]
    assert labels.description == "What it is, in two lines"
    assert (labels.kind, labels.schema, labels.default) == ("labels", {"maxProperties": 3}, {"a": "b"})
    assert labels.children == ()


def test_a_comment_further_up_is_about_nothing():
    assert by_path()[("bare",)].description == ""


def test_mappings_are_taken_apart():
    assert list(by_path()) == [
        ("labels",),
        ("top",),
        ("top", "count"),
        ("top", "deep"),
        ("top", "deep", "on"),
        ("bare",),
    ]
    assert by_path()[("top", "count")].schema == {"minimum": 0}
    assert by_path()[("top", "deep", "on")].default is True


@pytest.mark.parametrize(("text", "said"), [("a: {}\n", "a: an empty mapping"), ("- a\n", "no mapping")])
def test_what_cannot_be_read_is_said(text, said):
    with pytest.raises((TypeError, ValueError), match=said):
        read_values(text)


def test_a_kind_that_is_none():
    with pytest.raises(KeyError, match="lables"):
        schema_of_kind("lables")
