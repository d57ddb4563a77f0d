"""How findings look to people and to machines."""

import json
from datetime import timedelta

import pytest

from sokken.doctor.report import (
    STEPS,
    Report,
    escape,
    failed,
    format_finding,
    format_seconds,
    format_span,
    ok,
    skipped,
    warning,
)


def test_a_line():
    assert format_finding(ok("dns", "it is 127.0.0.1", ms=1), colour=False) == (
        "  ok       dns          it is 127.0.0.1"
    )
    assert format_finding(failed("half-close", "no", "do it"), colour=False) == "  failed   half-close   no -> do it"


def test_colour_is_around_the_verdict_alone():
    line = format_finding(warning("tcp", "slow", "be quick"), colour=True)
    assert line == "  \x1b[33mwarning\x1b[0m  tcp          slow -> be quick"


def test_what_others_have_sent_cannot_move_the_cursor():
    line = format_finding(ok("http", "nginx\x1b[2J\r\nok\u202e", ms=1), colour=False)
    assert line == "  ok       http         nginx?[2J??ok?"
    assert escape("ä…") == "ä…"


def test_verdicts_and_steps_stand_below_each_other():
    lines = [format_finding(skipped(step, "@"), colour=False) for step in STEPS]
    assert len({line.index("@") for line in lines}) == 1


def test_a_report_for_machines():
    report = Report("ssh", "ws://a/tunnel/b:1")
    report.findings += [ok("dns", "fine", ms=1.5), warning("tcp", "slow", "be quick")]
    assert json.loads(json.dumps(report.as_json())) == {
        "name": "ssh",
        "url": "ws://a/tunnel/b:1",
        "ok": True,
        "steps": [
            {"step": "dns", "verdict": "ok", "found": "fine", "ms": 1.5},
            {"step": "tcp", "verdict": "warning", "found": "slow", "advice": "be quick"},
        ],
    }
    report.findings.append(failed("tls", "no", "do it"))
    assert report.has_failed
    assert report.as_json()["ok"] is False


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0004, "0.4 ms"), (0.0123, "12 ms"), (0.999, "999 ms"), (1, "1.0 s"), (12.34, "12.3 s")]
)
def test_seconds(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=30), "0 minutes"),
        (timedelta(minutes=1), "1 minute"),
        (timedelta(minutes=61), "1 hour"),
        (timedelta(hours=47), "1 day"),
        (timedelta(days=3), "3 days"),
    ],
)
def test_spans(span, text):
    assert format_span(span) == text
