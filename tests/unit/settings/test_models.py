"""The two programs' settings as a whole: frozen, from arguments and environment only, without conflicts."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from sokken.protocol.address import Address
from sokken.settings.models import ClientSettings, ServerSettings

URL = "ws://b/tunnel/c:22"


def conflict(forwards, api_addr=":1"):
    with pytest.raises(ValidationError) as caught:
        ClientSettings(api_addr=api_addr, forwards=forwards)
    return str(caught.value.errors()[0]["ctx"]["error"])


def test_settings_do_not_change():
    settings = ServerSettings(api_addr=":1", targets="a:1")
    with pytest.raises(ValidationError):
        settings.max_connections = 5


def test_the_environment_alone_is_enough(monkeypatch):
    monkeypatch.setenv("SOKKEN_API_ADDR", ":8000")
    monkeypatch.setenv("SOKKEN_TARGETS", "127.0.0.1:22\ngithub.com:443\n")
    monkeypatch.setenv("SOKKEN_LOG_PRETTY", "yes")
    settings = ServerSettings()
    assert settings.api_addr == Address("", 8000)
    assert settings.targets == (Address("127.0.0.1", 22), Address("github.com", 443))
    assert settings.log_pretty


def test_an_empty_variable_is_the_same_as_none(monkeypatch):
    for name in ServerSettings.model_fields:
        monkeypatch.setenv(f"SOKKEN_{name.upper()}", "")
    with pytest.raises(ValidationError) as caught:
        ServerSettings()
    assert {(error["type"], *error["loc"]) for error in caught.value.errors()} == {
        ("missing", "api_addr"),
        ("missing", "targets"),
    }


def test_no_file_that_lies_about_is_read(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("SOKKEN_MAX_CONNECTIONS=5\n")
    monkeypatch.chdir(tmp_path)
    assert ServerSettings(api_addr=":1", targets="a:1").max_connections == 100


def test_a_policy_file_stands_for_targets():
    settings = ServerSettings(api_addr=":1", policy_file="/policy.yaml")
    assert (settings.targets, settings.policy_file) == ((), Path("/policy.yaml"))
    assert ServerSettings(api_addr=":1", policy_file="/p", targets=()).targets == ()


def test_a_policy_file_and_targets_are_one_too_many():
    with pytest.raises(ValidationError) as caught:
        ServerSettings(api_addr=":1", policy_file="/policy.yaml", targets="a:1")
    (error,) = caught.value.errors()
    assert (error["loc"], error["type"]) == (("targets",), "value_error")


def test_a_policy_file_without_a_name_is_the_only_problem():
    with pytest.raises(ValidationError) as caught:
        ServerSettings(api_addr=":1", policy_file="")
    assert [error["loc"] for error in caught.value.errors()] == [("policy_file",)]


def test_two_forwards_do_not_share_a_listen_address():
    assert conflict(f":2={URL} a=:2={URL}") == (
        "':2': two forwards have this listen address; give each its own, for example 127.0.0.1:2222 or :8000"
    )


def test_two_forwards_do_not_share_a_name():
    assert conflict(f"a=:2={URL} a=:3={URL}") == (
        "'a': two forwards have this name; give each its own, for example a-2"
    )


def test_a_forward_does_not_take_the_address_of_the_api():
    assert conflict(f":2={URL}", api_addr=":2").startswith("':2': a forward's listen address is API_ADDR, too")


def test_port_0_is_another_port_every_time():
    settings = ClientSettings(api_addr=":0", forwards=f":0={URL} :0={URL} a=:0={URL}")
    assert [forward.name for forward in settings.forwards] == [":0", ":0", "a"]


@pytest.mark.parametrize(("name", "value"), [("event_loop", "trio"), ("readiness", "always")])
def test_choices(name, value):
    with pytest.raises(ValidationError):
        ClientSettings(api_addr=":1", forwards=f":2={URL}", **{name: value})


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_proxies_have_the_variables_that_other_programs_read_too(monkeypatch, variable):
    monkeypatch.setenv(variable, "http://me:s3cret@p:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,.example.com 10.0.0.0/8")
    monkeypatch.setenv("HTTP_PROXY", "")
    monkeypatch.setenv("SOKKEN_PROXY", "ours:1")
    settings = ClientSettings(api_addr=":1", forwards=f":2={URL}")
    assert str(settings.https_proxy) == "http://p:3128"
    assert str(settings.proxy) == "http://ours:1"
    assert settings.http_proxy is None
    assert [str(item) for item in settings.no_proxy] == ["localhost", ".example.com", "10.0.0.0/8"]
    assert "s3cret" not in repr(settings)


def test_the_admin_address_is_nobody_elses():
    with pytest.raises(ValidationError) as caught:
        ServerSettings(api_addr=":8000", targets="a:1", admin_addr=":8000")
    assert str(caught.value.errors()[0]["ctx"]["error"]) == (
        "':8000': this is API_ADDR, too; give it its own, for example 127.0.0.1:19000"
    )
    with pytest.raises(ValidationError) as caught:
        ClientSettings(api_addr=":1", forwards=f"127.0.0.1:2={URL}", admin_addr="127.0.0.1:2")
    assert "a forward's listen address is SOKKEN_ADMIN_ADDR, too" in str(caught.value.errors()[0]["ctx"]["error"])
    settings = ServerSettings(api_addr=":0", targets="a:1", admin_addr=":0", admin_hosts="Sokken.Internal, b.example")
    assert settings.admin_hosts == ("sokken.internal", "b.example")
    assert ServerSettings(api_addr=":1", targets="a:1", admin_addr="").admin_addr is None
