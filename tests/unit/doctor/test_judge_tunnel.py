"""What an open tunnel does: half-close, pings, idle times and speed."""

import pytest

from sokken.doctor.judge_tunnel import (
    Echo,
    End,
    Ending,
    Hold,
    judge_half_close,
    judge_idle,
    judge_pings,
    judge_speed,
)
from sokken.doctor.report import Verdict

CUT = Ending(End.CUT)
ABORTED = Ending(End.ABORTED, "idle_timeout")


def echo(received=100, *, same=True, ended=True, ending=None, seconds=2.0):
    return Echo(100, received, same, ended, seconds, ending)


@pytest.mark.parametrize(
    ("subprotocol", "came", "verdict", "said"),
    [
        ("sokken", None, Verdict.WARNING, "the first end of a direction ends both"),
        ("sokken.v2", None, Verdict.OK, "sokken.v2 carries it; -echo tests it"),
        ("sokken.v2", echo(), Verdict.OK, "100 bytes and the end came back"),
        ("sokken.v2", echo(same=False), Verdict.FAILED, "not what was sent came back"),
        (
            "sokken.v2",
            echo(0, same=False, ended=False),
            Verdict.FAILED,
            "0 of 100 bytes and no end came back within 2",
        ),
        ("sokken.v2", echo(40, same=False, ended=False, ending=CUT), Verdict.FAILED, "40 of 100 bytes were back"),
    ],
)
def test_half_close(subprotocol, came, verdict, said):
    finding = judge_half_close(subprotocol, came)
    assert (finding.step, finding.verdict) == ("half-close", verdict)
    assert said in finding.found


@pytest.mark.parametrize(
    ("times", "ending", "verdict", "said"),
    [
        ([0.02, 0.01, 0.9], None, Verdict.OK, "10 ms at best, 20 ms in the middle of 3"),
        ([0.01, 0.02], None, Verdict.WARNING, "1 of 3 were not answered in time"),
        ([0.01, 0.02], CUT, Verdict.OK, "10 ms at best"),
        ([0.6, 0.7, 0.8], None, Verdict.WARNING, "700 ms in the middle"),
        ([], None, Verdict.FAILED, "none of 3 pings was answered"),
        ([], CUT, Verdict.FAILED, "there was no answer: it was cut without a word"),
    ],
)
def test_pings(times, ending, verdict, said):
    finding = judge_pings(times, 3, ending)
    assert finding.verdict is verdict
    assert said in finding.found


@pytest.mark.parametrize(
    ("quiet", "pinged", "verdict", "said"),
    [
        (Hold(60), Hold(60), Verdict.OK, "nothing has cut an idle tunnel within 60 s"),
        (Hold(60), None, Verdict.OK, "nothing has cut"),
        (None, None, Verdict.SKIPPED, "there was no tunnel to hold"),
        (Hold(5, CUT), Hold(60), Verdict.FAILED, "an idle tunnel is cut after 5.0 s in between, before the first of"),
        (Hold(40, CUT), Hold(60), Verdict.WARNING, "cut after 40.0 s in between; sokken's pings keep tunnels open"),
        (Hold(30, CUT), Hold(30, CUT), Verdict.FAILED, "cut after 30.0 s in between, although there were pings"),
        (Hold(60), Hold(30, CUT), Verdict.FAILED, "although there were pings"),
        (Hold(9, ABORTED), Hold(60), Verdict.WARNING, "after 9.0 s, the server ended it (idle_timeout)"),
    ],
)
def test_idle(quiet, pinged, verdict, said):
    finding = judge_idle(60, quiet, pinged)
    assert finding.verdict is verdict
    assert said in finding.found
    assert bool(finding.advice) is (verdict in {Verdict.WARNING, Verdict.FAILED})


def test_a_short_look_says_how_to_look_longer():
    assert "-idle 120" in judge_idle(5, Hold(5), Hold(5)).found


@pytest.mark.parametrize(
    ("came", "verdict", "said"),
    [
        (None, Verdict.SKIPPED, "say -echo if it does"),
        (echo(50_000_000), Verdict.OK, "25 MB/s each way at once, 50 MB came back as they were sent"),
        (echo(0), Verdict.FAILED, "nothing came back"),
        (echo(9, same=False), Verdict.FAILED, "what came back is not what was sent"),
        (echo(9, ending=CUT), Verdict.FAILED, "after 9 bytes, it was cut without a word"),
        (echo(0, ending=Ending(End.CLOSED, "", 1009)), Verdict.FAILED, "takes no messages of 524288 bytes"),
    ],
)
def test_speed(came, verdict, said):
    finding = judge_speed(came, 524288)
    assert finding.verdict is verdict
    assert said in finding.found


def test_a_time_too_short_to_measure():
    assert judge_speed(echo(9, seconds=0.0), 1).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (CUT, "it was cut without a word"),
        (Ending(End.CLOSED, "", 1000), "it was closed with 1000"),
        (Ending(End.CLOSED, "why", 1011), "it was closed with 1011 why"),
        (ABORTED, "the server ended it (idle_timeout)"),
        (Ending(End.VIOLATION, "a reserved bit is set"), "what came is no WebSocket of sokken: a reserved bit is set"),
    ],
)
def test_endings(ending, text):
    assert str(ending) == text
