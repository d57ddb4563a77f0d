"""Variables that are nobody's: told with a suggestion, unless Kubernetes made them."""

import pytest

from sokken.settings.environment import UnknownSetting, find_unknown, suggest


def test_a_misspelt_variable_is_told_with_the_nearest_known_one():
    assert find_unknown(["SOKKEN_TARGTS", "SOKKEN_LOGFILE", "PATH", "SOKKENX"]) == (
        UnknownSetting("SOKKEN_LOGFILE", "SOKKEN_LOG_FILE"),
        UnknownSetting("SOKKEN_TARGTS", "SOKKEN_TARGETS"),
    )


def test_a_variable_like_no_other_has_no_suggestion():
    (unknown,) = find_unknown(["SOKKEN_XYZZY_PLUGH_0123456789"])
    assert unknown.suggestion is None
    assert str(unknown) == "unknown variable SOKKEN_XYZZY_PLUGH_0123456789"


def test_it_says_so_in_one_line():
    unknown = UnknownSetting("SOKKEN_TARGTS", "SOKKEN_TARGETS")
    assert str(unknown) == "unknown variable SOKKEN_TARGTS, did you mean SOKKEN_TARGETS?"


def test_one_environment_may_serve_both_programs():
    assert find_unknown(["SOKKEN_TARGETS", "SOKKEN_FORWARDS", "sokken_log_debug"]) == ()


def kubernetes_variables(service, ports):
    """What the kubelet makes for a Service, after Kubernetes' pkg/kubelet/envvars."""
    prefix = service.upper().replace("-", "_")
    yield from (f"{prefix}_SERVICE_HOST", f"{prefix}_SERVICE_PORT", f"{prefix}_PORT")
    for name, number, protocol in ports:
        yield f"{prefix}_SERVICE_PORT_{name.upper().replace('-', '_')}"
        link = f"{prefix}_PORT_{number}_{protocol}"
        yield from (link, f"{link}_PROTO", f"{link}_PORT", f"{link}_ADDR")


@pytest.mark.parametrize("service", ["sokken", "sokken-server", "sokken-client", "sokken-log-file", "sokken-a-1"])
def test_what_kubernetes_makes_for_a_service_is_silent(service):
    ports = [("http", 8000, "TCP"), ("dns-1", 53, "UDP"), ("x", 9, "SCTP")]
    assert find_unknown(kubernetes_variables(service, ports)) == ()


@pytest.mark.parametrize("name", ["SOKKEN_PORTS", "SOKKEN_PORT_TCP", "SOKKEN_SERVICE", "SOKKEN_PORT_80_TCPX"])
def test_what_only_resembles_it_is_not(name):
    assert [unknown.name for unknown in find_unknown([name])] == [name]


def test_suggest_the_nearest():
    assert suggest("sever", ["server", "client"]) == "server"
    assert suggest("zzz", ["server", "client"]) is None
