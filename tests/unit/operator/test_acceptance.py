"""What the rules of the API server let through and the client's own parsers would not."""

import pytest
from hypothesis import HealthCheck, assume, given, settings

from sokken.operator.acceptance import accept_tunnel
from sokken.operator.model import InvalidTunnel
from sokken.operator.resources.environment import format_forward, literal_settings
from sokken.protocol.address import parse_forward
from sokken.settings import ClientSettings, read_alone
from tests.support.tunnel_specs import tunnel_documents
from tests.support.tunnels import LARGE, PLAIN, SMALL, changed, document


@pytest.mark.parametrize("spec", [SMALL, LARGE, PLAIN], ids=["small", "large", "plain"])
def test_what_is_good(spec):
    assert accept_tunnel(document(spec)).name == "db"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(tunnel_documents())
def test_whatever_is_admitted_and_accepted_makes_settings_that_a_client_starts_with(document):
    try:
        tunnel = accept_tunnel(document)
    except InvalidTunnel:
        assume(condition=False)
    found = read_alone(ClientSettings, literal_settings(tunnel))
    assert [forward.name for forward in found.forwards] == [forward.name for forward in tunnel.spec.forwards]
    assert found.drain_timeout_seconds == tunnel.spec.drain_timeout_seconds
    assert found.max_connections == tunnel.spec.max_connections
    for forward in tunnel.spec.forwards:
        assert parse_forward(format_forward(tunnel.spec, forward)).listen.port == forward.listen_port


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("server.url", "wss://10.0.0", "spec.forwards[0], with spec.server.url: "),
        ("server.url", "wss://[1::2::3]", "what is in brackets is no IPv6 address"),
        ("forwards.0.target.host", "1::2::3", "spec.forwards[0].target: '[1::2::3]:5432': what is in brackets"),
        ("forwards.0.target.host", "a.0x", "spec.forwards[0].target: 'a.0x:5432': an IPv4 address has four"),
        ("server.serverName", "1::2::3", "spec.server.serverName: "),
        ("proxy", {"url": "http://10.0.0"}, "spec.proxy.url: "),
        ("podTemplate", {"env": [{"name": "SOKKEN_READINESS", "value": "never"}]}, "spec.podTemplate.env: "),
        (
            "podTemplate",
            {"env": [{"name": "SOKKEN_MAX_MESSAGE_BYTES", "value": "1"}]},
            "variable SOKKEN_MAX_MESSAGE_BYTES",
        ),
        ("podTemplate", {"env": [{"name": "NO_PROXY", "value": "10.0.0.0/99"}]}, "variable NO_PROXY"),
    ],
)
def test_what_only_the_client_knows(path, value, said):
    wrong = document(changed(SMALL, path, value))
    with pytest.raises(InvalidTunnel) as caught:
        accept_tunnel(wrong)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_credentials_without_tls_where_an_old_definition_lets_them_through():
    spec = changed(PLAIN, "auth", {"tokenSecretRef": {"name": "a"}})
    with pytest.raises(InvalidTunnel, match="SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS"):
        accept_tunnel(document(spec))
    env = [{"name": "SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS", "value": "true"}]
    accept_tunnel(document(changed(spec, "podTemplate", {"env": env})))


def test_what_the_operator_itself_is_run_with_does_not_matter(monkeypatch):
    monkeypatch.setenv("SOKKEN_READINESS", "nonsense")
    monkeypatch.setenv("SOKKEN_TOKEN_FILE", "/nowhere")
    assert accept_tunnel(document(PLAIN)).spec.server.url == "ws://server:8000"


def test_a_comma_in_a_url_separates_nothing():
    tunnel = accept_tunnel(document(changed(SMALL, "server.url", "wss://a/b,c/")))
    [forward] = read_alone(ClientSettings, literal_settings(tunnel)).forwards
    assert str(forward.url) == "wss://a/b%2Cc/tunnel/db.internal:5432"
