import copy
import json

import pytest

from sokken.errors import SokkenError
from sokken.protocol.outcomes import (
    STATUS,
    ConnectOutcome,
    Outcome,
    Reason,
    Refusal,
    is_retryable,
    problem_document,
)


def test_every_reason_has_the_status_of_the_protocol() -> None:
    table = {
        400: {"bad_request"},
        401: {"unauthenticated"},
        403: {"forbidden_target", "forbidden_origin"},
        404: {"not_found"},
        429: {"server_full", "client_full", "target_full", "rate_limited"},
        502: {"target_refused", "target_unreachable", "target_dns"},
        503: {"draining"},
        504: {"target_timeout"},
    }
    assert {status: {r.value for r in Reason if STATUS[r] == status} for status in STATUS.values()} == table
    assert set(STATUS) == set(Reason)


def test_the_outcomes_are_those_of_the_protocol() -> None:
    assert [o.value for o in Outcome] == [
        "completed",
        "local_reset",
        "peer_reset",
        "peer_lost",
        "ping_timeout",
        "half_closed_timeout",
        "idle_timeout",
        "lifetime_exceeded",
        "drain_deadline",
        "policy_revoked",
        "killed",
        "protocol_error",
        "internal_error",
    ]
    assert [o.value for o in ConnectOutcome] == [
        "server_unreachable",
        "server_dns",
        "server_tls",
        "connect_timeout",
        "local_gave_up",
        "credential_unavailable",
    ]


def test_no_word_has_two_meanings() -> None:
    words = [*Reason, *Outcome, *ConnectOutcome]
    assert len({str(word) for word in words}) == len(words)


def test_only_fullness_and_draining_are_retryable() -> None:
    assert {r.value for r in Reason if is_retryable(r)} == {
        "server_full",
        "client_full",
        "target_full",
        "rate_limited",
        "draining",
    }


@pytest.mark.parametrize("reason", Reason)
def test_a_refusal_takes_its_status_from_its_reason(reason: Reason) -> None:
    refusal = Refusal(reason, "no")
    assert isinstance(refusal, SokkenError)
    assert (refusal.reason, refusal.status, refusal.detail) == (reason, STATUS[reason], "no")
    assert refusal.retry_after == (1 if refusal.status in (429, 503) else None)


def test_a_refusal_keeps_the_retry_after_it_was_given() -> None:
    assert Refusal(Reason.RATE_LIMITED, "too fast", 7).retry_after == 7
    assert Refusal(Reason.TARGET_DNS, "no such name", 3).retry_after == 3
    assert Refusal(Reason.DRAINING, "stopping", 0).retry_after == 0


def test_a_refusal_reads_as_one_line() -> None:
    refusal = Refusal(Reason.TARGET_REFUSED, "127.0.0.1:22 refused the connection")
    assert str(refusal) == "127.0.0.1:22 refused the connection (target_refused)"


def test_a_refusal_may_have_a_status_that_says_more() -> None:
    refusal = Refusal(Reason.BAD_REQUEST, "the head took longer than 10 s", status=408)
    assert (refusal.reason, refusal.status) == (Reason.BAD_REQUEST, 408)
    assert problem_document(refusal)["title"] == "Request Timeout"
    assert problem_document(copy.copy(refusal))["status"] == 408


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy])
def test_a_refusal_can_be_copied(clone) -> None:
    refusal = clone(Refusal(Reason.SERVER_FULL, "100 of 100 connections", 2))
    assert (refusal.reason, refusal.detail, refusal.retry_after) == (
        Reason.SERVER_FULL,
        "100 of 100 connections",
        2,
    )


def test_the_problem_document_says_it_all_in_plain_json() -> None:
    refusal = Refusal(Reason.TARGET_FULL, "127.0.0.1:22 has 10 of 10 connections")
    document = {
        "type": "about:blank",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "127.0.0.1:22 has 10 of 10 connections",
        "reason": "target_full",
    }
    assert problem_document(refusal) == document
    assert json.loads(json.dumps(problem_document(refusal))) == document
