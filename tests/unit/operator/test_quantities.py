"""Amounts in two spellings."""

import pytest

from sokken.operator.quantities import parse_quantity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        (2, "2"),
        ("2e3", "2k"),
        ("0.1", "100m"),
        ("1E", "1e18"),
        ("+1", "1."),
    ],
)
def test_two_spellings_of_one_amount(one, other):
    assert parse_quantity(one) == parse_quantity(other) is not None


@pytest.mark.parametrize(("one", "other"), [("1M", "1Mi"), ("1m", "1"), ("1", "2"), ("1n", "1u")])
def test_two_amounts(one, other):
    assert parse_quantity(one) != parse_quantity(other)


@pytest.mark.parametrize("value", ["", "many", "1 Gi", "1.2.3", True, None, "1KiB", "Infinity"])
def test_what_is_no_amount(value):
    assert parse_quantity(value) is None
