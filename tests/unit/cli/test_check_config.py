"""The check: what is in effect and where it came from, and every problem, without leaving a trace."""

import os
import pty
import socket
import subprocess
import sys
from typing import Annotated

import pytest
from pydantic import Field

from sokken.cli import check_config as module
from sokken.cli.check_config import check_config, find_problems
from sokken.cli.options import parse_command_line
from sokken.settings import ClientSettings, ServerSettings
from sokken.settings.fields import Mark

# Self-signed, for nobody, without a key.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBgjCCASmgAwIBAgIUbJgIA/KcfSrugXnYV2i+6Ru/u/EwCgYIKoZIzj0EAwIw
FjEUMBIGA1UEAwwLc29ra2VuLXRlc3QwIBcNMjYxMTIzMDU1NTEyWhgPMjEyNjEw
MzAwNTU1MTJaMBYxFDASBgNVBAMMC3Nva2tlbi10ZXN0MFkwEwYHKoZIzj0CAQYI
KoZIzj0DAQcDQgAELPXVdmCXMXm+ahMfjHpSfcsuvAT1CODTK+JcCnu3ju5/xJHF
s49Ju1KLpFwZgILbMOAvdkVw3/cwmDgwuWV4MaNTMFEwHQYDVR0OBBYEFGl2ZFdB
PXEp/si3vb556cdhJ2mXMB8GA1UdIwQYMBaAFGl2ZFdBPXEp/si3vb556cdhJ2mX
MA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDRwAwRAIgZkFum6sv1bPk7bqi
MSFwwnE8hocEL3omfYud59sRNhcCIFMmQBHWUn69AlTw4pXgZK2YDDdbre3QYafe
UxVQj4yH
-----END CERTIFICATE-----
"""
NOWHERE = "[fe80::1%no-such-if]:80"


def server(**settings):
    return list(find_problems(ServerSettings(api_addr="127.0.0.1:0", targets="absent.invalid:1", **settings)))


def client(**settings):
    defaults = {"api_addr": "127.0.0.1:0", "forwards": "[::1]:0=ws://absent.invalid/"}
    return list(find_problems(ClientSettings(**defaults | settings)))


def run(text):
    return check_config(parse_command_line(f"check-config {text}".split()))


# -------------------------------------------------------------------------------------------- the table
def test_the_table_tells_values_and_where_they_came_from(capsys, monkeypatch):
    monkeypatch.setenv("SOKKEN_TARGETS", "127.0.0.1:22 github.com:443")
    assert run("server :8000 -max-connections 5") == 0
    output = capsys.readouterr()
    rows = [line.split("  ") for line in output.out.splitlines()]
    table = {cells[0].strip(): [cell.strip() for cell in cells[1:] if cell.strip()] for cells in rows}
    assert list(table)[1:] == [name.replace("_", "-") for name in ServerSettings.model_fields]
    assert table["SETTING"] == ["VALUE", "FROM"]
    assert table["api-addr"] == [":8000", "argument"]
    assert table["max-connections"] == ["5", "argument"]
    assert table["targets"] == ["127.0.0.1:22, github.com:443", "environment SOKKEN_TARGETS"]
    assert table["log-debug"] == ["false", "default"]
    assert table["log-file"] == ["-", "default"]
    assert output.err == ""


def test_the_table_is_aligned(capsys):
    assert run("server :8000 a:1") == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines[0].index("FROM")
    assert {line[at - 1] for line in lines} == {" "}
    assert all(line[at] != " " for line in lines)


def test_a_secret_is_masked(capsys, monkeypatch):
    class Program(ServerSettings):
        token: Annotated[str, Mark(is_secret=True)] = Field(default="", description="A token")

    monkeypatch.setitem(module.PROGRAMS, "server", Program)
    monkeypatch.setenv("SOKKEN_TOKEN", "s3cret")
    assert run("server :8000 a:1") == 0
    output = capsys.readouterr()
    assert "********" in output.out
    assert "s3cret" not in output.out + output.err


def test_colour_is_for_terminals_only(capsys):
    assert run("server :8000 a:1 -log-file /") == 3
    output = capsys.readouterr()
    assert "\033" not in output.out + output.err
    text = on_a_terminal("check-config", "server", ":8000", "a:1", "-log-file", "/")
    assert "\033[2mlog-debug" in text
    assert "\033[31mlog-file: '/' is a directory\033[0m" in text
    assert "\033[33mwarning: unknown variable SOKKEN_X" in text


def on_a_terminal(*arguments):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sokken", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={"PATH": "", "SOKKEN_X": "1"},
    )
    os.close(theirs)
    text = b""
    try:
        while chunk := os.read(ours, 65536):
            text += chunk
    except OSError:  # how Linux ends a terminal that nobody holds any more
        pass
    os.close(ours)
    assert process.wait(30) == 3
    return text.decode()


# ----------------------------------------------------------------------------------- malformed settings
def test_every_problem_is_a_line(capsys):
    assert run("server 8000 -max-connections 0 -lgo-debug") == 3
    output = capsys.readouterr()
    assert output.out == ""
    assert [line.partition(":")[0] for line in output.err.splitlines()] == [
        "unknown option -lgo-debug, did you mean -log-debug?",
        "argument 1 (API_ADDR)",
        "option -max-connections",
        "REMOTE_ADDR is missing",
    ]


@pytest.mark.parametrize("arguments", [":8000", "8000"])
def test_unknown_variables_are_told_whether_or_not_the_rest_is_sound(capsys, monkeypatch, arguments):
    monkeypatch.setenv("SOKKEN_LOGFILE", "x")
    monkeypatch.setenv("SOKKEN_TARGETS", "a:1")
    run(f"server {arguments}")
    warning = "warning: unknown variable SOKKEN_LOGFILE, did you mean SOKKEN_LOG_FILE?"
    assert capsys.readouterr().err.splitlines()[0] == warning


# ------------------------------------------------------------------------------------ unworkable settings
def test_sound_settings_have_no_problems(tmp_path):
    authorities = tmp_path / "ca.pem"
    authorities.write_text(CERTIFICATE)
    log_file = tmp_path / "logs" / "today" / "sokken.log"
    assert not server(log_file=log_file, event_loop="asyncio")
    assert not client(log_file=log_file, ca_file=authorities)
    assert sorted(tmp_path.iterdir()) == [authorities]


def test_a_port_in_use_is_not_asked_for():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert not client(api_addr=f"127.0.0.1:{taken.getsockname()[1]}")


def test_a_listen_address_that_does_not_resolve():
    problems = client(api_addr=NOWHERE, forwards="[fe80::1%no-such-if]:81=ws://b/")
    assert [problem.partition(" does not resolve here: ")[0] for problem in problems] == [
        "API_ADDR: '[fe80::1%no-such-if]:80'",
        "a forward: '[fe80::1%no-such-if]:81'",
    ]


def test_authorities_that_are_none(tmp_path):
    path = tmp_path / "ca.pem"
    (problem,) = client(ca_file=path)
    assert str(path) in problem
    path.write_text("no certificate")
    (problem,) = client(ca_file=path)
    assert "PEM" in problem
    (problem,) = client(ca_file=tmp_path)
    assert "is a directory" in problem


def test_a_policy_that_is_none(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("rules: []")
    problem = f"SOKKEN_POLICY_FILE: cannot use {path}: rules: this is a list of at least one rule, not an empty one"
    assert list(find_problems(ServerSettings(api_addr="127.0.0.1:0", policy_file=path))) == [problem]
    path.write_text('rules: [{action: deny, identities: ["*"], targets: ["*:*"]}]')
    assert not list(find_problems(ServerSettings(api_addr="127.0.0.1:0", policy_file=path)))


def test_a_log_file_that_cannot_be(tmp_path):
    occupied = tmp_path / "file"
    occupied.touch()
    assert not server(log_file=occupied)
    assert server(log_file=tmp_path) == [f"log-file: '{tmp_path}' is a directory"]
    assert server(log_file=occupied / "a" / "b.log") == [f"log-file: '{occupied}' is no directory"]
    assert server(log_file="x" * 300) == [f"log-file: '{'x' * 300}' cannot be reached: File name too long"]


def test_a_log_file_that_may_not_be(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    assert server(log_file=tmp_path / "a" / "b.log") == [f"log-file: '{tmp_path}' may not be written to"]


def test_a_pretty_log_needs_no_file(tmp_path):
    assert not server(log_file=tmp_path, log_pretty=True)


def test_uvloop_must_be_there_if_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    (problem,) = server(event_loop="uvloop")
    assert problem.startswith("event-loop: uvloop is not installed")
    assert not server(event_loop="auto")


def test_problems_of_sound_settings_follow_the_table(capsys):
    assert run("server :8000 a:1 -log-file /") == 3
    output = capsys.readouterr()
    assert output.out.startswith("SETTING")
    assert output.err == "log-file: '/' is a directory\n"


def test_an_admin_address_and_its_token(tmp_path):
    assert server(admin_addr="127.0.0.1:0") == []
    [problem] = server(admin_addr=NOWHERE)
    assert problem.startswith(f"SOKKEN_ADMIN_ADDR: '{NOWHERE}' does not resolve here")
    (tmp_path / "token").write_text("short")
    [problem] = client(admin_token_file=tmp_path / "token")
    assert problem.startswith(f"SOKKEN_ADMIN_TOKEN_FILE: cannot use {tmp_path}/token: its token has less than 16")
