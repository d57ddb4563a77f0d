"""The doctor's command line: what is to be examined, and how findings are shown."""

import json

import pytest

from sokken.cli.doctor import HELP_TEXT, JsonOutput, TextOutput, doctor, parse_forwards
from sokken.doctor.report import Report, failed, ok, warning
from sokken.errors import ConfigurationError, UsageError
from sokken.protocol.address import Address, Forward, parse_forward, parse_server_url

URL = "ws://b:8000/tunnel/c:22"


@pytest.mark.parametrize(
    ("words", "forwards"),
    [
        ([], ()),
        ([URL], (Forward(":0", Address("", 0), parse_server_url(URL)),)),
        ([f"ssh=:2222={URL}"], (parse_forward(f"ssh=:2222={URL}"),)),
        ([":2222", URL], (parse_forward(f":2222={URL}"),)),
        (
            [URL + "?a=b", f"127.0.0.1:1={URL}", ":2", URL],
            (
                Forward(":0", Address("", 0), parse_server_url(URL + "?a=b")),
                parse_forward(f"127.0.0.1:1={URL}"),
                parse_forward(f":2={URL}"),
            ),
        ),
    ],
)
def test_what_is_to_be_examined(words, forwards):
    assert parse_forwards(words) == forwards


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://b/"], "write ws:// instead of http://"),
        ([":1234", ":2222", URL], "':1234' is followed by its URL, for example ws://"),
        ([":1234"], "':1234' is followed by its URL"),
        (["b"], "'b': the port is missing"),
        ([f"A=:1={URL}"], "a forward's name is"),
    ],
)
def test_what_cannot_be_examined(words, said):
    with pytest.raises(UsageError, match=said.replace("?", r"\?")):
        parse_forwards(words)


def test_help(capsys):
    assert doctor(["-h"]) == 0
    assert capsys.readouterr().out == HELP_TEXT


def test_nothing_to_examine():
    with pytest.raises(UsageError, match=r"^there is nothing to look at: .* or set SOKKEN_FORWARDS$"):
        doctor([])


def test_an_empty_credential(monkeypatch):
    monkeypatch.setenv("SOKKEN_CA_FILE", "")
    with pytest.raises(ConfigurationError, match="SOKKEN_CA_FILE: it is empty"):
        doctor([URL])


@pytest.mark.parametrize("words", [["-server-nam", "x", URL], ["-policy-file", "x", URL], ["-timeout", "0", URL]])
def test_options_that_are_wrong(words):
    with pytest.raises(UsageError, match=f"option {words[0]}"):
        doctor(words)


def show(output, *findings):
    report = Report("ssh", URL)
    tell = output.begin(report)
    for finding in findings:
        output.progress("working")
        report.findings.append(finding)
        tell(finding)
    output.end([report])


def test_text(capfd):
    show(TextOutput(), ok("dns", "fine"), warning("tcp", "slow", "be quick"))
    out, err = capfd.readouterr()
    assert err == ""
    assert out.splitlines() == [
        f"ssh: {URL}",
        "  ok       dns          fine",
        "  warning  tcp          slow -> be quick",
        f"{URL}: the tunnel works, with warnings: tcp",
    ]
    show(TextOutput(), warning("dns", "slow", "be quick"), failed("tcp", "no", "do it"))
    assert capfd.readouterr().out.endswith(f"{URL}: failed: tcp, with warnings: dns\n")


def test_json(capfd):
    show(JsonOutput(), ok("dns", "fine"), failed("tcp", "no", "do it"))
    out, err = capfd.readouterr()
    assert err == ""
    document = json.loads(out)
    assert document["ok"] is False
    assert [step["step"] for step in document["tunnels"][0]["steps"]] == ["dns", "tcp"]
