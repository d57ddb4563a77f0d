"""A command line leads to one text, one check, or one program with its settings."""

import subprocess
import sys
import types

import pytest

from sokken import __version__
from sokken.cli.dispatch import dispatch
from sokken.cli.help import overview, program_help
from sokken.errors import ConfigurationError, UsageError
from sokken.protocol.address import parse_forward, parse_target
from sokken.settings import ClientSettings, ServerSettings, UnknownSetting


@pytest.fixture
def runs(monkeypatch):
    """What was run, by programs that note their settings and end."""
    noted = []

    def end(name, code):
        def run(settings, warnings):
            noted.append((name, settings, warnings))
            return code

        return types.SimpleNamespace(run=run)

    monkeypatch.setitem(sys.modules, "sokken.server.program", end("server", 10))
    monkeypatch.setitem(sys.modules, "sokken.client.program", end("client", 11))
    return noted


def test_the_server_is_run_with_its_settings(runs, monkeypatch):
    monkeypatch.setenv("SOKKEN_TARGTS", "x")
    assert dispatch(["server", ":8000", "a:1", "--log-debug"]) == 10
    ((name, settings, warnings),) = runs
    assert name == "server"
    assert isinstance(settings, ServerSettings)
    assert settings.targets == (parse_target("a:1"),)
    assert settings.log_debug
    assert warnings == (UnknownSetting("SOKKEN_TARGTS", "SOKKEN_TARGETS"),)


def test_the_client_is_run_with_its_settings(runs, monkeypatch):
    monkeypatch.setenv("SOKKEN_API_ADDR", ":1")
    monkeypatch.setenv("SOKKEN_FORWARDS", "ssh=:2=ws://b/")
    assert dispatch(["-max-connections=5", "client"]) == 11
    ((name, settings, warnings),) = runs
    assert name == "client"
    assert isinstance(settings, ClientSettings)
    assert settings.forwards == (parse_forward("ssh=:2=ws://b/"),)
    assert settings.max_connections == 5
    assert warnings == ()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--version"], f"sokken {__version__}\n"),
        (["server", "--version", "-x"], f"sokken {__version__}\n"),
        (["--help"], overview()),
        (["-h", "-x"], overview()),
        (["server", "-h"], program_help("server")),
        (["--help", "client", ":1"], program_help("client")),
        (["check-config", "--help"], overview()),
    ],
)
def test_a_text_goes_to_standard_output(runs, capsys, arguments, text):
    assert dispatch(arguments) == 0
    assert capsys.readouterr() == (text, "")
    assert not runs


@pytest.mark.parametrize("arguments", [[], ["--"], ["-log-debug"]])
def test_no_command_is_a_usage_error(capsys, arguments):
    assert dispatch(arguments) == 2
    assert capsys.readouterr() == ("", overview())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clinet"], "unknown command 'clinet', did you mean client?"),
        (["docter"], "unknown command 'docter', did you mean doctor?"),
        (["prob"], "unknown command 'prob', did you mean probe?"),
        (["check-confg"], "unknown command 'check-confg', did you mean check-config?"),
        (["check-config", "sever"], "unknown command 'sever', did you mean server?"),
        (["zzz"], "unknown command 'zzz', for example sokken server --help"),
        (
            ["check-config"],
            "check-config is followed by server, client or operator, for example sokken check-config server",
        ),
        (["-log-debg"], "unknown option -log-debg, did you mean -log-debug?"),
    ],
)
def test_an_unknown_command_is_a_usage_error(runs, arguments, message):
    with pytest.raises(UsageError) as caught:
        dispatch(arguments)
    assert str(caught.value) == message
    assert not runs


def test_malformed_settings_are_a_usage_error(runs):
    with pytest.raises(UsageError, match=r"^argument 1 \(API_ADDR\): .* example 127.0.0.1:2222 or :8000$"):
        dispatch(["server", "8000", "a:1"])
    assert not runs


def test_missing_settings_are_a_configuration_error(runs):
    with pytest.raises(ConfigurationError, match=r"^REMOTE_ADDR is missing: .*22$"):
        dispatch(["server", ":8000"])
    assert not runs


def test_several_problems_are_one_line_that_says_where_the_others_are_told(runs):
    with pytest.raises(UsageError) as caught:
        dispatch(["client", ":1", "-max-connections=x"])
    assert str(caught.value) == (
        "option -max-connections: 'x': this is no whole number, for example 100"
        " (and 1 more: sokken check-config client ... lists them)"
    )
    assert not runs


def test_check_config_runs_nothing(runs, capsys):
    assert dispatch(["check-config", "server", ":8000", "a:1"]) == 0
    assert "argument" in capsys.readouterr().out
    assert not runs


@pytest.mark.parametrize(("program", "other"), [("server", "client"), ("client", "server")])
def test_only_the_chosen_program_is_imported(program, other):
    code = f"""
import sys, types
sys.modules["sokken.{program}.program"] = types.SimpleNamespace(run=lambda settings, warnings: 0)
from sokken.cli.main import main
code = main(["{program}", ":1", *{{"server": ["a:1"], "client": [":2", "ws://b/"]}}["{program}"]])
print(code, *{{"sokken.{other}", "sokken.transport", "sokken.telemetry", "aiohttp"}} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, env={"PATH": ""}, check=True
    )
    assert done.stdout == "0\n"
