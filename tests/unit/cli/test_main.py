"""The command as it is run: exit codes, and one line for every mistake."""

import subprocess
import sys
import types

import pytest

from sokken import __version__
from sokken.cli.main import main
from sokken.errors import ConfigurationError, SokkenError, UsageError

SERVER = ["server", ":8000", "127.0.0.1:22"]


@pytest.fixture
def server_ends(monkeypatch):
    """Put a server in place that ends at once, in the way that the test says."""

    def use(run):
        monkeypatch.setitem(sys.modules, "sokken.server.program", types.SimpleNamespace(run=run))

    return use


def test_the_exit_code_is_the_programs(server_ends):
    server_ends(lambda _settings, _warnings: 7)
    assert main(SERVER) == 7


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("it is so and so"), 2),
        (ConfigurationError("it is so and so"), 3),
        (SokkenError("it is so and so"), 1),
    ],
)
def test_an_expected_error_is_one_line_and_an_exit_code(server_ends, capsys, error, code):
    def run(_settings, _warnings):
        raise error

    server_ends(run)
    assert main(SERVER) == code
    assert capsys.readouterr() == ("", "sokken: it is so and so\n")


def test_an_interrupt_before_the_program_runs_is_quiet(server_ends, capsys):
    def run(_settings, _warnings):
        raise KeyboardInterrupt

    server_ends(run)
    assert main(SERVER) == 1
    assert capsys.readouterr() == ("", "")


def sokken(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "sokken", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "", **environment},
        check=False,
    )


def test_python_m_sokken():
    done = sokken("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sokken {__version__}\n", "")


def test_no_arguments_at_all_is_a_usage_error():
    done = sokken()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: sokken server ")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "beginning"),
    [
        (["server"], {}, 3, "API_ADDR is missing: give it as an argument, or set SOKKEN_API_ADDR"),
        (["server", ":1"], {}, 3, "REMOTE_ADDR is missing: give it as an argument, or set SOKKEN_TARGETS"),
        (["client", ":1"], {}, 3, "LISTEN_ADDR REMOTE_ADDR is missing: give it as an argument, or set SOKKEN_"),
        (["client"], {"SOKKEN_API_ADDR": "x"}, 2, "variable SOKKEN_API_ADDR: 'x': the port is missing"),
        (["client", ":1", ":2"], {}, 2, "argument 3 (REMOTE_ADDR) is missing"),
        (["client", ":1", ":2", "http://b/"], {}, 2, "argument 3 (REMOTE_ADDR): 'http://b/': write ws://"),
        (["client", ":1", ":2", "ws://me:s3cret@b/"], {}, 2, "argument 3 (REMOTE_ADDR): 'ws://***@b/'"),
        (["client", ":1", ":2", "ws://b/", ":2", "ws://c/"], {}, 2, "':2': two forwards have this listen"),
        (["server", ":1", "a:1", "-log-pretti"], {}, 2, "unknown option -log-pretti, did you mean -log-pretty?"),
        (["server", ":1", "a:1", "-max-connections", "0"], {}, 2, "option -max-connections: '0': this is less"),
        (["serve"], {}, 2, "unknown command 'serve', did you mean server?"),
    ],
)
def test_a_users_mistake_is_one_line(arguments, environment, code, beginning):
    done = sokken(*arguments, **environment)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith(f"sokken: {beginning}")
    assert done.stderr.count("\n") == 1


def test_bytes_that_are_no_text_are_a_mistake_like_others():
    done = sokken(b"client", b":1", b":2", b"ws://b/\xff")
    assert done.returncode == 2
    assert done.stderr.startswith(r"sokken: argument 3 (REMOTE_ADDR): 'ws://b/\udcff': a URL holds no space")
