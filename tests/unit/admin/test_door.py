import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sokken.admin.door import open_door, parse_admin_token
from sokken.errors import ConfigurationError
from sokken.protocol.address import Address


@dataclass
class Settings:
    admin_addr: Address | None = None
    admin_token_file: Path | None = None
    admin_hosts: tuple[str, ...] = ()


def open_and_close(settings):
    with capture_logs() as lines:
        door = open_door(settings)
    for sock in door.sockets:
        sock.close()
    return door, lines


def test_without_an_address_nothing_listens_and_nothing_is_said():
    door, lines = open_and_close(Settings())
    assert (door.token, door.sockets, door.files, lines) == (None, [], [], [])


def test_on_loopback_no_token_is_needed():
    _, lines = open_and_close(Settings(Address("127.0.0.1", 0)))
    assert [(line["event"], line["protected"]) for line in lines] == [("admin_listening", False)]
    assert lines[0]["listen"].startswith("127.0.0.1:")


def test_open_to_others_without_a_token_is_worth_a_warning(tmp_path):
    _, lines = open_and_close(Settings(Address("", 0)))
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("admin_listening", "info"),
        ("admin_unprotected", "warning"),
    ]
    (tmp_path / "token").write_text("correct-horse-battery-staple")
    door, lines = open_and_close(Settings(Address("", 0), tmp_path / "token"))
    assert [(line["event"], line["protected"]) for line in lines] == [("admin_listening", True)]
    assert door.files == [door.token]


@pytest.mark.parametrize("content", ["", "short", "two words of some length", "x" * 15, "ä" * 20])
def test_a_token_that_is_none_ends_the_program(tmp_path, content):
    (tmp_path / "token").write_text(content)
    with pytest.raises(ConfigurationError, match=r"SOKKEN_ADMIN_TOKEN_FILE: cannot use .*token: it") as failure:
        open_door(Settings(None, tmp_path / "token"))
    assert not content or content not in str(failure.value)


def test_a_missing_file_ends_it_too(tmp_path):
    with pytest.raises(ConfigurationError, match="no such file"):
        open_door(Settings(None, tmp_path / "token"))


def test_an_address_in_use_is_told_by_its_settings_name():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigurationError, match="SOKKEN_ADMIN_ADDR"):
        open_door(Settings(Address(*taken.getsockname())))


def test_a_token_is_one_line():
    assert parse_admin_token(b"  correct-horse-battery-staple\n") == "correct-horse-battery-staple"
