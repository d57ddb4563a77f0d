"""The walk: every step is told once and in order, and what cannot be done says why."""

import pytest

from sokken.doctor.report import STEPS, Verdict
from sokken.doctor.walk import Options, Walk
from sokken.protocol.address import Address, Forward, parse_server_url
from tests.support.addresses import closed_port
from tests.support.fake_server import answer, fake_server
from tests.support.loops import LOOPS, planes, run
from tests.support.settings import client_settings
from tests.support.targets import target
from tests.support.wire import format_head

pytestmark = pytest.mark.parametrize("loop", LOOPS)
QUICK = Options(step_seconds=1, idle_seconds=0)


def walk(loop, url, options=QUICK, **given):
    """The findings by their steps."""
    told = []

    async def main():
        forward = Forward(":0", Address("", 0), parse_server_url(url))
        settings = client_settings(forwards=(forward,), max_message_bytes=32768, **given)
        async with planes(masks=True) as plane:
            await Walk(plane, settings, forward.url, options, told.append, lambda _: None).run()

    run(main(), loop)
    assert sorted(finding.step for finding in told) == sorted(STEPS)
    return {finding.step: finding for finding in told}


def of(findings, verdict):
    return [step for step in STEPS if findings[step].verdict is verdict]


def skipped_because(findings):
    return {finding.found for finding in findings.values() if finding.verdict is Verdict.SKIPPED}


def test_a_server_that_is_not_there(loop):
    with closed_port() as (host, port):
        found = walk(loop, f"ws://{host}:{port}/tunnel/a:1")
    assert of(found, Verdict.FAILED) == ["tcp"]
    assert of(found, Verdict.OK) == ["credentials", "dns"]
    assert skipped_because(found) == {"not after tcp has failed"}


def test_a_name_that_does_not_resolve(loop):
    found = walk(loop, "ws://nowhere.invalid:1/tunnel/a:1")
    assert of(found, Verdict.FAILED) == ["dns"]
    assert skipped_because(found) == {"not after dns has failed"}


def test_credentials_that_cannot_be_used_do_not_keep_it_from_looking_at_the_network(loop, tmp_path):
    with fake_server() as fake:
        url = fake.url("/tunnel/a:1").replace("ws://", "wss://")
        found = walk(loop, url, token_file=tmp_path / "missing")
    assert of(found, Verdict.FAILED) == ["credentials"]
    assert {"dns", "tcp"} <= set(of(found, Verdict.OK))
    assert skipped_because(found) == {"not without the credentials"}


def test_something_else_listens_there(loop):
    with target(lambda sock: sock.sendall(b"SSH-2.0-OpenSSH_9\r\n\r\n")) as (host, port):
        found = walk(loop, f"ws://{host}:{port}/tunnel/a:1")
    assert of(found, Verdict.FAILED) == ["http"]
    assert "SSH" in found["http"].found + found["http"].advice
    assert "not after http has failed" in skipped_because(found)


def test_a_server_that_refuses_the_tunnel(loop):
    forbidden = format_head("HTTP/1.1 403 Forbidden", {"Sokken-Reason": "forbidden_target", "Content-Length": "0"})
    with fake_server(lambda request: answer(request, forbidden)) as fake:
        found = walk(loop, fake.url("/tunnel/a:1"))
    assert of(found, Verdict.FAILED) == ["target"]
    for step in ("half-close", "ping", "idle", "speed"):
        assert (found[step].verdict, found[step].found) == (Verdict.SKIPPED, "there is no tunnel")
