"""The defaults are promises: a changed one breaks somebody's tunnel, so it is changed here too or not at all."""

import socket

import pytest

from sokken.protocol.address import parse_forward, parse_listen_address, parse_target
from sokken.protocol.identity import is_claim
from sokken.settings import ClientSettings, ServerSettings

BOTH = {
    "admin_addr": None,
    "admin_token_file": None,
    "admin_hosts": (),
    "max_connections": 100,
    "log_debug": False,
    "log_file": None,
    "log_max_age_days": 1,
    "log_max_rotated": 7,
    "log_max_size_mb": 10,
    "log_pretty": False,
    "log_peer": "full",
    "trace_session": "link",
    "half_closed_timeout_seconds": 3600.0,
    "max_message_bytes": 524288,
    "endpoint_delay_seconds": 0.0,
    "drain_timeout_seconds": 25.0,
    "event_loop": "auto",
    "https_proxy": None,
    "no_proxy": (),
}
SERVER = {
    "policy_file": None,
    "revoke_grace_seconds": None,
    "handshake_rate_per_address": 0.0,
    "base_path": "",
    "allowed_origins": (),
    "target_timeout_seconds": 10.0,
    "trusted_proxies": (),
    "proxy_protocol": "off",
    "trace_trust_parent": "authenticated",
    "trace_client_address": False,
    "baggage_keys": (),
    "tls_cert_file": None,
    "tls_key_file": None,
    "tls_handshake_timeout_seconds": 10.0,
    "client_ca_file": None,
    "tokens_file": None,
    "jwt_issuer": None,
    "jwt_audience": None,
    "jwt_jwks_url": None,
    "jwt_jwks_file": None,
    "jwt_jwks_ca_file": None,
    "jwt_jwks_token_file": None,
    "reload_interval_seconds": 10.0,
}
CLIENT = {
    "tunnel_name": None,
    "ca_file": None,
    "client_cert_file": None,
    "client_key_file": None,
    "server_name": None,
    "tls_insecure_skip_verify": False,
    "token_file": None,
    "headers": (),
    "headers_file": None,
    "allow_plaintext_credentials": False,
    "proxy": None,
    "proxy_credentials_file": None,
    "http_proxy": None,
    "connect_timeout_seconds": 30.0,
    "attempt_timeout_seconds": 12.0,
    "check_interval_seconds": 20.0,
    "readiness": "server",
}
API_ADDR = parse_listen_address(":8000")


def test_the_servers_defaults():
    targets = (parse_target("127.0.0.1:22"),)
    settings = ServerSettings(api_addr=API_ADDR, targets=targets)
    assert dict(settings) == {"api_addr": API_ADDR, "targets": targets} | BOTH | SERVER


def test_the_clients_defaults():
    forwards = (parse_forward(":2222=ws://b/tunnel/c:22"),)
    settings = ClientSettings(api_addr=API_ADDR, forwards=forwards, client_id="me")
    expected = {"api_addr": API_ADDR, "forwards": forwards, "client_id": "me"} | BOTH | CLIENT
    assert dict(settings) == expected


@pytest.mark.parametrize(
    ("host_name", "client_id"),
    [
        ("laptop-7.example", "laptop-7.example"),
        ("b\u00fcro (2)", "b-ro--2-"),
        ("x" * 200, "x" * 128),
        ("", "localhost"),
    ],
)
def test_a_client_is_called_by_its_host_as_far_as_the_wire_lets_it(monkeypatch, host_name, client_id):
    monkeypatch.setattr(socket, "gethostname", lambda: host_name)
    settings = ClientSettings(api_addr=":1", forwards=":2=ws://b/")
    assert settings.client_id == client_id
    assert is_claim(settings.client_id)
