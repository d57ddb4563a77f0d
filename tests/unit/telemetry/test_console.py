"""The console: what a person at a terminal reads, with -log-pretty."""

import os
import pty
import re

import pytest

from sokken.telemetry.console import format_console, format_duration, format_size

HEAD = {
    "timestamp": "2026-11-23T05:18:32.123456Z",
    "level": "info",
    "event": "something_happened",
    "logger": "sokken.server.tunnel",
    "role": "server",
    "version": "1.2.3",
}
PRETTY = """
import os
configure(log_pretty=True, log_file=Path("/nonexistent/directory"), log_debug=True)
log.info("server_listening", listen=":8000", targets=["127.0.0.1:22"])
"""


def words(**fields):
    """Format a line; the time is left out, because it is the local one."""
    line = format_console(HEAD | fields, colour=False)
    time, _, rest = line.partition(" ")
    assert re.fullmatch(r"1?\d:\d\d[AP]M", time)
    return rest.removesuffix("\n")


def test_the_start_of_a_server_reads_as_it_always_did():
    assert (
        words(event="server_listening", listen=":8000", targets=["127.0.0.1:22", "db:5432"])
        == "INF listening on :8000, tunnelling to: [127.0.0.1:22 db:5432]"
    )


def test_the_start_of_a_forward_reads_as_it_always_did():
    url = "ws://machine-b:8000/tunnel/127.0.0.1:22"
    assert (
        words(event="forward_listening", listen="127.0.0.1:2222", url=url, forward="ssh")
        == f"INF tunnelling 127.0.0.1:2222 to {url} forward=ssh"
    )


def test_a_sentence_that_lacks_a_field_falls_back_to_the_event():
    assert words(event="server_listening", listen=":8000") == "INF server_listening listen=:8000"


def test_fields_follow_in_their_order_with_units_and_nothing_that_is_not_set():
    assert (
        words(
            event="connection_closed",
            peer="127.0.0.1:40000",
            tunnel=None,
            bytes_up=512,
            bytes_down=21_000_000,
            duration_s=123.4,
            close_code=1000,
            clean=True,
        )
        == "INF connection_closed peer=127.0.0.1:40000 bytes_up=512B bytes_down=20.0MiB duration_s=2m3s "
        "close_code=1000 clean=true"
    )


@pytest.mark.parametrize(
    ("level", "name"),
    [("debug", "DBG"), ("info", "INF"), ("warning", "WRN"), ("error", "ERR"), ("critical", "FTL")],
)
def test_levels_have_three_letters(level, name):
    assert words(level=level) == f"{name} something_happened"


def test_what_a_library_says_is_the_sentence():
    assert (
        words(event="library_message", logger="asyncio", message="two words\nof it")
        == r"INF two words\nof it logger=asyncio"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('"', r'"\""'),
        ("größe", "größe"),
        ("\x1b[31mred", r'"\u001b[31mred"'),
        ("a\nb", r'"a\nb"'),
        ("\u202egnp.exe", r'"\u202egnp.exe"'),
        (["a", 1], '["a", 1]'),
        ({"a": None}, '{"a": null}'),
    ],
)
def test_values_are_quoted_where_they_must_be_and_never_control_the_terminal(value, text):
    assert words(field=value) == f"INF something_happened field={text}"


def test_no_part_of_a_line_controls_the_terminal():
    nasty = "\x1b]0;title\x07\r\n"
    link = {"type": "ValueError", "message": nasty, "frames": [{"file": nasty, "line": 1, "function": "f"}]}
    for fields in (
        {"event": nasty},
        {nasty: 1},
        {"event": "library_message", "message": nasty},
        {"event": "server_listening", "listen": nasty, "targets": [nasty]},
        {"logger": nasty},
        {"exception": [link]},
    ):
        line = format_console(HEAD | fields, colour=True)
        assert re.sub(r"\x1b\[\d+m|\x1b\[31;1m|\n", "", line).isprintable()
        assert line.count("\n") == (3 if "exception" in fields else 1)


def test_an_exception_is_a_block_below():
    frames = [{"file": "/a/b.py", "line": 12, "function": "serve"}]
    chain = [
        {"type": "ValueError", "message": "outer", "frames": frames},
        {"type": "OSError", "message": "inner", "frames": []},
    ]
    assert words(level="error", exception=chain).splitlines() == [
        "ERR something_happened",
        "    ValueError: outer",
        "      /a/b.py:12 in serve",
        "    from OSError: inner",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0123, "12.3ms"), (1, "1.00s"), (59.5, "59.50s"), (60, "1m0s"), (3723.4, "1h2m3s")],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0B"), (1023, "1023B"), (1536, "1.5KiB"), (2**20, "1.0MiB"), (2**30, "1.0GiB"), (5 * 2**50, "5120.0TiB")],
)
def test_sizes(size, text):
    assert format_size(size) == text


def test_it_overrides_the_file_and_has_no_colour_in_a_pipe(run_program):
    done = run_program(PRETTY)
    assert done.code == 0
    assert re.fullmatch(r"1?\d:\d\d[AP]M INF listening on :8000, tunnelling to: \[127\.0\.0\.1:22\]\n", done.error)


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("", True), ("1", False)])
def test_it_has_colour_on_a_terminal_whose_owner_wants_it(start_program, no_color, coloured):
    master, slave = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    if no_color is not None:
        environment["NO_COLOR"] = no_color
    program = start_program(PRETTY, stderr=slave, env=environment)
    assert program.wait(30) == 0
    shown = os.read(master, 1000).decode()
    os.close(master)
    os.close(slave)
    assert ("\x1b[32mINF\x1b[0m listening on :8000, tunnelling to: [127.0.0.1:22]" in shown) == coloured
    assert ("\x1b" in shown) == coloured
