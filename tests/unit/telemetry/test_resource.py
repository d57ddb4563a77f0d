"""Who spans and metrics say that they are from."""

import os
import socket

import pytest

from sokken.telemetry.resource import make_resource


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_word_it_is_the_role_and_this_process():
    found = make_resource("server", "1.2.3").attributes
    assert (found["service.name"], found["service.version"]) == ("sokken-server", "1.2.3")
    assert found["service.instance.id"] == f"{socket.gethostname()}-{os.getpid()}"


def test_what_the_environment_says_goes_first(monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "gateway")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=pod-7,deployment.environment=blue%20one")
    found = make_resource("client", "1").attributes
    assert found["service.name"] == "gateway"
    assert found["service.instance.id"] == "pod-7"
    assert found["deployment.environment"] == "blue one"
    assert found["service.version"] == "1"
