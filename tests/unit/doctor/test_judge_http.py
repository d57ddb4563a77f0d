"""What answers to a check and an upgrade mean: what is in between, and what the server says."""

import json

import pytest

from sokken.doctor.judge_http import (
    Asked,
    Exchange,
    NoAnswer,
    Shown,
    find_between,
    judge_auth,
    judge_clock,
    judge_http,
    judge_original_target,
    judge_target,
    judge_websocket,
)
from sokken.doctor.report import Verdict
from sokken.protocol.address import parse_server_url
from sokken.protocol.handshake import Answer
from sokken.protocol.outcomes import STATUS, Reason

URL = parse_server_url("ws://a.example:8000/tunnel/b:22")
OURS = {"server": "sokken", "sokken-connection-id": "01a2"}
PASSED = Exchange(0.002, Answer(204, "No Content", OURS))
NGINX = {"server": "nginx/1.26"}


def refused(reason, detail="", **headers):
    body = json.dumps({"detail": detail}).encode() if detail else b""
    return Exchange(0.002, Answer(STATUS[reason], "", OURS | {"sokken-reason": reason.value} | headers), body)


def other(status, phrase="", **headers):
    return Exchange(0.002, Answer(status, phrase, headers or NGINX))


def none(failure, detail=""):
    return Exchange(12.0, failure=failure, detail=detail)


def asked(check=PASSED, upgrade=None, **more):
    return Asked(URL, check, upgrade, **more)


OPEN = asked(upgrade=Exchange(0.003, Answer(101, "", OURS)), subprotocol="sokken.v2")
REFUSED = [reason for reason in Reason if reason not in {Reason.BAD_REQUEST, Reason.UNAUTHENTICATED}]


def text(finding):
    return f"{finding.found}; {finding.advice}"


# ------------------------------------------------------------------------------------------------ HTTP


def test_sokken_answers():
    finding = judge_http(OPEN)
    assert (finding.verdict, finding.found) == (Verdict.OK, "sokken answers in 2.0 ms")
    assert judge_http(asked(refused(Reason.DRAINING))).verdict is Verdict.OK


def test_sokken_answers_through_others():
    check = Exchange(0.002, Answer(204, "", OURS | NGINX | {"via": "1.1 squid"}))
    assert judge_http(asked(check)).found == "sokken answers through nginx/1.26, Via 1.1 squid in 2.0 ms"


@pytest.mark.parametrize(
    ("headers", "between"),
    [
        (OURS, []),
        ({}, []),
        ({"server": "Sokken"}, []),
        ({"server": "cloudflare", "cf-ray": "1"}, ["cloudflare", "Cloudflare"]),
        ({"x-envoy-upstream-service-time": "1"}, ["Envoy"]),
        ({"server": "x" * 300}, ["x" * 200]),
    ],
)
def test_what_is_in_between(headers, between):
    assert list(find_between(headers)) == between


@pytest.mark.parametrize(
    ("check", "found", "advice"),
    [
        (other(404, "Not Found"), "nginx/1.26 answers 404 Not Found", "an ingress must route the path /tunnel/"),
        (other(200, "OK", date="x"), "an HTTP server answers 200 OK", "correct the URL's host, port or path"),
        (other(301, location="https://b/"), "answers 301", "it redirects to https://b/"),
        (other(301), "answers 301", "correct the URL"),
        (other(502), "answers 502", "is in front of sokken and does not reach it"),
        (other(401), "answers 401", "SOKKEN_HEADERS"),
    ],
)
def test_others_answer(check, found, advice):
    finding = judge_http(asked(check, other(404)))
    assert finding.verdict is Verdict.FAILED
    assert found in finding.found
    assert advice in finding.advice


def test_an_original_answers():
    finding = judge_http(asked(other(426, server=""), OPEN.upgrade, subprotocol="sokken"))
    assert (finding.verdict, finding.found) == (
        Verdict.OK,
        "an original sokken answers in 2.0 ms; it knows no checks (426)",
    )


@pytest.mark.parametrize(
    "more", [{"upgrade": OPEN.upgrade, "subprotocol": "sokken.v2"}, {"upgrade": refused(Reason.TARGET_REFUSED)}]
)
def test_checks_are_answered_by_somebody_else(more):
    finding = judge_http(asked(other(405), **more))
    assert finding.verdict is Verdict.WARNING
    assert finding.found == "nginx/1.26 answers checks (HEAD) itself, with 405"


@pytest.mark.parametrize(
    ("failure", "more", "said"),
    [
        (NoAnswer.ENDED, {}, "the connection was ended without an answer"),
        (NoAnswer.TIMEOUT, {}, "there was no answer within 12.0 s"),
        (NoAnswer.NO_HTTP, {}, "as it was said; name the port of the sokken server"),
        (NoAnswer.REFUSED_CERTIFICATE, {}, "does not accept this client's certificate: as it was said; "),
        (NoAnswer.ENDED, {"speaks_tls": True}, "ws:// is plain; write wss://a.example:8000/tunnel/b:22"),
        (NoAnswer.ENDED, {"greeting": "SSH-2.0"}, "it says 'SSH-2.0'; name the port of the sokken server"),
    ],
)
def test_no_http(failure, more, said):
    finding = judge_http(asked(none(failure, "as it was said"), **more))
    assert finding.verdict is Verdict.FAILED
    assert said in text(finding)


@pytest.mark.parametrize(
    ("skew", "verdict", "found"),
    [
        (None, Verdict.SKIPPED, "has no Date"),
        (0.0, Verdict.OK, "agree"),
        (-30, Verdict.OK, "agree"),
        (31, Verdict.WARNING, "31 s ahead of"),
        (-3600, Verdict.WARNING, "3600 s behind"),
    ],
)
def test_clocks(skew, verdict, found):
    finding = judge_clock(skew)
    assert finding.verdict is verdict
    assert found in finding.found


# ------------------------------------------------------------------------------------------- WebSocket


def test_a_websocket_that_is_open():
    finding = judge_websocket(OPEN)
    assert (finding.verdict, finding.found) == (Verdict.OK, "open, with sokken.v2, in 3.0 ms")
    assert finding.values["connection_id"] == "01a2"


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.BAD_REQUEST])
def test_a_request_that_reaches_the_server(reason):
    assert judge_websocket(asked(upgrade=refused(reason))).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("upgrade", "found", "advice"),
    [
        (refused(Reason.BAD_REQUEST, "no Upgrade"), "the server says: no Upgrade", "`proxy_http_version 1.1;"),
        (refused(Reason.BAD_REQUEST), "the server says: a bad request", "`http-request del-header`"),
        (refused(Reason.BAD_REQUEST, server="envoy"), "has changed the request", "upgrade_configs"),
        (refused(Reason.BAD_REQUEST, server="Apache/2.4"), "has changed the request", "upgrade=websocket"),
        (other(403, "Forbidden"), "nginx/1.26 in between does not let a WebSocket through: 403 F", "nginx needs"),
        (other(400, x="y"), "something in between does not let a WebSocket through: 400", "nginx needs"),
        (other(504), "nginx/1.26 in between gave up with 504", "SOKKEN_TARGET_TIMEOUT_SECONDS"),
        (none(NoAnswer.TIMEOUT), "no answer within 12.0 s", "-timeout"),
        (none(NoAnswer.ENDED), "ended without an answer to the upgrade", "WAF"),
    ],
)
def test_something_in_between_spoils_the_upgrade(upgrade, found, advice):
    finding = judge_websocket(asked(upgrade=upgrade))
    assert finding.verdict is Verdict.FAILED
    assert found in finding.found
    assert advice in finding.advice


def test_an_original_behind_something_that_spoils_the_upgrade():
    finding = judge_websocket(asked(other(426), other(426)))
    assert "does not let a WebSocket through" in finding.found


def test_another_server_knows_no_websocket():
    finding = judge_websocket(asked(other(404), other(404, "Not Found")))
    assert finding.found == "nginx/1.26 answers 404 Not Found, no WebSocket"


@pytest.mark.parametrize(
    ("headers", "advice"),
    [
        ({"sec-websocket-extensions": "permessage-deflate"}, "permessage-deflate"),
        (OURS, "changes its answer"),
        ({"sec-websocket-protocol": "mqtt"}, "changes its answer"),
        ({}, "another WebSocket server"),
    ],
)
def test_a_spoilt_answer(headers, advice):
    finding = judge_websocket(asked(upgrade=other(101, **(headers or {"x": "y"})), spoilt="it is wrong"))
    assert (finding.verdict, finding.found) == (Verdict.FAILED, "it is wrong")
    assert advice in finding.advice


# ------------------------------------------------------------------------------------ credentials, target


@pytest.mark.parametrize(
    ("facts", "shown", "verdict", "said"),
    [
        (OPEN, (), Verdict.OK, "lets this client in, without a credential"),
        (OPEN, ("SOKKEN_TOKEN_FILE",), Verdict.OK, "with SOKKEN_TOKEN_FILE"),
        (asked(upgrade=refused(Reason.UNAUTHENTICATED, "why")), (), Verdict.FAILED, "why; it asks for a credential"),
        (asked(refused(Reason.UNAUTHENTICATED)), ("A", "B"), Verdict.FAILED, "it was shown A and B: compare"),
        (asked(upgrade=refused(Reason.FORBIDDEN_ORIGIN)), (), Verdict.FAILED, "takes this for a browser"),
        (
            asked(refused(Reason.UNAUTHENTICATED), refused(Reason.BAD_REQUEST, "spoilt")),
            (),
            Verdict.FAILED,
            "the server does not know who this is: unauthenticated",
        ),
        (asked(other(401), other(401)), (), Verdict.FAILED, "something in between asks for credentials (401)"),
        (asked(upgrade=refused(Reason.BAD_REQUEST)), (), Verdict.OK, "lets this client in"),
        (asked(other(400), refused(Reason.BAD_REQUEST)), (), Verdict.SKIPPED, "was not asked"),
        (asked(other(404), other(404)), (), Verdict.SKIPPED, "was not asked"),
        (asked(upgrade=refused(Reason.TARGET_REFUSED)), (), Verdict.OK, "lets this client in"),
    ],
)
def test_who_is_let_in(facts, shown, verdict, said):
    finding = judge_auth(facts, Shown(shown))
    assert finding.verdict is verdict
    assert said in text(finding)


def test_a_target_that_is_connected():
    finding = judge_target(OPEN)
    assert (finding.verdict, finding.found) == (Verdict.OK, "the server is connected to b:22 (within 3.0 ms)")


@pytest.mark.parametrize("reason", [reason for reason in REFUSED if reason is not Reason.FORBIDDEN_ORIGIN])
@pytest.mark.parametrize("detail", ["", "b:22 did something"])
def test_every_reason_has_advice(reason, detail):
    finding = judge_target(asked(upgrade=refused(reason, detail)))
    assert finding.verdict is Verdict.FAILED
    assert finding.found == f"{detail or 'b:22: no tunnel'} ({reason})"
    assert finding.advice


def test_a_reason_that_only_the_check_gave():
    assert judge_target(asked(refused(Reason.FORBIDDEN_TARGET), other(500))).verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("facts", "verdict", "said"),
    [
        (asked(other(429), other(429)), Verdict.FAILED, "too many connections (429)"),
        (asked(upgrade=other(403)), Verdict.SKIPPED, "the server would connect to b:22"),
        (asked(other(404), other(404)), Verdict.SKIPPED, "was not asked"),
        (asked(other(404)), Verdict.SKIPPED, "was not asked"),
    ],
)
def test_a_target_of_which_less_is_known(facts, verdict, said):
    finding = judge_target(facts)
    assert finding.verdict is verdict
    assert said in finding.found


@pytest.mark.parametrize(
    ("detail", "is_answering", "verdict", "said"),
    [
        ("target address not allowed", False, Verdict.FAILED, "has closed the WebSocket: target address not allowed"),
        ("", True, Verdict.FAILED, "has closed the WebSocket: without a word"),
        (None, False, Verdict.FAILED, "has fallen silent"),
        (None, True, Verdict.OK, "it does not say"),
    ],
)
def test_the_target_of_an_original(detail, is_answering, verdict, said):
    finding = judge_original_target("b:22", detail, is_answering=is_answering)
    assert finding.verdict is verdict
    assert said in finding.found


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'{"detail": 1}', b"[" * 100_000])
def test_a_body_that_is_no_problem_document(body):
    upgrade = Exchange(0.1, Answer(502, "", OURS | {"sokken-reason": "target_refused"}), body)
    assert judge_target(asked(upgrade=upgrade)).found == "b:22: no tunnel (target_refused)"


def test_a_certificate_that_is_asked_for():
    finding = judge_http(asked(none(NoAnswer.REFUSED_CERTIFICATE, "certificate required")))
    assert "lets nobody through without a client's certificate" in finding.found
