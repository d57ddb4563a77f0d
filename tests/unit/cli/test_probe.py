"""The probe against whatever may answer at API_ADDR: one line of reason, an exit code, and an end in time."""

import subprocess
import sys
import time

import pytest

from sokken.cli.main import main
from sokken.cli.probe import HELP_TEXT
from tests.support.addresses import closed_port
from tests.support.programs import join
from tests.support.targets import target

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n"


@pytest.fixture
def probe(monkeypatch, capsys):
    """Probe an address: the exit code, and what was said on standard error; nothing else is ever said."""

    def run(address, *words):
        monkeypatch.setenv("SOKKEN_API_ADDR", address)
        code = main(["probe", *words])
        told = capsys.readouterr()
        assert told.out == ""
        return code, told.err

    return run


def answering(answer, requests=None):
    def handle(sock):
        request = sock.recv(65536)
        if requests is not None:
            requests.append(request)
        sock.sendall(answer)

    return handle


def test_healthy(probe):
    requests = []
    with target(answering(OK, requests)) as where:
        assert probe(join(where)) == (0, "")
        assert probe(join(where), "ready") == (0, "")
        assert probe(join(where), "live", "-timeout=1") == (0, "")
    request = "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"
    assert [sent.decode() for sent in requests] == [
        request.format(path, join(where)) for path in ("/readyz", "/readyz", "/livez")
    ]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\ndraining\n", "/readyz answers 503: draining"),
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "/readyz answers 404"),
        (b"HTTP/1.1 503 x\r\n\r\na\x1b[31m\nb", "/readyz answers 503: a[31m"),
        (b"HTTP/1.1\r\n\r\n", "/readyz answers "),
        (b"SSH-2.0-x\r\n", "what answers there does not speak HTTP"),
        (b"", "what answers there does not speak HTTP"),
    ],
)
def test_unhealthy(probe, answer, reason):
    with target(answering(answer)) as where:
        assert probe(join(where)) == (1, f"sokken probe: {join(where)}: {reason}\n")


def test_nothing_listens(probe):
    with closed_port() as where:
        assert probe(join(where)) == (1, f"sokken probe: {join(where)}: nothing listens there\n")


@pytest.mark.parametrize("drip", [b"", b"H"])
def test_the_answer_has_a_time_limit(probe, drip):
    def handle(sock):
        while sock.send(drip or b"") or not drip:
            time.sleep(0.05)

    with target(handle) as where:
        began = time.monotonic()
        code, said = probe(join(where), "-timeout", "0.3")
        assert (code, said) == (1, f"sokken probe: {join(where)} did not answer within 0.3 s\n")
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_every_interface_is_asked_over_loopback(probe, host):
    """Of a program that listens on all of them; where only IPv6 is there, too."""
    with target(answering(OK), host) as where:
        assert probe(f":{where[1]}") == (0, "")
        assert probe(f"[::]:{where[1]}" if ":" in host else f"0.0.0.0:{where[1]}") == (0, "")


def test_a_host_name_is_resolved(probe):
    with target(answering(OK)) as where:
        assert probe(f"localhost:{where[1]}") == (0, "")


@pytest.mark.parametrize(
    ("address", "words", "code", "said"),
    [
        (":0", [], 3, "SOKKEN_API_ADDR has port 0, which is another port at each start: "),
        ("", [], 3, "SOKKEN_API_ADDR is not set: "),
        ("8000", [], 2, "variable SOKKEN_API_ADDR: '8000': the port is missing"),
        (":1", ["alive"], 2, "unknown argument 'alive': probe is followed by live or ready, or by nothing"),
        (":1", ["live", "now"], 2, "unknown argument 'now': "),
        (":1", ["-timeout", "x"], 2, "option -timeout: 'x': this is no number of seconds from 0.1 to 86400"),
    ],
)
def test_what_cannot_be_asked(probe, address, words, code, said):
    assert probe(address, *words)[0] == code
    assert probe(address, *words)[1].startswith(f"sokken: {said}")


def test_help(capsys):
    assert main(["probe", "--help"]) == 0
    assert capsys.readouterr().out == HELP_TEXT


def test_it_loads_next_to_nothing():
    """It runs every few seconds in every container."""
    code = """
import sys
from sokken.cli.main import main
code = main(["probe"])
heavy = {"pydantic", "aiohttp", "asyncio", "ssl", "http.client", "email", "structlog", "sokken.transport"}
print(code, *heavy & set(sys.modules))
"""
    with closed_port() as where:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=30,
            env={"SOKKEN_API_ADDR": join(where)},
            check=True,
        )
    assert done.stdout == "1\n"


def test_a_name_that_does_not_resolve(probe):
    code, said = probe("nowhere.invalid:8000")
    assert code == 1
    assert said.startswith("sokken probe: nowhere.invalid:8000: ")
    assert said.count("\n") == 1
