"""One report for each forward, told while it is made."""

import pytest

from sokken.doctor.program import run
from sokken.doctor.report import STEPS
from sokken.doctor.walk import Options
from sokken.protocol.address import Address, Forward, parse_forward, parse_server_url
from tests.support.addresses import closed_port
from tests.support.settings import client_settings


@pytest.mark.usefixtures("undo_silence")
def test_a_report_for_each_forward_in_their_order():
    told, begun = [], []

    def begin(report):
        begun.append((report.name, report.url, len(report.findings)))
        return lambda finding: told.append((report.name, finding.step))

    with closed_port() as (host, port):
        url = f"ws://{host}:{port}/tunnel/a:1"
        forwards = (parse_forward(f"ssh=:2222={url}"), Forward(":0", Address("", 0), parse_server_url(url)))
        settings = client_settings(forwards=forwards, max_message_bytes=32768)
        reports = run(settings, Options(step_seconds=1, idle_seconds=0), begin, lambda _: None)
    assert begun == [("ssh", url, 0), ("", url, 0)]
    assert [(report.name, report.url, report.has_failed) for report in reports] == [("ssh", url, True), ("", url, True)]
    for report in reports:
        steps = [finding.step for finding in report.findings]
        assert sorted(steps) == sorted(STEPS)
        assert [step for name, step in told if name == report.name] == steps
