import json

import pytest

from sokken.operator.cluster.answers import Call, ClusterError, Trouble, judge_refusal, judge_status

CALL = Call("patch", "deployments.apps", "team", "web")


def refusal(code, message="", headers=None, **details):
    body = json.dumps({"kind": "Status", "code": code, "message": message, "details": details}).encode()
    return judge_refusal(CALL, code, headers or {}, body)


@pytest.mark.parametrize(
    ("code", "trouble"),
    [
        (302, Trouble.UNAVAILABLE),
        (400, Trouble.INVALID),
        (401, Trouble.UNAUTHENTICATED),
        (403, Trouble.FORBIDDEN),
        (404, Trouble.NOT_FOUND),
        (405, Trouble.NOT_FOUND),
        (409, Trouble.CONFLICT),
        (410, Trouble.GONE),
        (413, Trouble.INVALID),
        (415, Trouble.INVALID),
        (422, Trouble.INVALID),
        (429, Trouble.BUSY),
        (500, Trouble.UNAVAILABLE),
        (502, Trouble.UNAVAILABLE),
        (504, Trouble.UNAVAILABLE),
    ],
)
def test_the_status_says_which_trouble_it_is(code, trouble):
    assert refusal(code).trouble is trouble


@pytest.mark.parametrize(
    "message",
    [
        "failed to create typed patch object (t/a; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema",
        'failed to create typed patch object (t/a): .spec.ports: duplicate entries for key [port=80,protocol="TCP"]',
    ],
)
def test_a_schema_error_comes_as_500_and_is_none_that_passes(message):
    assert refusal(500, message).trouble is Trouble.INVALID
    assert refusal(500, "etcdserver: leader changed").trouble is Trouble.UNAVAILABLE


def test_a_namespace_on_its_way_out_is_told_from_a_lack_of_rights():
    cause = {"reason": "NamespaceTerminating", "message": "namespace team is being terminated"}
    assert refusal(403, "is forbidden", causes=[cause]).trouble is Trouble.TERMINATING
    assert refusal(403, "is forbidden", causes="what is this").trouble is Trouble.FORBIDDEN


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"Retry-After": "3"}, {}, 3),
        ({}, {"retryAfterSeconds": 2}, 2),
        ({"Retry-After": "100000"}, {}, 300),
        ({"Retry-After": "-1"}, {}, None),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, {}, None),
        ({"Retry-After": "nan"}, {}, None),
        ({}, {}, None),
    ],
)
def test_when_to_come_again(headers, details, seconds):
    assert refusal(429, "", headers, **details).retry_after == seconds


def test_it_is_one_line_that_says_what_was_asked():
    assert str(refusal(403, "no\nno\x1b[31m")) == "patch deployments.apps team/web: 403 no no [31m"
    assert str(ClusterError(Trouble.UNAVAILABLE, Call("list", "pods"), "no answer")) == "list pods: no answer"
    assert len(str(refusal(500, "x" * 5000))) < 700


@pytest.mark.parametrize("body", [b"", b"404 page not found\n", b"\xff\xfe", b"[1]", b"null", b'{"details": 5}'])
def test_whatever_stands_in_the_body(body):
    error = judge_refusal(CALL, 404, {}, body)
    assert error.trouble is Trouble.NOT_FOUND
    assert "\n" not in str(error)


def test_an_error_within_a_watch_has_no_headers():
    error = judge_status(CALL, 410, {"reason": "Expired"})
    assert (error.trouble, error.message) == (Trouble.GONE, "Expired")
