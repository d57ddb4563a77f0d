"""Loading: who beats whom, where each value came from, and every problem in one line of its own."""

import subprocess
import sys
from typing import Annotated

import pytest
from pydantic import BeforeValidator, Field

from sokken.errors import SokkenError
from sokken.protocol.address import Address
from sokken.settings import (
    ClientSettings,
    InvalidSettings,
    Problem,
    ServerSettings,
    Source,
    UnknownSetting,
    load,
)
from sokken.settings.fields import Mark
from sokken.settings.models import ProgramSettings

SOUND = {"api_addr": ":1", "targets": "a:1"}


def problems(program, arguments, known=()):
    with pytest.raises(InvalidSettings) as caught:
        load(program, arguments, known)
    return caught.value.problems


def problem_of(name, text):
    (problem,) = problems(ClientSettings, {"api_addr": ":1", "forwards": ":2=ws://b/", name: text})
    assert problem.setting == name
    assert not problem.is_missing
    return problem.text


def test_an_argument_beats_a_variable_and_a_variable_beats_the_default(monkeypatch):
    monkeypatch.setenv("SOKKEN_MAX_CONNECTIONS", "5")
    monkeypatch.setenv("SOKKEN_LOG_MAX_AGE_DAYS", "6")
    monkeypatch.setenv("SOKKEN_TARGETS", "b:2 c:3")
    loaded = load(ServerSettings, SOUND | {"max_connections": "7"})
    assert loaded.settings.max_connections == 7
    assert loaded.settings.log_max_age_days == 6
    assert loaded.settings.log_max_rotated == 7
    assert loaded.settings.targets == (Address("a", 1),)
    assert loaded.sources["max_connections"] is Source.ARGUMENT
    assert loaded.sources["log_max_age_days"] is Source.ENVIRONMENT
    assert loaded.sources["log_max_rotated"] is Source.DEFAULT
    assert list(loaded.sources) == list(ServerSettings.model_fields)


def test_an_empty_variable_comes_from_nowhere(monkeypatch):
    monkeypatch.setenv("SOKKEN_LOG_FILE", "")
    assert load(ServerSettings, SOUND).sources["log_file"] is Source.DEFAULT


def test_unknown_variables_are_returned(monkeypatch):
    monkeypatch.setenv("SOKKEN_MAX_CONECTIONS", "5")
    monkeypatch.setenv("SOKKEN_FORWARDS", "no business of the server's")
    monkeypatch.setenv("SOKKEN_PORT_8000_TCP", "tcp://10.0.0.1:8000")
    loaded = load(ServerSettings, SOUND)
    assert loaded.warnings == (UnknownSetting("SOKKEN_MAX_CONECTIONS", "SOKKEN_MAX_CONNECTIONS"),)


def test_what_is_missing_is_told_by_both_of_its_names():
    api_addr, targets = problems(ServerSettings, {})
    assert api_addr == Problem(
        "api_addr",
        "API_ADDR is missing: give it as an argument, or set SOKKEN_API_ADDR, for example SOKKEN_API_ADDR=:8000",
        is_missing=True,
    )
    assert targets.text.startswith("REMOTE_ADDR is missing: ")
    assert targets.text.endswith("SOKKEN_TARGETS=127.0.0.1:22")
    (_, forwards) = problems(ClientSettings, {})
    assert forwards.text.startswith("LISTEN_ADDR REMOTE_ADDR is missing: ")
    assert "SOKKEN_FORWARDS=ssh=127.0.0.1:2222=ws://" in forwards.text


def test_what_is_missing_may_have_been_misspelt(monkeypatch):
    monkeypatch.setenv("SOKKEN_TARGTS", "a:1")
    with pytest.raises(InvalidSettings) as caught:
        load(ServerSettings, {"api_addr": ":1"})
    assert str(caught.value) == (
        "REMOTE_ADDR is missing: give it as an argument, or set SOKKEN_TARGETS"
        " (SOKKEN_TARGTS is set: is that what you mean?)"
    )
    assert caught.value.warnings == (UnknownSetting("SOKKEN_TARGTS", "SOKKEN_TARGETS"),)


def test_an_empty_list_is_missing(monkeypatch):
    monkeypatch.setenv("SOKKEN_TARGETS", " , ")
    (problem,) = problems(ServerSettings, {"api_addr": ":1"})
    assert problem.is_missing


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("max_connections", "0", "'0': this is less than 1, for example 100"),
        ("max_connections", "many", "'many': this is no whole number, for example 100"),
        ("max_connections", "1.5", "'1.5': this is no whole number, for example 100"),
        ("max_connections", "9" * 5000, f"'{'9' * 200}': this number is too large, for example 100"),
        ("max_message_bytes", "99999999", "'99999999': this is more than 16777216, for example 524288"),
        ("connect_timeout_seconds", "0.5", "'0.5': this is less than 1, for example 30"),
        ("drain_timeout_seconds", "soon", "'soon': this is no number, for example 25"),
        ("drain_timeout_seconds", "inf", "'inf': this is no finite number, for example 25"),
        ("log_debug", "perhaps", "'perhaps': this is neither true nor false, for example false"),
        ("event_loop", "trio", "'trio': this is not 'auto', 'asyncio' or 'uvloop', for example auto"),
        ("client_id", "a b", "'a b': a name is 1 to 128 of A-Z a-z 0-9 . _ : / @ -, for example laptop-7.example"),
    ],
)
def test_what_is_malformed_is_told_with_an_example(name, text, complaint):
    assert problem_of(name, text) == f"option -{name.replace('_', '-')}: {complaint}"


def test_a_malformed_variable_is_told_by_its_name(monkeypatch):
    monkeypatch.setenv("SOKKEN_MAX_CONNECTIONS", "x\ny")
    (problem,) = problems(ServerSettings, SOUND)
    assert problem.text == (r"variable SOKKEN_MAX_CONNECTIONS: 'x\ny': this is no whole number, for example 100")


def test_a_malformed_argument_is_told_by_its_name():
    (problem,) = problems(ServerSettings, SOUND | {"api_addr": "1"})
    assert problem.text.startswith("argument API_ADDR: '1': the port is missing")


def test_a_conflict_is_told_for_itself():
    (problem,) = problems(ClientSettings, {"api_addr": ":1", "forwards": "a=:2=ws://b/ a=:3=ws://b/"})
    assert problem == Problem("", "'a': two forwards have this name; give each its own, for example a-2")


def test_all_problems_are_told_and_malformed_ones_first():
    with pytest.raises(InvalidSettings) as caught:
        load(ServerSettings, {"targets": "a:1", "max_connections": "0", "log_debug": "x"})
    error = caught.value
    assert [problem.setting for problem in error.problems] == ["log_debug", "max_connections", "api_addr"]
    assert str(error) == error.problems[0].text
    assert not error.is_missing
    assert isinstance(error, SokkenError)


def test_only_missing():
    with pytest.raises(InvalidSettings) as caught:
        load(ServerSettings, {"targets": "a:1"})
    assert caught.value.is_missing


def test_what_the_caller_found_already_is_told_once():
    known = Problem("api_addr", "argument 1 (API_ADDR): malformed")
    assert problems(ServerSettings, {"targets": "a:1"}, [known]) == (known,)
    assert problems(ServerSettings, SOUND, [known]) == (known,)


@pytest.mark.parametrize("text", ["s3cret", "other"])
def test_a_secret_is_never_shown(text):
    def refuse(value):
        if value == "s3cret":
            raise ValueError(f"{value} is not good")
        return value

    class Program(ProgramSettings):
        token: Annotated[int, BeforeValidator(refuse), Mark(is_secret=True)] = Field(default=0, description="-")

    (problem,) = problems(Program, {"api_addr": ":1", "token": text})
    assert problem.text == "option -token: this secret is malformed (it is not shown)"


def test_loading_does_not_import_what_only_one_program_needs():
    code = (
        "import sys; from sokken.settings import load, ServerSettings;"
        "load(ServerSettings, {'api_addr': ':1', 'targets': 'a:1'});"
        "print(*{'aiohttp', 'structlog', 'uvloop', 'sokken.server', 'sokken.transport'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("variable", ["SOKKEN_PROXY", "HTTPS_PROXY", "HTTP_PROXY"])
def test_a_malformed_proxy_is_refused_without_its_password(monkeypatch, variable):
    monkeypatch.setenv(variable, "socks5://me:s3cret@p:1")
    (problem,) = problems(ClientSettings, {"api_addr": ":1", "forwards": ":2=ws://b/"})
    assert problem.text == f"variable {variable}: this secret is malformed (it is not shown)"


def test_an_empty_proxy_is_refused_where_it_was_meant_for_us(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "")
    monkeypatch.setenv("NO_PROXY", "")
    assert load(ClientSettings, {"api_addr": ":1", "forwards": ":2=ws://b/"}).settings.https_proxy is None
    monkeypatch.setenv("SOKKEN_PROXY", "")
    (problem,) = problems(ClientSettings, {"api_addr": ":1", "forwards": ":2=ws://b/"})
    assert problem.text == "variable SOKKEN_PROXY: it is empty; set it, or leave it out"


def test_a_malformed_exemption_is_refused(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "a,10.0.0.0/99")
    (problem,) = problems(ClientSettings, {"api_addr": ":1", "forwards": ":2=ws://b/"})
    assert problem.text == "variable NO_PROXY: '10.0.0.0/99': this is no network, for example 10.0.0.0/8"


def test_the_proxy_protocol_is_required_of_somebody():
    (problem,) = problems(ServerSettings, SOUND | {"proxy_protocol": "required"})
    assert problem.text.endswith("it is required of nobody; name the proxies in SOKKEN_TRUSTED_PROXIES, too")
    settings = load(
        ServerSettings, SOUND | {"proxy_protocol": "required", "trusted_proxies": "10.0.0.0/8 ::1"}
    ).settings
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("trusted_proxies", "10.0.0.1/8", "'10.0.0.1/8': this is no network (10.0.0.1/8 has host bits set)"),
        ("trusted_proxies", "proxy.example", "'proxy.example': this is no network"),
        ("proxy_protocol", "auto", "'auto': this is not 'off' or 'required'"),
    ],
)
def test_malformed_proxies(name, text, complaint):
    (problem,) = problems(ServerSettings, SOUND | {name: text})
    assert complaint in problem.text


def test_the_package_offers_what_it_says_and_nothing_else():
    import sokken.settings

    assert all(getattr(sokken.settings, name) for name in sokken.settings.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = sokken.settings.Nothing
