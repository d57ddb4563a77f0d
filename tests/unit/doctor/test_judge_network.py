"""What names, addresses and proxies mean."""

import pytest

from sokken.doctor.judge_network import (
    Dialled,
    LookUp,
    judge_dials,
    judge_look_up,
    judge_no_proxy,
    judge_proxy,
)
from sokken.doctor.report import Verdict
from sokken.protocol.address import Address, parse_server_url
from sokken.protocol.proxy import parse_exemption, parse_proxy
from sokken.transport.dial import DialFailure

A, B = Address("192.0.2.1", 443), Address("2001:db8::1", 443)


def text(finding):
    return f"{finding.found}; {finding.advice}"


def test_a_name():
    finding = judge_look_up(LookUp("the server", "a.example", ["192.0.2.1", "2001:db8::1"], 0.012))
    assert (finding.step, finding.verdict) == ("dns", Verdict.OK)
    assert finding.found == "the server's name a.example is 192.0.2.1, 2001:db8::1 (12 ms)"
    assert finding.values == {"addresses": ["192.0.2.1", "2001:db8::1"], "ms": 12.0}


def test_an_address():
    assert judge_look_up(LookUp("the proxy", "192.0.2.1", ["192.0.2.1"], 0)).found == "192.0.2.1 is an address, no name"


def test_many_addresses_are_counted():
    found = judge_look_up(LookUp("the server", "a", [f"192.0.2.{n}" for n in range(9)], 0)).found
    assert "192.0.2.3 and 5 more" in found


def test_a_slow_resolver():
    finding = judge_look_up(LookUp("the server", "a.example", ["192.0.2.1"], 5.01))
    assert finding.verdict is Verdict.WARNING
    assert "a name server in /etc/resolv.conf is perhaps not reachable" in finding.advice


@pytest.mark.parametrize(
    ("whose", "is_silent", "said"),
    [
        ("the server", False, "a.example does not resolve: no such name; correct the host in the URL"),
        ("the proxy", False, "correct the host in the proxy's URL (SOKKEN_PROXY, HTTPS_PROXY, HTTP_PROXY)"),
        ("the server", True, "the resolver of this host did not answer for a.example: no such name; see /etc/resolv"),
    ],
)
def test_no_name(whose, is_silent, said):
    finding = judge_look_up(LookUp(whose, "a.example", (), 0, "no such name", is_silent=is_silent))
    assert finding.verdict is Verdict.FAILED
    assert said in text(finding)


def test_all_addresses_answer():
    finding = judge_dials([Dialled(A, 0.02), Dialled(B, 0.01)])
    assert finding.verdict is Verdict.OK
    assert finding.found == "192.0.2.1:443, [2001:db8::1]:443 answered in 10 ms"
    assert finding.values["addresses"][0] == {"address": "192.0.2.1:443", "ms": 20.0, "result": "connected"}


def test_one_address_does_not():
    finding = judge_dials([Dialled(B, 0, DialFailure.UNREACHABLE), Dialled(A, 0.02)])
    assert finding.verdict is Verdict.WARNING
    assert finding.found == "192.0.2.1:443 answered in 20 ms, but [2001:db8::1]:443 cannot be reached"
    assert "taken out of DNS" in finding.advice


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (DialFailure.REFUSED, "192.0.2.1:443 refused the connection; nothing listens there"),
        (DialFailure.TIMEOUT, "192.0.2.1:443 did not answer; a firewall"),
        (DialFailure.UNREACHABLE, "192.0.2.1:443 cannot be reached; this host has no way there"),
        (DialFailure.EXHAUSTED, "192.0.2.1:443 exhausted; this host has no descriptors"),
    ],
)
def test_no_address_answers(failure, said):
    finding = judge_dials([Dialled(A, 0, failure)])
    assert finding.verdict is Verdict.FAILED
    assert text(finding).startswith(said)


def test_no_address_answers_for_different_reasons():
    finding = judge_dials([Dialled(A, 0, DialFailure.REFUSED), Dialled(B, 0, DialFailure.UNREACHABLE)])
    assert finding.found == "192.0.2.1:443 refused the connection, [2001:db8::1]:443 cannot be reached"
    assert "nothing listens there" in finding.advice
    assert "no way there" in finding.advice


def test_a_slow_host():
    assert judge_dials([Dialled(A, 1.5)]).verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("proxy", "exemptions", "said"),
    [
        (None, [], "none is set for this server"),
        ("http://p:1", [".example"], "http://p:1 is set, but NO_PROXY has .example: the server is reached directly"),
        ("http://p:1", [], "http://p:1 is set, but not used for servers on this host"),
    ],
)
def test_no_proxy(proxy, exemptions, said):
    url = parse_server_url("wss://a.example/tunnel/b:1")
    finding = judge_no_proxy(url, proxy and parse_proxy(proxy), [parse_exemption(item) for item in exemptions])
    assert finding.verdict is Verdict.SKIPPED
    assert said in finding.found


def test_a_proxy():
    proxy = parse_proxy("http://me:s3cret@p:1")
    finding = judge_proxy(proxy, "a:443", 0.003, "")
    assert (finding.verdict, finding.found) == (Verdict.OK, "http://p:1 has connected to a:443 (3.0 ms)")
    finding = judge_proxy(proxy, "a:443", 0.003, "the proxy http://p:1 answered 407")
    assert finding.verdict is Verdict.FAILED
    assert "s3cret" not in text(finding)
