"""What the help says: the original's usage, and every setting with its unit, default and variable."""

import pytest

from sokken.cli.help import overview, program_help
from sokken.settings.catalogue import PROGRAMS, settings_of

SERVER = "sokken server [OPTION]... API_ADDR REMOTE_ADDR [REMOTE_ADDR_2...]"
CLIENT = "sokken client [OPTION]... API_ADDR LISTEN_ADDR REMOTE_ADDR [LISTEN_ADDR_2 REMOTE_ADDR_2 ...]"


def test_the_usage_is_the_originals():
    assert overview().startswith(f"Usage: {SERVER}\n       {CLIENT}\n")


@pytest.mark.parametrize("command", ["check-config", "policy test", "doctor", "probe"])
def test_every_small_command_is_told(command):
    assert f"\n  sokken {command} " in overview()


def test_each_program_has_its_own_line():
    assert program_help("server").startswith(f"Usage: {SERVER}\n\n")
    assert program_help("client").startswith(f"Usage: {CLIENT}\n\n")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_setting_is_told_by_the_name_of_its_variable(program):
    text = program_help(program)
    options = {line.split()[0] for line in text.splitlines() if line.startswith("  -")}
    for setting in settings_of(PROGRAMS[program]).values():
        assert setting.variable in text
        assert (setting.option in options) is not bool(setting.argument or setting.is_secret)


def test_an_option_has_its_unit_meaning_and_default():
    assert (
        "\n  -log-max-age-days DAYS\n"
        "        Age of the log file at which it is rotated (default 1, SOKKEN_LOG_MAX_AGE_DAYS)\n"
    ) in program_help("server")
    assert "\n  -log-debug\n        Log at level DEBUG rather than INFO (SOKKEN_LOG_DEBUG)\n" in program_help("client")


def test_a_program_does_not_tell_the_others_options():
    assert " -ca-file" not in program_help("server")
    assert "-base-path" not in program_help("client")
