"""The settings of a program that is started elsewhere: from given variables alone."""

import pytest

from sokken.settings import ClientSettings, InvalidSettings, read_alone

GIVEN = {"SOKKEN_API_ADDR": ":1", "SOKKEN_FORWARDS": "a=:2=ws://b/tunnel/c:3"}


def test_given_variables_and_defaults(monkeypatch):
    monkeypatch.setenv("SOKKEN_MAX_CONNECTIONS", "7")
    monkeypatch.setenv("HTTPS_PROXY", "http://elsewhere:1")
    found = read_alone(ClientSettings, {**GIVEN, "SOKKEN_CONNECT_TIMEOUT_SECONDS": "5", "NO_PROXY": ".internal"})
    assert (found.max_connections, found.connect_timeout_seconds, found.https_proxy) == (100, 5, None)
    assert [str(item) for item in found.no_proxy] == [".internal"]
    assert found.forwards[0].name == "a"


def test_an_empty_variable_and_one_of_another_program_are_none():
    found = read_alone(ClientSettings, {**GIVEN, "SOKKEN_LOG_FILE": "", "SOKKEN_TARGETS": "a:1", "OTHER": "x"})
    assert found.log_file is None


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {**GIVEN, "SOKKEN_MAX_CONNECTIONS": "many"},
            "variable SOKKEN_MAX_CONNECTIONS: 'many': this is no whole number",
        ),
        ({"SOKKEN_API_ADDR": ":1"}, "SOKKEN_FORWARDS"),
        ({**GIVEN, "SOKKEN_API_ADDR": ":2"}, "a forward's listen address is API_ADDR, too"),
    ],
)
def test_what_no_program_could_start_with(variables, said):
    with pytest.raises(InvalidSettings, match=said):
        read_alone(ClientSettings, variables)
