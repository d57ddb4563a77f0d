"""Options of the small commands: one dash or two, anywhere, and what is none of theirs is left alone."""

import pytest

from sokken.cli.flags import read_seconds, take_flags
from sokken.errors import UsageError

EXAMPLES = {"timeout": "3"}


@pytest.mark.parametrize(
    ("words", "found", "others"),
    [
        ([], {}, []),
        (["-timeout", "5", "live"], {"timeout": "5"}, ["live"]),
        (["live", "--timeout=5", "-timeout=6"], {"timeout": "6"}, ["live"]),
        (["-json", "x", "--json"], {"json": ""}, ["x"]),
        (["-other", "y", "timeout", "json", "--", "-"], {}, ["-other", "y", "timeout", "json", "--", "-"]),
    ],
)
def test_they_are_taken_out(words, found, others):
    assert take_flags(words, EXAMPLES, ["json"]) == (found, others)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["-timeout"], "option -timeout needs a value, for example -timeout 3"),
        (["--timeout="], "option --timeout needs a value, for example --timeout 3"),
        (["-json=no"], "option -json has no value: leave 'no' out"),
    ],
)
def test_a_value_too_few_or_too_many(words, problem):
    with pytest.raises(UsageError) as caught:
        take_flags(words, EXAMPLES, ["json"])
    assert str(caught.value) == problem


def test_seconds():
    assert read_seconds("idle", "0", 0) == 0
    assert read_seconds("idle", "2.5", 0) == 2.5


@pytest.mark.parametrize("text", ["x", "-1", "nan", "inf", "86401", ""])
def test_what_are_no_seconds(text):
    with pytest.raises(UsageError, match=r"^option -idle: .*: this is no number of seconds from 0 to 86400$"):
        read_seconds("idle", text, 0)
