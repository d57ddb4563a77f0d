"""What a real client shows, whom it trusts, and what it does while a file is not there."""

import os
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from tests.support.fake_server import answer, fake_server
from tests.support.programs import client, running, server
from tests.support.targets import connect, echo, eventually, receive_exactly, target, was_reset
from tests.support.wire import format_head

pytestmark = pytest.mark.programs

QUICK = {"SOKKEN_CHECK_INTERVAL_SECONDS": "1"}


@pytest.fixture
def guarded(tmp_path, authority):
    """A server over TLS that wants a token, and the URL of a tunnel there."""
    (tmp_path / "tokens").write_text("ci:s3cr3t\n")
    env = {"SOKKEN_TLS_CERT_FILE": str(authority.server), "SOKKEN_TOKENS_FILE": str(tmp_path / "tokens")}
    with target(echo) as where, server(where, env=env) as far:
        yield far, far.url(where, ("localhost", far.api[1]), "wss")


def is_ready(near):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{near.api[1]}/readyz") as answer:
            return answer.status == 200
    except urllib.error.HTTPError:
        return False


def works(near):
    try:
        with connect(near.entry) as app:
            app.sendall(b"x")
            return receive_exactly(app, 1) == b"x"
    except ConnectionResetError as error:
        raise AssertionError(near.program.events("connection_failed")) from error


def is_refused(near, outcome):
    known = len(near.program.events("connection_failed"))
    with connect(near.entry) as app:
        assert was_reset(app)
    line = near.program.wait_for("connection_failed", known + 1)
    assert line["outcome"] == outcome
    return line["detail"]


@pytest.mark.parametrize("name", ["CA_FILE", "TOKEN_FILE", "CLIENT_CERT_FILE", "CLIENT_KEY_FILE", "HEADERS_FILE"])
def test_a_file_that_is_not_there_yet(guarded, authority, tmp_path, name):
    """Not ready, each connection refused with one line, and mended by the file alone."""
    far, url = guarded
    (tmp_path / "token").write_text("s3cr3t\n")
    (tmp_path / "headers").write_text("X-Route: blue\n")
    pair = authority.issue("DNS:client.example")
    files = {
        "CA_FILE": authority.file,
        "TOKEN_FILE": tmp_path / "token",
        "CLIENT_CERT_FILE": pair.with_suffix(".crt"),
        "CLIENT_KEY_FILE": pair.with_suffix(".key"),
        "HEADERS_FILE": tmp_path / "headers",
    }
    late = tmp_path / "late"
    env = {f"SOKKEN_{key}": str(late if key == name else path) for key, path in files.items()}
    with client(url, env=QUICK | env) as near:
        shown = "CLIENT_CERT_FILE" if name == "CLIENT_KEY_FILE" else name
        detail = f"SOKKEN_{shown}: cannot use {late}: no such file or directory"
        assert is_refused(near, "credential_unavailable") == detail
        near.program.wait_for("server_check_failed", outcome="credential_unavailable", detail=detail)
        assert not is_ready(near)
        late.write_bytes(files[name].read_bytes())
        assert works(near)
        eventually(lambda: is_ready(near))
    assert len(near.program.events("reload")) == 2
    assert not far.program.events("connection_refused")


def test_a_token_is_read_again_at_each_connection(guarded, authority, tmp_path):
    far, url = guarded
    token = tmp_path / "token"
    token.write_text("0ld\n")
    env = {"SOKKEN_CA_FILE": str(authority.file), "SOKKEN_TOKEN_FILE": str(token)}
    with client(url, env=QUICK | env) as near:
        assert is_refused(near, "unauthenticated").endswith("; the token is not known here")
        token.write_text("s3cr3t")
        assert works(near)
        token.write_text("")
        assert works(near)  # the last good one
        near.program.wait_for("reload", result="kept_last_good")
        text = str(near.program.lines) + str(far.program.lines)
    assert "s3cr3t" not in text
    assert "0ld" not in text


def headers_of_a_tunnel(fake, near):
    with connect(near.entry):
        request = fake.next_request()
        answer(request, format_head("HTTP/1.1 403 Forbidden", {"Content-Length": "0"}))
    return request.fields


def test_headers_from_the_environment_and_from_a_file(tmp_path):
    (tmp_path / "headers").write_text("X-Two: 2\nX-One: of the file\n")
    env = {"SOKKEN_HEADERS": "X-One: 1\nX-Three: 3", "SOKKEN_HEADERS_FILE": str(tmp_path / "headers")}
    with fake_server() as fake, client(fake.url("/tunnel/target.test:1"), env=env) as near:
        first = headers_of_a_tunnel(fake, near)
        (tmp_path / "headers").write_text("X-Two: 4")
        second = headers_of_a_tunnel(fake, near)
    assert (first["x-one"], first["x-two"], first["x-three"]) == ("of the file", "2", "3")
    assert (second["x-one"], second["x-two"], second["x-three"]) == ("1", "4", "3")


def test_a_server_of_another_name(tmp_path, authority):
    """The certificate is verified under the name that was asked for, and under no other."""
    env = {"SOKKEN_TLS_CERT_FILE": str(authority.issue("DNS:tunnel.example"))}
    ours = QUICK | {"SOKKEN_CA_FILE": str(authority.file)}
    with ExitStack() as stack:
        where = stack.enter_context(target(echo))
        far = stack.enter_context(server(where, env=env))
        url = far.url(where, scheme="wss")
        right, wrong, none, blind = (
            stack.enter_context(client(url, env=ours | more))
            for more in (
                {"SOKKEN_SERVER_NAME": "tunnel.example"},
                {"SOKKEN_SERVER_NAME": "other.example"},
                {},
                {"SOKKEN_TLS_INSECURE_SKIP_VERIFY": "true"},
            )
        )
        assert works(right)
        assert "not valid for 'other.example'" in is_refused(wrong, "server_tls")
        assert "not valid for '127.0.0.1'" in is_refused(none, "server_tls")
        assert works(blind)
        assert len(blind.program.events("tls_not_verified")) == 1
        assert not right.program.events("tls_not_verified")


@pytest.mark.parametrize("name", ["TOKEN_FILE", "CLIENT_CERT_FILE", "HEADERS_FILE", "HEADERS"])
def test_credentials_do_not_go_over_the_wire_in_plaintext(name):
    value = "Authorization: Basic czNjcjN0" if name == "HEADERS" else "/nonexistent"
    env = {f"SOKKEN_{name}": value}
    url = "ws://machine-b.test/tunnel/a:1"
    with running("client", "127.0.0.1:0", "127.0.0.1:0", url, env=env) as program:
        assert program.wait() == 3
        problem = f"SOKKEN_{name} is set, and {url} would send it where everybody on the way can read it"
        advice = "use wss://, or set SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS=true"
        assert program.noise == [f"sokken: {problem}: {advice}\n"]
        program.noise.clear()


def test_a_proxy_elsewhere_makes_loopback_another_hosts():
    env = {"SOKKEN_TOKEN_FILE": "/nonexistent", "SOKKEN_PROXY": "http://proxy.test:3128"}
    with running("client", "127.0.0.1:0", "127.0.0.1:0", "ws://127.0.0.1:1/tunnel/a:1", env=env) as program:
        assert program.wait() == 3
        assert "SOKKEN_TOKEN_FILE is set, and ws://127.0.0.1:1/tunnel/a:1 would send it" in program.noise[0]
        program.noise.clear()


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("ws://127.0.0.1:1/tunnel/a:1", {"SOKKEN_PROXY": "http://127.0.0.1:1"}),
        ("ws://127.0.0.1:1/tunnel/a:1", {"HTTP_PROXY": "http://proxy.test:1"}),  # not used for loopback
        ("ws://127.0.0.1:1/tunnel/a:1", {"SOKKEN_PROXY": "http://proxy.test:1", "NO_PROXY": "127.0.0.1"}),
        ("ws://127.0.0.1:1/tunnel/a:1", {}),
        ("ws://[::1]:1/tunnel/a:1", {}),
        ("ws://localhost:1/tunnel/a:1", {}),
        ("wss://machine-b.test/tunnel/a:1", {}),
        ("ws://machine-b.test/tunnel/a:1", {"SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS": "true"}),
    ],
)
def test_credentials_that_stay_here_or_are_encrypted(url, more, tmp_path):
    from sokken.settings import ClientSettings
    from sokken.transport.credentials import refuse_plaintext

    (tmp_path / "token").write_text("s3cr3t")
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in more.items():
            patch.setenv(variable, value)
        settings = ClientSettings(api_addr=":0", forwards=f":0={url}", token_file=tmp_path / "token")
    refuse_plaintext(settings)


def test_headers_without_a_secret_may_go_in_plaintext():
    from sokken.settings import ClientSettings
    from sokken.transport.credentials import refuse_plaintext

    refuse_plaintext(ClientSettings(api_addr=":0", forwards=":0=ws://machine-b.test/", headers="X-Route: blue"))


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"CLIENT_KEY_FILE": "/x"}, "SOKKEN_CLIENT_KEY_FILE is set: set SOKKEN_CLIENT_CERT_FILE, too"),
        (
            {"TOKEN_FILE": "/x", "HEADERS": "authorization: s3cr3t"},
            "SOKKEN_TOKEN_FILE and an Authorization in SOKKEN_HEADERS are two tokens; keep one",
        ),
    ],
)
def test_contradictions_end_the_client(env, message):
    variables = {f"SOKKEN_{name}": value for name, value in env.items()}
    url = "wss://localhost:1/tunnel/a:1"
    with running("client", "127.0.0.1:0", "127.0.0.1:0", url, env=variables) as program:
        assert program.wait() == 3
        assert program.noise == [f"sokken: {message}\n"]
        program.noise.clear()


def test_a_secret_is_shown_nowhere(tmp_path, capsys, monkeypatch):
    from sokken.cli.main import main

    monkeypatch.setenv("SOKKEN_HEADERS", "Authorization: Basic czNjcjN0")
    assert main(["check-config", "client", "127.0.0.1:0", "127.0.0.1:0", "wss://localhost:1/tunnel/a:1"]) == 0
    assert main(["client", "-headers", "Authorization: x", ":0", ":0", "ws://localhost:1/tunnel/a:1"]) == 2
    output = capsys.readouterr()
    assert "czNjcjN0" not in output.out + output.err
    assert "********" in output.out
    assert output.err == "sokken: option -headers would be seen by everybody on this host; set SOKKEN_HEADERS\n"
    assert os.environ["SOKKEN_HEADERS"]
