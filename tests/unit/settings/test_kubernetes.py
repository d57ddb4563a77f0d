import pytest

from sokken.protocol.address import Address
from sokken.settings.kubernetes import read_api_server


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, None),
        ({"KUBERNETES_SERVICE_HOST": ""}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}, Address("10.96.0.1", 443)),
        (
            {
                "KUBERNETES_SERVICE_HOST": "fd00::1",
                "KUBERNETES_SERVICE_PORT": "80",
                "KUBERNETES_SERVICE_PORT_HTTPS": "6443",
            },
            Address("fd00::1", 6443),
        ),
        ({"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, Address("10.96.0.1", 443)),
        ({"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "no port"}, None),
    ],
)
def test_what_kubernetes_says_in_the_environment(variables, address):
    assert read_api_server(variables) == address


def test_the_environment_of_this_process(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT_HTTPS", raising=False)
    assert read_api_server() == Address("10.0.0.1", 443)
