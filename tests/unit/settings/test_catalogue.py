"""The settings as help and documents see them: all of them told, named by rule, and secrets masked."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from sokken.protocol.address import Address
from sokken.settings.catalogue import (
    PROGRAMS,
    all_settings,
    format_value,
    programs_of,
    settings_of,
)
from sokken.settings.environment import KUBERNETES_SERVICE
from sokken.settings.fields import Mark
from sokken.settings.models import ProgramSettings, ServerSettings

ALL = list(all_settings().values())


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.name)
def test_every_setting_says_what_it_is(setting):
    assert setting.meaning[0].isupper()
    assert not setting.meaning.endswith(".")
    assert "\n" not in setting.meaning
    assert setting.unit
    assert setting.example or not setting.argument


@pytest.mark.parametrize("setting", ALL, ids=lambda setting: setting.name)
def test_no_setting_is_ever_taken_for_a_kubernetes_service(setting):
    assert not KUBERNETES_SERVICE.fullmatch(setting.variable)


def test_names_follow_from_the_field():
    setting = settings_of(ServerSettings)["log_max_size_mb"]
    assert setting.option == "-log-max-size-mb"
    assert setting.variable == "SOKKEN_LOG_MAX_SIZE_MB"
    assert (setting.default, setting.example, setting.unit) == ("10", "10", "megabytes")
    assert not setting.is_switch
    assert settings_of(ServerSettings)["log_debug"].is_switch


def test_a_default_of_its_own_is_described():
    assert all_settings()["client_id"].default == "the host name"
    assert all_settings()["client_id"].unit == "name"


def test_settings_belong_to_programs():
    assert list(PROGRAMS) == ["server", "client", "operator"]
    assert programs_of("log_file") == ["server", "client", "operator"]
    assert programs_of("max_connections") == ["server", "client"]
    assert programs_of("targets") == ["server"]
    assert programs_of("forwards") == ["client"]
    assert {setting.name for setting in ALL} == {name for program in PROGRAMS.values() for name in program.model_fields}


def test_a_secret_is_masked():
    class Program(ProgramSettings):
        token: Annotated[str, Mark(is_secret=True)] = Field(default="", description="A token")

    setting = settings_of(Program)["token"]
    assert setting.show("s3cret") == "********"
    assert setting.show("") == ""
    assert settings_of(Program)["log_file"].show("open") == "open"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (25.0, "25"),
        (1.5, "1.5"),
        (524288, "524288"),
        ("", ""),
        ("text", "text"),
        (Path("/var/log/\udcff"), r"/var/log/\udcff"),
        ((), ""),
        ((Address("::1", 22), Address("a", 1)), "[::1]:22, a:1"),
    ],
)
def test_a_value_is_formatted_as_it_would_be_given(value, text):
    assert format_value(value) == text
