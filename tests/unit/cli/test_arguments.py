"""The words after the program: values by setting, or what is wrong with which argument."""

import pytest

from sokken.cli.arguments import load_settings, parse_arguments
from sokken.cli.options import parse_command_line
from sokken.protocol.address import Address, Forward, parse_forward, parse_server_url
from sokken.settings import ClientSettings, InvalidSettings, OperatorSettings, ServerSettings

URL = "ws://machine-b:8000/tunnel/127.0.0.1:22"


def problems_of(program, *words):
    return [problem.text for problem in parse_arguments(program, words).problems]


@pytest.mark.parametrize("program", [ServerSettings, ClientSettings])
def test_no_arguments_say_nothing(program):
    arguments = parse_arguments(program, [])
    assert not arguments.values
    assert not arguments.problems


@pytest.mark.parametrize("program", [ServerSettings, ClientSettings])
def test_the_first_is_the_api_address(program):
    assert parse_arguments(program, [":8000"]).values == {"api_addr": Address("", 8000)}


def test_the_servers_others_are_targets():
    values = parse_arguments(ServerSettings, [":8000", "127.0.0.1:22", "GitHub.com:443"]).values
    assert values["targets"] == (Address("127.0.0.1", 22), Address("github.com", 443))


def test_the_clients_others_are_pairs():
    values = parse_arguments(ClientSettings, [":1", "127.0.0.1:2222", URL, ":8443", "wss://c/"]).values
    listen = Address("127.0.0.1", 2222)
    assert values["forwards"] == (
        Forward("127.0.0.1:2222", listen, parse_server_url(URL)),
        parse_forward(":8443=wss://c/"),
    )


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (["8000"], ["argument 1 (API_ADDR): '8000': the port is missing, for example 127.0.0.1:2222 or :8000"]),
        (
            [":8000", "a:1", URL, "b"],
            [
                f"argument 3 (REMOTE_ADDR): '{URL}': a target is HOST:PORT, not a URL, for example 127.0.0.1:22",
                "argument 4 (REMOTE_ADDR): 'b': the port is missing, for example 127.0.0.1:22",
            ],
        ),
    ],
)
def test_what_is_wrong_with_the_servers_arguments(words, problems):
    assert problems_of(ServerSettings, *words) == problems


@pytest.mark.parametrize(
    ("words", "problems"),
    [
        (
            [":1", ":2"],
            [f"argument 3 (REMOTE_ADDR) is missing: ':2' is followed by its URL, for example {URL}"],
        ),
        (
            [":1", ":2", "http://b/", "x", "y"],
            [
                f"argument 3 (REMOTE_ADDR): 'http://b/': write ws:// instead of http://, for example {URL}",
                "argument 4 (LISTEN_ADDR): 'x': the port is missing, for example 127.0.0.1:2222 or :8000",
                f"argument 5 (REMOTE_ADDR): 'y': a server URL starts with ws:// or wss://, for example {URL}",
            ],
        ),
        (
            [":1", "x"],
            [
                "argument 2 (LISTEN_ADDR): 'x': the port is missing, for example 127.0.0.1:2222 or :8000",
                f"argument 3 (REMOTE_ADDR) is missing: 'x' is followed by its URL, for example {URL}",
            ],
        ),
    ],
)
def test_what_is_wrong_with_the_clients_arguments(words, problems):
    assert problems_of(ClientSettings, *words) == problems


def test_the_api_address_may_be_given_alone(monkeypatch):
    monkeypatch.setenv("SOKKEN_API_ADDR", ":1")
    monkeypatch.setenv("SOKKEN_TARGETS", "a:1,b:2")
    settings = load_settings(ServerSettings, parse_command_line(["server", ":8000"])).settings
    assert settings.api_addr == Address("", 8000)
    assert settings.targets == (Address("a", 1), Address("b", 2))


def test_targets_replace_the_variable_as_a_whole(monkeypatch):
    monkeypatch.setenv("SOKKEN_TARGETS", "a:1,b:2")
    settings = load_settings(ServerSettings, parse_command_line(["server", ":1", "c:3"])).settings
    assert settings.targets == (Address("c", 3),)


def test_pairs_replace_the_variable_as_a_whole(monkeypatch):
    monkeypatch.setenv("SOKKEN_FORWARDS", "a=:2=ws://b/ :3=ws://b/")
    settings = load_settings(ClientSettings, parse_command_line(["client", ":1", ":4", "ws://c/"])).settings
    assert settings.forwards == (parse_forward(":4=ws://c/"),)


def test_all_problems_come_together(monkeypatch):
    monkeypatch.setenv("SOKKEN_LOG_DEBUG", "perhaps")
    words = ["server", "8000", "-base-pth", "x", "-max-connections=0"]
    with pytest.raises(InvalidSettings) as caught:
        load_settings(ServerSettings, parse_command_line(words))
    assert [problem.text.partition(":")[0] for problem in caught.value.problems] == [
        "unknown option -base-pth, did you mean -base-path?",
        "argument 1 (API_ADDR)",
        "argument 2 (REMOTE_ADDR)",
        "variable SOKKEN_LOG_DEBUG",
        "option -max-connections",
    ]


def test_the_operator_has_one_argument():
    words = parse_command_line(["operator", ":8000", "127.0.0.1:22"])
    with pytest.raises(InvalidSettings) as caught:
        load_settings(OperatorSettings, words)
    assert str(caught.value) == "argument 2: '127.0.0.1:22': the operator has one argument, API_ADDR, for example :8000"
