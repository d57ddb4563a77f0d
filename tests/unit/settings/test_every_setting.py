"""Every setting, without exception: its empty and its broken value are refused, and a test shows that it takes effect.

A new setting fails here until it has what belongs to it.
"""

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

from sokken.cli.main import main
from sokken.settings.catalogue import all_settings, programs_of

TESTS = Path(__file__).parents[2]
ALL = all_settings()
NEEDED = {"api_addr": "127.0.0.1:0", "targets": "127.0.0.1:1", "forwards": "127.0.0.1:0=wss://a/tunnel/b:1"}

BROKEN = {
    "address": "8000",
    "bytes": "12",
    "connections": "0",
    "days": "0",
    "files": "-1",
    "image": "no image",
    "lines": "no field",
    "list": "://",
    "megabytes": "none",
    "name": "neither this nor that",
    "path": "/dev/null/a b",
    "per second": "-1",
    "seconds": "-1",
    "text": "\x01",
    "true or false": "perhaps",
    "Tunnels": "0",
    "URL": "ftp://a",
}
"""By unit."""

EFFECTS = {
    "api_addr": "integration/test_start.py::test_everything_by_environment",
    "admin_addr": "integration/test_admin.py::test_a_servers_public_address_has_none_of_it_ever",
    "admin_token_file": "integration/test_admin.py::test_a_clients_address_has_it_on_loopback_or_with_a_token",
    "admin_hosts": "integration/test_admin.py::test_it_may_be_asked_for_under_the_names_that_it_was_given",
    "max_connections": "integration/test_limits.py::test_a_full_server_refuses_and_goes_on",
    "log_debug": "programs/test_tls.py::test_only_what_may_mend_itself_is_tried_again",
    "log_file": "integration/test_log.py::test_after_sighup_it_writes_to_a_new_file",
    "log_max_age_days": "integration/test_log_settings.py::test_a_file_of_that_age_is_rotated",
    "log_max_rotated": "integration/test_log_settings.py::test_a_file_of_that_size_is_rotated_and_so_many_are_kept",
    "log_max_size_mb": "integration/test_log_settings.py::test_a_file_of_that_size_is_rotated_and_so_many_are_kept",
    "log_peer": "integration/test_log_settings.py::test_peers_are_told_whole_or_as_their_network",
    "log_pretty": "integration/test_log_settings.py::test_a_log_for_people_overrides_the_file",
    "trace_session": "integration/test_traces.py::test_a_session_within_its_connections_trace",
    "trace_trust_parent": "integration/test_traces.py::test_whose_trace_the_server_continues",
    "trace_client_address": "integration/test_traces.py::test_a_clients_address_is_there_if_it_is_asked_for",
    "baggage_keys": "integration/test_traces.py::test_baggage_is_taken_only_where_it_is_asked_for",
    "half_closed_timeout_seconds": "integration/test_tunnel.py::test_a_half_closed_connection_has_its_time",
    "max_message_bytes": "interop/test_message_size.py::test_the_server_sends_no_larger_message",
    "endpoint_delay_seconds": "integration/test_drain.py::test_in_the_endpoint_delay_only_readiness_changes",
    "drain_timeout_seconds": "integration/test_drain.py::test_at_the_deadline_the_rest_is_told_and_reset",
    "event_loop": "integration/test_log_settings.py::test_the_event_loop_is_the_one_that_was_asked_for",
    "https_proxy": "integration/test_proxy.py::test_the_proxy_of_every_program_is_used_for_other_hosts",
    "no_proxy": "integration/test_proxy.py::test_which_proxy_is_used",
    "policy_file": "integration/test_policy.py::test_bytes_go_where_the_policy_allows_and_nowhere_else",
    "targets": "integration/test_start.py::test_everything_by_environment",
    "revoke_grace_seconds": (
        "integration/test_policy.py::test_connections_that_a_new_policy_forbids_are_ended_after_their_grace"
    ),
    "handshake_rate_per_address": (
        "integration/test_handshake_rate.py::test_an_address_is_turned_away_before_tls_whatever_it_wants"
    ),
    "base_path": "integration/test_refusals.py::test_a_base_path_holds_for_tunnels_alone",
    "allowed_origins": "integration/test_refusals.py::test_pages_open_tunnels_from_allowed_origins_only",
    "target_timeout_seconds": "integration/test_refusals.py::test_a_tunnel_is_refused",
    "trusted_proxies": "integration/test_proxy_protocol.py::test_fields_of_a_trusted_proxy_are_believed",
    "proxy_protocol": "integration/test_proxy_protocol.py::test_the_client_is_who_the_header_says",
    "tls_cert_file": "integration/test_matrix.py::test_a_tunnel",
    "tls_key_file": "integration/test_rotation.py::test_everything_is_rotated_and_nothing_is_dropped",
    "tls_handshake_timeout_seconds": (
        "integration/test_authentication.py::test_a_tls_handshake_takes_its_time_and_no_more"
    ),
    "client_ca_file": "integration/test_authentication.py::test_a_certificate",
    "tokens_file": "integration/test_authentication.py::test_a_token_of_the_file",
    "jwt_issuer": "integration/test_authentication.py::test_a_credential_that_is_none",
    "jwt_audience": "integration/test_authentication.py::test_a_credential_that_is_none",
    "jwt_jwks_file": "integration/test_authentication.py::test_a_token_of_a_service_account",
    "jwt_jwks_url": "integration/test_issuer.py::test_keys_at_a_url",
    "jwt_jwks_ca_file": "integration/test_issuer.py::test_keys_at_a_url",
    "jwt_jwks_token_file": "integration/test_issuer.py::test_keys_at_a_url",
    "reload_interval_seconds": "integration/test_rotation.py::test_everything_is_rotated_and_nothing_is_dropped",
    "forwards": "integration/test_start.py::test_everything_by_environment",
    "client_id": (
        "integration/test_log.py::test_two_lines_at_each_end_tell_who_what_when_how_long_how_much_and_how_it_ended"
    ),
    "tunnel_name": (
        "integration/test_log.py::test_two_lines_at_each_end_tell_who_what_when_how_long_how_much_and_how_it_ended"
    ),
    "ca_file": "integration/test_matrix.py::test_a_tunnel",
    "client_cert_file": "integration/test_matrix.py::test_a_tunnel",
    "client_key_file": "integration/test_credentials.py::test_a_file_that_is_not_there_yet",
    "server_name": "integration/test_credentials.py::test_a_server_of_another_name",
    "tls_insecure_skip_verify": "integration/test_credentials.py::test_a_server_of_another_name",
    "token_file": "integration/test_credentials.py::test_a_token_is_read_again_at_each_connection",
    "headers": "integration/test_credentials.py::test_headers_from_the_environment_and_from_a_file",
    "headers_file": "integration/test_credentials.py::test_headers_from_the_environment_and_from_a_file",
    "allow_plaintext_credentials": (
        "integration/test_credentials.py::test_credentials_that_stay_here_or_are_encrypted"
    ),
    "proxy": "integration/test_proxy.py::test_a_tunnel_through_a_proxy",
    "proxy_credentials_file": "integration/test_proxy.py::test_its_credentials_are_read_again_at_each_connection",
    "http_proxy": "integration/test_proxy.py::test_the_proxy_of_every_program_is_used_for_other_hosts",
    "connect_timeout_seconds": "interop/test_answers.py::test_what_may_pass_is_tried_again_until_the_budget_is_used_up",
    "attempt_timeout_seconds": (
        "programs/test_haproxy.py::test_more_connections_than_haproxy_takes_wait_and_then_succeed"
    ),
    "check_interval_seconds": (
        "integration/test_health.py::test_a_client_is_ready_once_its_server_has_said_yes_and_stays_so"
    ),
    "operator_watch_namespaces": "integration/test_operator.py::test_only_the_namespaces_that_it_shall_watch",
    "operator_image": "integration/test_operator.py::test_the_default_image_and_how_it_is_pulled",
    "operator_image_pull_policy": "integration/test_operator.py::test_the_default_image_and_how_it_is_pulled",
    "operator_image_pull_secrets": "integration/test_operator.py::test_the_default_image_and_how_it_is_pulled",
    "operator_workers": "integration/test_operator.py::test_so_many_tunnels_are_worked_on_at_once",
    "operator_max_concurrent_rollouts": "integration/test_operator.py::test_so_many_tunnels_roll_at_once",
    "operator_network_policies": "integration/test_operator.py::test_what_it_may_not_write_it_does_not_watch",
    "operator_pod_monitors": "integration/test_operator.py::test_what_it_may_not_write_it_does_not_watch",
    "operator_lease_name": "integration/test_operator.py::test_the_lease_is_where_and_called_as_it_was_asked_for",
    "operator_lease_namespace": "integration/test_operator.py::test_the_lease_is_where_and_called_as_it_was_asked_for",
    "operator_pod_name": "integration/test_operator.py::test_it_leads_works_and_gives_the_lease_back_at_the_end",
    "kubeconfig": "integration/test_operator.py::test_it_leads_works_and_gives_the_lease_back_at_the_end",
    "readiness": "integration/test_health.py::test_a_client_that_only_listens_is_ready_without_a_server",
}
"""The test that sets it at a real program and sees the difference."""


@lru_cache
def read(path):
    return (TESTS / path).read_text()


@lru_cache
def functions_of(path):
    return {node.name for node in ast.walk(ast.parse(read(path))) if isinstance(node, ast.FunctionDef)}


def test_each_has_a_test_and_no_test_is_of_none():
    assert sorted(EFFECTS) == sorted(ALL)


@pytest.mark.parametrize("name", ALL)
def test_it_takes_effect(name):
    path, _, test = EFFECTS[name].partition("::")
    assert test in functions_of(path)
    spelling = rf"\b(SOKKEN_)?{ALL[name].variable.removeprefix('SOKKEN_')}\b|\"{ALL[name].option}\""
    assert re.search(spelling, read(path))


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    """Of who has access to a cluster, which the operator needs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube/config").write_text(
        "{current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], "
        "clusters: [{name: a, cluster: {server: 'https://a'}}], users: [{name: a, user: {}}]}"
    )


def check(capsys, monkeypatch, name, value):
    """The exit code and the lines of errors of ``sokken check-config`` with this variable."""
    monkeypatch.delenv("SOKKEN_TARGETS", raising=False)
    for other, needed in NEEDED.items():
        if other != name and not (other == "targets" and name == "policy_file" and value):
            monkeypatch.setenv(ALL[other].variable, needed)
    monkeypatch.setenv(ALL[name].variable, value)
    code = main(["check-config", programs_of(name)[0]])
    output = capsys.readouterr()
    return code, output.out, output.err.splitlines()


@pytest.mark.parametrize("name", ALL)
def test_its_broken_value_is_refused(name, capsys, monkeypatch):
    code, _, errors = check(capsys, monkeypatch, name, BROKEN[ALL[name].unit])
    assert code == 3
    assert len(errors) == 1
    assert ALL[name].variable in errors[0] or errors[0].startswith(ALL[name].option[1:])


@pytest.mark.parametrize("name", ALL)
def test_its_empty_value_is_refused_or_the_same_as_none(name, capsys, monkeypatch):
    setting = ALL[name]
    code, table, errors = check(capsys, monkeypatch, name, "")
    if setting.refuses_empty:
        assert (code, errors) == (3, [f"variable {setting.variable}: it is empty; set it, or leave it out"])
    elif setting.argument:
        assert code == 3
        assert "is missing" in errors[0]
    else:
        row = next(line for line in table.splitlines() if line.startswith(f"{setting.option[1:]} "))
        assert (code, errors) == (0, [])
        assert row.split()[-1] == "default"
