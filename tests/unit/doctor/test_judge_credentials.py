"""What can be said of credentials before anybody is shown them."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from sokken.doctor.certificate import Certificate
from sokken.doctor.judge_credentials import judge_credentials, judge_unusable
from sokken.doctor.report import Verdict

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def certificate(begin, end):
    return Certificate("client", "authority", ("client.example",), NOW + begin, NOW + end)


def jwt(**claims):
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"e30.{payload}.c2ln"


def test_none_and_some():
    assert judge_credentials([], None, None, NOW).found == "none are set"
    finding = judge_credentials(["SOKKEN_TOKEN_FILE", "SOKKEN_CA_FILE"], None, "opaque", NOW)
    assert (finding.verdict, finding.found) == (Verdict.OK, "SOKKEN_TOKEN_FILE, SOKKEN_CA_FILE can be read")


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        (-3 * DAY, -2 * DAY, "expired on 2026-06-29 12:00 UTC, 2 days ago"),
        (DAY, 2 * DAY, "is not valid before 2026-07-02 12:00 UTC"),
    ],
)
def test_a_certificate_at_the_wrong_time(begin, end, said):
    finding = judge_credentials(["SOKKEN_CLIENT_CERT_FILE"], certificate(begin, end), None, NOW)
    assert finding.verdict is Verdict.FAILED
    assert finding.found == f"the certificate in SOKKEN_CLIENT_CERT_FILE {said}"


def test_a_certificate_that_is_good():
    assert judge_credentials(["x"], certificate(-DAY, DAY), None, NOW).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": (NOW - DAY).timestamp()}, "expired on 2026-06-30 12:00 UTC, 1 day ago"),
        ({"nbf": (NOW + DAY).timestamp()}, "is not valid before 2026-07-02 12:00 UTC"),
    ],
)
def test_a_jwt_at_the_wrong_time(claims, said):
    finding = judge_credentials(["SOKKEN_TOKEN_FILE"], None, jwt(sub="who", **claims), NOW)
    assert finding.verdict is Verdict.WARNING  # it may be none: only the server knows
    assert finding.found == f"the token in SOKKEN_TOKEN_FILE {said}"


@pytest.mark.parametrize(
    "token",
    [
        jwt(exp=(NOW + DAY).timestamp(), nbf=(NOW - DAY).timestamp()),
        jwt(sub="who"),
        jwt(exp="tomorrow"),
        jwt(exp=1e300),
        "a.b.c",
        "a.e30",
        "a.W10.c",
        "a.bnVsbA.c",
        "opaque",
        "..",
    ],
)
def test_other_tokens(token):
    assert judge_credentials([], None, token, NOW).verdict is Verdict.OK


def test_what_cannot_be_used():
    finding = judge_unusable("SOKKEN_TOKEN_FILE: cannot use /a: no such file or directory")
    assert (finding.step, finding.verdict) == ("credentials", Verdict.FAILED)
