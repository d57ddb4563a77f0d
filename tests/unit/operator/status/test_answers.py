"""What is kept of a pod's /statusz: the real document of the real code, and whatever else may answer there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.operator.status import Answer
from sokken.operator.status.answers import Check, File
from tests.support.observations import NOW

DOCUMENT = {
    "not_ready": None,
    "servers": [
        {"server": "wss://a/tunnel/b:1", "outcome": None, "problem": None, "asked_s_ago": 2.5, "passed": True},
        {"server": "wss://a/tunnel/c:1", "outcome": "server_dns", "problem": "no\nsuch name", "asked_s_ago": None},
    ],
    "files": [
        {"setting": "SOKKEN_TOKEN_FILE", "files": ["/a", "/b"], "result": "loaded", "problem": None, "missing": ["/b"]},
        {"setting": "SOKKEN_CA_FILE", "files": ["/c"], "result": "unavailable", "problem": "of an older client"},
    ],
    "settings": [{"variable": "SOKKEN_TOKEN_FILE", "value": "/a"}],
}


def test_what_is_kept():
    assert Answer.parse(json.dumps(DOCUMENT).encode(), NOW) == Answer(
        NOW,
        "",
        "",
        (Check("wss://a/tunnel/b:1", "", "", 2.5), Check("wss://a/tunnel/c:1", "server_dns", "no?such name", None)),
        (
            File("SOKKEN_TOKEN_FILE", "loaded", "", 2, 1),
            File("SOKKEN_CA_FILE", "unavailable", "of an older client", 1, 0),
        ),
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe",
        json.dumps(DOCUMENT | {"servers": ["a"]}).encode(),
        json.dumps(DOCUMENT | {"servers": None}).encode(),
        json.dumps(DOCUMENT | {"files": [{"setting": 1}]}).encode(),
        json.dumps(DOCUMENT | {"not_ready": []}).encode(),
        json.dumps(DOCUMENT | {"servers": [DOCUMENT["servers"][0] | {"asked_s_ago": "soon"}]}).encode(),
    ],
)
def test_what_is_no_client_of_ours(body):
    assert Answer.parse(body, NOW) == Answer.failed("what answers there is no client of sokken", NOW)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*list(DOCUMENT), "server"]), inner, max_size=3)
    ),
)


@given(st.dictionaries(st.sampled_from(list(DOCUMENT)), json_values))
def test_whatever_answers_is_survived(changes):
    assert Answer.parse(json.dumps({**DOCUMENT, **changes}).encode(), NOW).asked_at == NOW
