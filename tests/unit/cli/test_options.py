"""A command line taken apart: every form of an option, wherever it stands."""

import pytest

from sokken.cli.options import parse_command_line

WORDS = ["server", ":8000", "127.0.0.1:22"]


def parse(text):
    return parse_command_line(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "-max-connections 5 server :8000 127.0.0.1:22",
        "--max-connections 5 server :8000 127.0.0.1:22",
        "-max-connections=5 server :8000 127.0.0.1:22",
        "server --max-connections=5 :8000 127.0.0.1:22",
        "server :8000 -max-connections 5 127.0.0.1:22",
        "server :8000 127.0.0.1:22 -max-connections 5",
        "server :8000 127.0.0.1:22 -max-connections 7 -max-connections 5",
        "server -max-connections 5 -- :8000 127.0.0.1:22",
    ],
)
def test_an_option_has_one_dash_or_two_and_stands_anywhere(text):
    line = parse(text)
    assert line.words == WORDS
    assert line.options == {"max_connections": "5"}
    assert not line.problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-log-debug", "true"),
        ("--log-debug", "true"),
        ("-log-debug=false", "false"),
        ("--log-debug=1", "1"),
        ("-log-debug=", ""),
    ],
)
def test_a_switch_never_takes_the_next_word(text, value):
    line = parse(f"{text} server :8000")
    assert line.words == ["server", ":8000"]
    assert line.options == {"log_debug": value}


@pytest.mark.parametrize("value", ["-1", "--", "-log-debug", "a=b", ""])
def test_another_option_takes_the_next_word_whatever_it_is(value):
    line = parse_command_line(["-log-file", value, "server"])
    assert line.options == {"log_file": value}
    assert line.words == ["server"]


def test_a_value_may_hold_an_equals_sign():
    assert parse("-log-file=a=b").options == {"log_file": "a=b"}


def test_two_dashes_end_the_options():
    line = parse("server -- :8000 -log-debug --help --")
    assert line.words == ["server", ":8000", "-log-debug", "--help", "--"]
    assert not line.options
    assert not line.wants_help


def test_one_dash_alone_is_a_word():
    assert parse("server -").words == ["server", "-"]


@pytest.mark.parametrize("text", ["-h", "--h", "-help", "--help", "server --help", "-x -h"])
def test_help(text):
    assert parse(text).wants_help


@pytest.mark.parametrize("text", ["-version", "--version"])
def test_version(text):
    assert parse(text).wants_version


@pytest.mark.parametrize(
    ("text", "program", "is_check", "arguments"),
    [
        ("", "", False, []),
        ("client", "client", False, []),
        ("client :1 :2", "client", False, [":1", ":2"]),
        ("check-config", "", True, []),
        ("check-config server", "server", True, []),
        ("-log-debug check-config client :1", "client", True, [":1"]),
        ("server check-config", "server", False, ["check-config"]),
    ],
)
def test_the_words_are_a_program_and_its_arguments(text, program, is_check, arguments):
    line = parse(text)
    assert (line.program, line.is_check, line.arguments) == (program, is_check, arguments)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("-log-fiel x", "unknown option -log-fiel, did you mean -log-file?"),
        ("--max-connection=5", "unknown option --max-connection, did you mean -max-connections?"),
        ("---log-debug", "unknown option ---log-debug, did you mean -log-debug?"),
        ("-zzz", "unknown option -zzz, see sokken server --help and sokken client --help"),
        ("-log-file", "option -log-file needs a value, for example -log-file PATH"),
        ("server --max-connections", "option -max-connections needs a value, for example -max-connections 100"),
        ("server -ca-file x", "option -ca-file is one of sokken client, not server"),
        ("-base-path /x client", "option -base-path is one of sokken server, not client"),
    ],
)
def test_what_is_wrong_with_an_option(text, problem):
    assert [found.text for found in parse(text).problems] == [problem]


@pytest.mark.parametrize("name", ["-api-addr", "-targets", "-forwards"])
def test_arguments_are_no_options(name):
    (problem,) = parse(f"{name}=x").problems
    assert problem.text.startswith(f"unknown option {name}, ")


def test_both_programs_have_the_originals_options():
    options = (
        "-log-debug -log-file x -log-max-age-days 1 -log-max-rotated 1 "
        "-log-max-size-mb 1 -log-pretty -max-connections 1"
    )
    for program in ("server", "client"):
        line = parse(f"{program} {options}")
        assert len(line.options) == 7
        assert not line.problems
