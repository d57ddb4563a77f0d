"""``sokken top``: what it is asked, and what it shows."""

import pytest
from rich.console import Console

from sokken.cli.help import overview
from sokken.cli.main import main
from sokken.cli.top import HELP, Options, draw, format_bytes, format_duration, format_rate, parse

URL = "http://127.0.0.1:19000"


def test_help(capsys):
    assert main(["top", "--help"]) == 0
    assert capsys.readouterr().out == HELP
    assert "sokken top URL" in overview()


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([URL], Options(URL)),
        ([URL + "/"], Options(URL)),
        (["127.0.0.1:19000"], Options(URL)),
        (["https://admin.example/sokken/"], Options("https://admin.example/sokken")),
        (["http://[::1]:19000"], Options("http://[::1]:19000")),
        (
            ["--sort=age", URL, "--filter", "ssh", "--interval", "0.5", "--reverse", "-once"],
            Options(URL, "age", True, "ssh", 0.5, True),
        ),
    ],
)
def test_what_is_asked(words, options):
    assert parse(words) == options


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "followed by one URL"),
        ([URL, URL], "followed by one URL"),
        (["ftp://a"], "'ftp://a' is no URL of an admin address, for example http://127.0.0.1:19000"),
        (["http://user:pw@a"], "no URL of an admin address"),
        (["http://a:99999"], "no URL of an admin address"),
        (["http://a?token=x"], "no URL of an admin address"),
        ([URL, "--sort", "name"], "'name' is none of rate, bytes, age"),
        ([URL, "--sort"], "needs a value"),
        ([URL, "--interval", "0"], "no number of seconds from 0.5"),
        ([URL, "--interval", "nan"], "no number of seconds from 0.5"),
        ([URL, "--colour"], "unknown option --colour"),
    ],
)
def test_a_mistake_is_one_line(words, says, capsys):
    assert main(["top", *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sokken: ")
    assert says in said
    assert said.count("\n") == 1


def test_a_token_file_that_is_not_there(monkeypatch, capsys):
    monkeypatch.setenv("SOKKEN_ADMIN_TOKEN_FILE", "/nowhere")
    assert main(["top", URL]) == 3
    assert capsys.readouterr().err == (
        "sokken: SOKKEN_ADMIN_TOKEN_FILE: cannot use /nowhere: no such file or directory\n"
    )


def test_numbers_are_short():
    assert [format_bytes(n) for n in (0, 999, 1000, 99_949, 123_456, 999_500, 5e15, 5e18)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "99.9 kB",
        "123 kB",
        "1.0 MB",
        "5.0 PB",
        "5000 PB",
    ]
    assert (format_bytes(None), format_rate(None), format_rate(1500)) == ("-", "-", "1.5 kB/s")
    assert [format_duration(s) for s in (0, 59.9, 61, 3600, 90_061)] == ["0s", "59s", "1m01s", "1h00m", "1d01h"]


STATUS = {
    "role": "server",
    "version": "0.1.0",
    "state": "serving",
    "uptime_s": 61,
    "ready": True,
    "not_ready": None,
    "drain": None,
    "connections": {"now": 1, "limit": 100, "rate_up": 1000, "rate_down": None},
}
ROW = {
    "identity": None,
    "client_id": "laptop-7",
    "peer": "192.0.2.7:5",
    "target": "db.internal:5432",
    "forward": None,
    "state": "open",
    "half_closed": None,
    "age_s": 5,
    "rate_up": 1000,
    "rate_down": None,
    "bytes_up": 4000,
    "bytes_down": 0,
}


def shown(status=None, row=None, options=None, **given) -> str:
    listed = {"connections": [ROW | (row or {})], "total": 9, "matching": 1}
    console = Console(width=160, no_color=True, force_terminal=False)
    with console.capture() as captured:
        console.print(draw(STATUS | (status or {}), listed, options or Options(URL), **given))
    return captured.get()


def test_the_picture():
    text = shown()
    assert "sokken server 0.1.0  serving  up 1m01s  1 of 100 connections  ↑ 1.0 kB/s  ↓ -" in text
    for found in ("laptop-7", "192.0.2.7:5", "db.internal:5432", "open", "5s", "4.0 kB", "rate first"):
        assert found in text


def test_what_stands_out():
    assert "alice" in shown(row={"identity": "alice"})
    assert "up ended" in shown(row={"state": "half_closed", "half_closed": "up"})
    assert "ssh" in shown({"role": "client"}, {"forward": "ssh"})
    assert "draining: 7 s left" in shown({"drain": {"remaining_s": 7.2}, "state": "draining", "not_ready": "draining"})
    assert "not ready: server check: no" in shown({"not_ready": "server check: no"})
    assert "is gone" in shown(problem="it is gone")
    assert "bytes reversed, 1 of 9 match" in shown(options=Options(URL, "bytes", True, "x"))
    assert "[q]uit" not in shown(options=Options(URL, is_once=True))


def test_a_name_cannot_move_the_terminals_cursor_or_style_it():
    text = shown(row={"identity": "\x1b[2J\x07evil", "peer": "[bold red]a[/]", "target": None})
    assert "?[2J?evil" in text
    assert "[bold red]a[/]" in text
    assert "\x1b" not in text


def test_there_are_as_many_rows_as_fit():
    listed = {"connections": [ROW] * 50, "total": 50, "matching": 50}
    console = Console(width=160, no_color=True)
    with console.capture() as captured:
        console.print(draw(STATUS, listed, Options(URL), rows=10))
    assert captured.get().count("laptop-7") == 10
