"""Which address a probe asks, from the same variables as the models read."""

import subprocess
import sys

import pytest

from sokken.errors import ConfigurationError, UsageError
from sokken.protocol.address import Address
from sokken.settings import ClientSettings, ServerSettings, load
from sokken.settings.own_address import OwnAddress, read_own_address


@pytest.mark.parametrize(
    ("environment", "own"),
    [
        ({"SOKKEN_API_ADDR": ":8000"}, OwnAddress(Address("", 8000))),
        ({"sokken_api_addr": "[::1]:8000"}, OwnAddress(Address("::1", 8000))),
        (
            {"SOKKEN_API_ADDR": ":8000", "SOKKEN_TLS_CERT_FILE": "/a", "SOKKEN_ADMIN_ADDR": ":19000"},
            OwnAddress(Address("", 8000), speaks_tls=True),
        ),
        ({"SOKKEN_API_ADDR": ":8000", "SOKKEN_TLS_CERT_FILE": ""}, OwnAddress(Address("", 8000))),
        (
            {"SOKKEN_API_ADDR": ":8000", "SOKKEN_PROXY_PROTOCOL": "required"},
            OwnAddress(Address("", 8000), wants_proxy_header=True),
        ),
        ({"SOKKEN_API_ADDR": ":8000", "SOKKEN_PROXY_PROTOCOL": "off"}, OwnAddress(Address("", 8000))),
        (
            {"SOKKEN_API_ADDR": ":0", "SOKKEN_ADMIN_ADDR": ":19000", "SOKKEN_TLS_CERT_FILE": "/a"},
            OwnAddress(Address("", 19000)),
        ),
        ({"SOKKEN_ADMIN_ADDR": "127.0.0.1:19000"}, OwnAddress(Address("127.0.0.1", 19000))),
    ],
)
def test_the_address_and_how_it_is_spoken_to(environment, own):
    assert read_own_address(environment) == own


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, "SOKKEN_API_ADDR is not set: "),
        ({"SOKKEN_API_ADDR": ""}, "SOKKEN_API_ADDR is not set: "),
        ({"SOKKEN_API_ADDR": ":0"}, "SOKKEN_API_ADDR has port 0, which is another port at each start: "),
        ({"SOKKEN_API_ADDR": ":0", "SOKKEN_ADMIN_ADDR": ":0"}, "SOKKEN_API_ADDR has port 0"),
    ],
)
def test_without_an_address_there_is_nothing_to_ask(environment, problem):
    with pytest.raises(ConfigurationError, match=f"^{problem}"):
        read_own_address(environment)


@pytest.mark.parametrize("name", ["SOKKEN_API_ADDR", "SOKKEN_ADMIN_ADDR"])
def test_a_malformed_address_is_told_by_its_variable(name):
    with pytest.raises(UsageError, match=rf"^variable {name}: '8000': the port is missing, for example"):
        read_own_address({name: "8000"})


@pytest.mark.parametrize("program", [ServerSettings, ClientSettings])
def test_it_is_what_the_program_reads(monkeypatch, program):
    environment = {
        "SOKKEN_API_ADDR": "127.0.0.1:8000",
        "SOKKEN_TARGETS": "a:1",
        "SOKKEN_FORWARDS": ":2=ws://b/",
        "SOKKEN_TLS_CERT_FILE": "/a",
        "SOKKEN_PROXY_PROTOCOL": "required",
        "SOKKEN_TRUSTED_PROXIES": "127.0.0.1",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings, own = load(program, {}).settings, read_own_address()
    assert own.address == settings.api_addr
    if isinstance(settings, ServerSettings):
        assert own.speaks_tls == bool(settings.tls_cert_file)
        assert own.wants_proxy_header == (settings.proxy_protocol == "required")


def test_reading_it_loads_no_models():
    code = "import sys, sokken.settings.own_address; print({'pydantic', 'sokken.settings.models'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True, timeout=30) == "set()\n"
