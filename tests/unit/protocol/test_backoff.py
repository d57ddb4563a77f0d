import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.backoff import (
    MAX_BODY_BYTES,
    Verdict,
    judge_answer,
    next_delay,
    parse_retry_after,
    retry_delay,
)
from sokken.protocol.handshake import Answer, format_refusal, head_end, parse_answer
from sokken.protocol.outcomes import Reason, Refusal, is_retryable

UNIFORM = st.floats(0, 1, exclude_max=True)


def answer(status: int, phrase: str = "", **headers: str) -> Answer:
    return Answer(status, phrase, {name.replace("_", "-"): value for name, value in headers.items()})


def problem(detail: object) -> bytes:
    return json.dumps({"type": "about:blank", "detail": detail}).encode()


@pytest.mark.parametrize(
    ("attempt", "longest"),
    [(0, 0.1), (1, 0.2), (2, 0.4), (3, 0.8), (4, 1.6), (5, 3.2), (6, 5.0), (7, 5.0), (100_000, 5.0)],
)
def test_delays_double_up_to_five_seconds(attempt: int, longest: float) -> None:
    assert retry_delay(attempt, 1.0) == pytest.approx(longest)
    assert retry_delay(attempt, 0.5) == pytest.approx(longest / 2)
    assert retry_delay(attempt, 0.0) == 0.0


@given(st.integers(0, 50), UNIFORM, st.none() | st.floats(0, 1e6), st.floats(-1, 60))
def test_a_delay_is_never_less_than_retry_after_nor_as_long_as_what_is_left(
    attempt: int, uniform: float, retry_after: float | None, remaining: float
) -> None:
    delay = next_delay(attempt, uniform, retry_after, remaining)
    wanted = max(retry_delay(attempt, uniform), retry_after or 0)
    assert delay == (wanted if wanted < remaining else None)


def test_a_client_gives_up_at_once_when_retry_after_exceeds_what_is_left() -> None:
    assert next_delay(0, 0.5, 31.0, 30.0) is None
    assert next_delay(0, 0.5, 30.0, 30.0) is None
    assert next_delay(0, 0.5, 29.0, 30.0) == 29.0


def test_a_client_gives_up_when_nothing_is_left() -> None:
    assert next_delay(0, 0.0, None, 0.0) is None
    assert next_delay(0, 0.0, None, -1.0) is None
    assert next_delay(6, 1.0, None, 4.9) is None


@given(st.integers(0, 10**9))
def test_retry_after_is_seconds(seconds: int) -> None:
    assert parse_retry_after(str(seconds)) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "-1", "+1", "1.5", " 1", "1 ", "1e3", "٣", "inf", "nan", "Fri, 31 Dec 1999 23:59:59 GMT", "9" * 301],
)
def test_any_other_retry_after_is_none(text: str) -> None:
    assert parse_retry_after(text) is None


def test_an_absurd_retry_after_only_means_that_it_is_too_long() -> None:
    delay = parse_retry_after("9" * 300)
    assert delay is not None
    assert next_delay(0, 0.5, delay, 30.0) is None


@pytest.mark.parametrize("reason", Reason)
def test_a_known_reason_decides(reason: Reason) -> None:
    head = format_refusal(Refusal(reason, "for a reason"), {})
    end = head_end(head)
    verdict = judge_answer(parse_answer(head[:end]), head[end:])
    assert (verdict.retry, verdict.outcome) == (is_retryable(reason), reason.value)
    assert verdict.detail.startswith(f"the server answered {Refusal(reason, '').status} {reason}")
    assert verdict.detail.endswith("; for a reason")


@pytest.mark.parametrize(
    ("status", "reason", "retry"),
    [
        (200, "draining", True),
        (502, "draining", True),
        (503, "target_refused", False),
        (500, "not_found", False),
    ],
)
def test_a_known_reason_counts_more_than_the_status(status: int, reason: str, retry: bool) -> None:
    verdict = judge_answer(answer(status, sokken_reason=reason))
    assert (verdict.retry, verdict.outcome) == (retry, reason)


@pytest.mark.parametrize("headers", [{}, {"sokken_reason": "newer_than_this"}, {"sokken_reason": "Draining"}])
def test_without_a_known_reason_the_status_decides(headers: dict[str, str]) -> None:
    retried = [status for status in range(100, 600) if judge_answer(answer(status, **headers)).retry]
    assert retried == [429, 500, 502, 503, 504]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "server_unreachable"),
        (301, "server_unreachable"),
        (400, "bad_request"),
        (401, "unauthenticated"),
        (403, "forbidden_target"),
        (404, "not_found"),
        (407, "unauthenticated"),
        (426, "server_unreachable"),
        (429, "rate_limited"),
        (500, "server_unreachable"),
        (502, "server_unreachable"),
        (503, "server_unreachable"),
        (504, "server_unreachable"),
    ],
)
def test_the_outcome_is_always_of_the_vocabulary(status: int, outcome: str) -> None:
    assert judge_answer(answer(status)).outcome == outcome
    assert judge_answer(answer(status, sokken_reason="newer_than_this")).outcome == outcome


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_names_the_location(status: int) -> None:
    verdict = judge_answer(answer(status, "Moved", location="https://other.example/tunnel/a:1"))
    assert not verdict.retry
    assert "the server redirects to https://other.example/tunnel/a:1; use that URL" in verdict.detail


def test_a_redirect_to_nowhere_says_so() -> None:
    assert "does not say where" in judge_answer(answer(302, "Found")).detail


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (200, "perhaps not a sokken server"),
        (400, "perhaps not a sokken server"),
        (401, "credentials"),
        (403, "allow-list"),
        (404, "SOKKEN_BASE_PATH"),
        (407, "HTTP proxy"),
        (426, "perhaps not a sokken server"),
    ],
)
def test_the_detail_says_what_to_check(status: int, words: str) -> None:
    assert words in judge_answer(answer(status, "Phrase")).detail


@pytest.mark.parametrize("status", [400, 426])
def test_what_gives_a_known_reason_is_a_sokken_server(status: int) -> None:
    assert "perhaps" not in judge_answer(answer(status, sokken_reason="bad_request")).detail


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_named_and_no_more(status: int) -> None:
    assert judge_answer(answer(status, "Some Phrase")).detail == f"the server answered {status} Some Phrase"
    assert judge_answer(answer(status)).detail == f"the server answered {status}"
    assert judge_answer(answer(status, "P", sokken_reason="x_y")).detail == f"the server answered {status} x_y"


def test_a_verdict_in_full() -> None:
    verdict = judge_answer(
        answer(403, "Forbidden", sokken_reason="forbidden_target"), problem("10.0.0.1:22 is not allowed")
    )
    assert verdict == Verdict(
        retry=False,
        outcome="forbidden_target",
        detail="the server answered 403 forbidden_target; check the credentials and the server's allow-list"
        " of targets; 10.0.0.1:22 is not allowed",
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>502</html>",
        b"\xff\xfe\x00",
        b"[" * 16000,
        b"9" * 16000,
        b'{"detail":',
        b"null",
        b"[]",
        b'"detail"',
        b"{}",
        problem(None),
        problem(["x"]),
        problem(""),
        problem("x").ljust(MAX_BODY_BYTES + 1),
    ],
)
def test_any_other_body_adds_nothing(body: bytes) -> None:
    assert judge_answer(answer(502, "Bad Gateway"), body) == judge_answer(answer(502, "Bad Gateway"))


def test_a_body_of_just_the_limit_is_read() -> None:
    assert judge_answer(answer(502), problem("x").ljust(MAX_BODY_BYTES)).detail.endswith("; x")


@given(st.text(min_size=1, max_size=400), st.text(max_size=400), st.text(min_size=1, max_size=400))
def test_what_a_peer_sent_is_bounded_and_printable(phrase: str, location: str, detail: str) -> None:
    verdict = judge_answer(answer(302, phrase, location=location), problem(detail))
    assert verdict.detail.isprintable()
    assert len(verdict.detail) < 3 * 200 + 150
    reason = judge_answer(answer(503, sokken_reason=phrase)).detail
    assert reason.isprintable()
    assert len(reason) < 230


def test_a_long_detail_is_cut_and_looks_cut() -> None:
    shown = judge_answer(answer(502), problem("x" * 201)).detail.partition("; ")[2]
    assert shown == "x" * 199 + "…"
    assert judge_answer(answer(502), problem("x" * 200)).detail.endswith("; " + "x" * 200)


@given(st.binary(max_size=64))
def test_no_body_breaks_the_judgement(body: bytes) -> None:
    assert judge_answer(answer(503), body).retry
