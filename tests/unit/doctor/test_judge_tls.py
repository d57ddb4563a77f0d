"""What a handshake and a certificate mean. The numbers are OpenSSL's (x509_vfy.h)."""

from datetime import UTC, datetime, timedelta

import pytest

from sokken.doctor.certificate import Certificate
from sokken.doctor.judge_tls import Handshake, TlsFailure, judge_handshake
from sokken.doctor.report import Verdict

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def certificate(begin=-10 * DAY, end=80 * DAY, names=("a.example", "192.0.2.1"), **more):
    return Certificate("subject", "Some Authority", names, NOW + begin, NOW + end, **more)


def judge(code=None, cert=None, **more):
    failure = {} if code is None else {"failure": TlsFailure.CERTIFICATE, "code": code, "detail": "as OpenSSL says"}
    shake = Handshake("b.example", 0.02, "TLSv1.3", cert or certificate(), **{**failure, **more})
    finding = judge_handshake(shake, NOW)
    assert finding.step == "tls"
    return finding


def test_a_good_one():
    finding = judge()
    assert finding.verdict is Verdict.OK
    assert finding.found == (
        "TLSv1.3 in 20 ms, certificate of a.example, 192.0.2.1 by Some Authority, valid to 2026-09-19 12:00 UTC"
    )
    assert finding.values["not_after"] == "2026-09-19T12:00:00+00:00"


def test_without_what_the_certificate_says():
    shake = Handshake("b.example", 0.02, "TLSv1.2")
    assert judge_handshake(shake, NOW).found == "TLSv1.2 in 20 ms"


@pytest.mark.parametrize(
    ("begin", "end", "verdict"),
    [
        (-80 * DAY, 10 * DAY, Verdict.WARNING),
        (-76 * DAY, 14 * DAY, Verdict.OK),
        (-0.5 * DAY, 0.5 * DAY, Verdict.OK),  # one of a day is renewed by the hour
        (-0.9 * DAY, 0.1 * DAY, Verdict.WARNING),
    ],
)
def test_one_that_ends_soon(begin, end, verdict):
    finding = judge(cert=certificate(begin, end))
    assert finding.verdict is verdict
    assert ("renewed" in finding.advice) == (verdict is Verdict.WARNING)


def test_one_that_is_not_verified():
    finding = judge(is_verified=False)
    assert finding.verdict is Verdict.WARNING
    assert "anybody may be the server" in finding.found
    assert "SOKKEN_TLS_INSECURE_SKIP_VERIFY" in finding.advice


@pytest.mark.parametrize(
    ("code", "cert", "found", "advice"),
    [
        (10, certificate(-90 * DAY, -2 * DAY), "expired on 2026-06-29 12:00 UTC, 2 days ago", "have it renewed"),
        (10, certificate(), "a certificate in the server's chain has expired", "have it renewed"),
        (
            9,
            certificate(DAY, 2 * DAY),
            "is not valid before 2026-07-02 12:00 UTC",
            "clock is wrong: it says 2026",
        ),
        (62, certificate(), "is for a.example, 192.0.2.1, not for b.example", "SOKKEN_SERVER_NAME"),
        (64, certificate(names=()), "is for subject, not for b.example", "have a certificate issued for b.example"),
        (18, certificate(is_self_signed=True), "is self-signed", "SOKKEN_CA_FILE"),
        (20, certificate(is_self_signed=True), "is self-signed", "SOKKEN_CA_FILE"),
        (
            19,
            certificate(),
            "issued by 'Some Authority', which is not trusted",
            "in SOKKEN_CA_FILE; if that is",
        ),
        (20, certificate(), "issued by 'Some Authority', which is not trusted", "the server must send it, too"),
        (21, certificate(), "issued by 'Some Authority', which is not trusted", "the server must send it, too"),
        (26, certificate(), "is not accepted: as OpenSSL says", "SOKKEN_CA_FILE"),
    ],
)
def test_one_that_is_not_accepted(code, cert, found, advice):
    finding = judge(code, cert)
    assert finding.verdict is Verdict.FAILED
    assert found in finding.found
    assert advice in finding.advice


def test_one_that_could_not_be_read():
    finding = judge_handshake(Handshake("b", failure=TlsFailure.CERTIFICATE, code=20, detail="as OpenSSL says"), NOW)
    assert finding.found == "the server's certificate is not accepted: as OpenSSL says"


def test_own_authorities_are_blamed_first():
    assert judge(20, has_own_authorities=True).advice.startswith("SOKKEN_CA_FILE names other authorities")


def test_many_names_are_counted():
    assert "n5 and 3 more" in judge(62, certificate(names=tuple(f"n{n}" for n in range(9)))).found


@pytest.mark.parametrize(
    ("failure", "found", "advice"),
    [
        (TlsFailure.NO_TLS, "does not speak TLS", "write ws:// instead of wss://"),
        (TlsFailure.ENDED, "ended within the handshake for b.example", "a proxy may know no site of that name"),
        (TlsFailure.TIMEOUT, "did not end within 20 ms", "is the port one of TLS?"),
        (TlsFailure.OTHER, "the handshake failed: no shared cipher", "1.2 at least"),
    ],
)
def test_no_tls(failure, found, advice):
    finding = judge(failure=failure, detail="no shared cipher")
    assert finding.verdict is Verdict.FAILED
    assert found in finding.found
    assert advice in finding.advice
