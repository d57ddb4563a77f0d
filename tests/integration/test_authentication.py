"""Who is let in by a real server, and who is not: one status and one line each, and the secret in neither."""

import contextlib
import json
import socket
import ssl
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.programs import join, running, server
from tests.support.raw_http import exchange, parse_answer, request, upgrade
from tests.support.targets import PATIENCE, connect, echo, eventually, receive_all, target
from tests.support.tokens import AUDIENCE, ISSUER, Issuer
from tests.support.wire import receive_head

pytestmark = pytest.mark.programs

TOKEN, ROTATED, HASHED = "the-first-t0ken", "the-second-t0ken", "the-hashed-t0ken"
issuer = Issuer("rsa", "ec")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("authentication")


@pytest.fixture(scope="module")
def guarded(folder, authority):
    """A server that lets in by certificate, token or JWT, and the path of a tunnel there."""
    digest = sha256(HASHED.encode()).hexdigest()
    (folder / "tokens").write_text(f"# CI\nci:{TOKEN}\nci:{ROTATED}\nnode:7:{digest}\n")
    (folder / "jwks").write_text(json.dumps(issuer.jwks()))
    env = {
        "SOKKEN_TLS_CERT_FILE": str(authority.server.with_suffix(".crt")),
        "SOKKEN_TLS_KEY_FILE": str(authority.server.with_suffix(".key")),
        "SOKKEN_CLIENT_CA_FILE": str(authority.file),
        "SOKKEN_TOKENS_FILE": str(folder / "tokens"),
        "SOKKEN_JWT_ISSUER": ISSUER,
        "SOKKEN_JWT_AUDIENCE": AUDIENCE,
        "SOKKEN_JWT_JWKS_FILE": str(folder / "jwks"),
    }
    with target(echo) as where, server(where, env=env) as far:
        yield far, f"/tunnel/{join(where)}"


@contextlib.contextmanager
def secured(where, authority, certificate=None):
    context = ssl.create_default_context(cafile=authority.file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    with (
        socket.create_connection(where, PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        yield tls


def bearer(token):
    return ("Authorization", f"Bearer {token}")


def ask(guarded, authority, *fields, certificate=None):
    """Open a tunnel; the status, and what the server's log says of who opened it."""
    far, path = guarded
    with secured(far.api, authority, certificate) as tls:
        tls.sendall(upgrade(path, *fields))
        head = receive_head(tls)
        line = far.program.wait_for("connection_opened", connection_id=head.fields["sokken-connection-id"])
    identity = line["identity"], line["identity_method"], line.get("identity_detail")
    return head.start.split()[1], identity


@pytest.mark.parametrize(
    ("token", "name"), [(TOKEN, "ci"), (ROTATED, "ci"), (HASHED, "node:7")], ids=["first", "second", "hashed"]
)
def test_a_token_of_the_file(guarded, authority, token, name):
    assert ask(guarded, authority, bearer(token)) == ("101", (name, "token", None))


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_a_token_of_a_service_account(guarded, authority, kind):
    name = "system:serviceaccount:ns:name"
    assert ask(guarded, authority, bearer(issuer.token(kind))) == ("101", (name, "jwt", "sub"))


@pytest.mark.parametrize(
    ("names", "identity"),
    [
        (("URI:spiffe://example.org/a", "DNS:a.example"), ("spiffe://example.org/a", "certificate", "SAN URI")),
        (("DNS:a.example",), ("a.example", "certificate", "SAN DNS")),
        ((), ("Alice", "certificate", "CN")),
    ],
)
def test_a_certificate(guarded, authority, names, identity):
    certificate = authority.issue(*names, subject="Alice")
    assert ask(guarded, authority, certificate=certificate) == ("101", identity)


def test_what_a_client_claims_is_another_field(guarded, authority):
    far, path = guarded
    with secured(far.api, authority) as tls:
        tls.sendall(upgrade(path, bearer(TOKEN), ("Sokken-Client-Id", "somebody-else")))
        receive_head(tls)
        line = far.program.wait_for("connection_opened", client_id="somebody-else")
    assert (line["identity"], line["identity_method"]) == ("ci", "token")


NO_CERTIFICATE = "no client certificate was shown"
stranger = Issuer("ec")
# Fields are made when they are sent: a token made while tests are collected has expired late in a long run.
REFUSED = {
    "nothing": (lambda: (), f"{NO_CERTIFICATE}; no token was shown"),
    "a wrong token": (
        lambda: (bearer("wr0ng-t0ken"),),
        f"{NO_CERTIFICATE}; the token is not known here; the token is no JWT",
    ),
    "the hash itself": (lambda: (bearer(sha256(HASHED.encode()).hexdigest()),), "the token is not known here"),
    "two tokens": (lambda: (bearer(TOKEN), bearer(TOKEN)), "there is more than one Authorization header"),
    "a password": (
        lambda: (("Authorization", "Basic Y2k6czNjcjN0"),),
        "the Authorization header holds no Bearer token",
    ),
    "an expired one": (lambda: (bearer(issuer.token(exp=-100)),), "the token has expired"),
    "an early one": (lambda: (bearer(issuer.token(nbf=3600, exp=7200)),), "the token is not valid yet"),
    "another audience": (lambda: (bearer(issuer.token(aud="other")),), "the token is for another audience"),
    "another issuer": (lambda: (bearer(issuer.token(iss="https://other.test")),), "the token is of another issuer"),
    "another key": (lambda: (bearer(stranger.token()),), "the token's signature is wrong"),
    "a proxy's": (lambda: (("Proxy-Authorization", f"Bearer {TOKEN}"),), "no token was shown"),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_credential_that_is_none(guarded, authority, case, method):
    far, path = guarded
    fields, detail = REFUSED[case]
    event = "connection_refused" if method == "GET" else "check_refused"
    known = len(far.program.events(event))
    with secured(far.api, authority) as tls:
        tls.sendall(upgrade(path, *fields(), method=method))
        answer = parse_answer(receive_all(tls))
    line = far.program.wait_for(event, known + 1)
    assert (answer.status, answer.fields["sokken-reason"]) == (401, "unauthenticated")
    assert answer.fields["www-authenticate"] == "Bearer"
    assert line["reason"] == "unauthenticated"
    assert "identity" not in line
    assert detail in line["detail"]
    if method == "GET":
        assert answer.problem["detail"] == line["detail"]


def test_a_token_that_is_too_long(guarded, authority):
    far, path = guarded
    with secured(far.api, authority) as tls:
        tls.sendall(upgrade(path, bearer("x" * 20_000)))
        assert parse_answer(receive_all(tls)).status == 431


def test_who_may_not_come_in_learns_nothing_of_the_targets(guarded, authority):
    far, _ = guarded
    with secured(far.api, authority) as tls:
        tls.sendall(upgrade("/tunnel/forbidden.test:1"))
        assert parse_answer(receive_all(tls)).status == 401


def test_health_asks_for_nothing(guarded, authority):
    far, _ = guarded
    with secured(far.api, authority) as tls:
        tls.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert parse_answer(receive_all(tls)).status == 200


def _is_alerted(where, authority, certificate, data):
    try:
        with secured(where, authority, certificate) as tls:
            tls.sendall(data)
            receive_all(tls)
    except ssl.SSLError as error:
        return "ALERT" in error.reason
    return False


def test_certificates_that_are_not_accepted(guarded, authority, folder):
    far, path = guarded
    other = Authority(folder, "other")
    cases = {
        "certificate has expired": authority.issue("DNS:a.example", days=-1),
        "unable to get local issuer certificate": other.issue("DNS:a.example"),
        "self-signed certificate": other.self_signed,
        "unsuitable certificate purpose": authority.issue("DNS:a.example", usage="serverAuth"),
    }
    for count, (problem, certificate) in enumerate(cases.items(), 1):
        assert _is_alerted(far.api, authority, certificate, upgrade(path))
        line = far.program.wait_for("tls_handshake_failed", count)
        assert line["detail"] == f"the client's certificate is not accepted: {problem}"
    assert len(far.program.events("tls_handshake_failed")) == len(cases)


def test_a_certificate_that_ends_is_not_carried_on_by_its_session(guarded, authority):
    """TLS 1.2 resumes a session without verifying its certificate again (RFC 5077 section 5.6)."""
    far, path = guarded
    context = ssl.create_default_context(cafile=authority.file)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(authority.issue_for_seconds(2, "soon-gone"))

    def resume(session):
        plain = socket.create_connection(far.api, PATIENCE)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as tls:
            tls.sendall(upgrade(path))
            return int(receive_head(tls).status), tls.session, tls.session_reused

    status, session, _ = resume(None)
    assert status == 101
    eventually(lambda: resume(session)[::2] == (401, True))
    far.program.wait_for("connection_refused", detail="the client's certificate has expired; no token was shown")


def test_no_secret_is_logged(guarded, authority):
    far, path = guarded
    with secured(far.api, authority) as tls:
        tls.sendall(upgrade(path, bearer("wr0ng-t0ken-of-this-test")))
        receive_all(tls)
    text = json.dumps(far.program.lines)
    assert "t0ken" not in text
    assert "eyJ" not in text
    assert b"t0ken" not in Path(f"/proc/{far.program.pid}/cmdline").read_bytes()


@pytest.mark.parametrize(("listen", "is_warned"), [("127.0.0.1:0", False), ("[::1]:0", False), (":0", True)])
def test_an_open_server_is_warned_of_unless_it_is_on_loopback(listen, is_warned):
    with server(("127.0.0.1", 1), listen=listen) as far:
        assert exchange(far.api, request("/livez")).status == 200
        assert len(far.program.events("authentication_disabled")) == is_warned


def test_a_guarded_server_is_not_warned_of(tmp_path):
    (tmp_path / "tokens").write_text("a:b")
    with server(("127.0.0.1", 1), listen=":0", env={"SOKKEN_TOKENS_FILE": str(tmp_path / "tokens")}) as far:
        assert exchange(far.api, request("/livez")).status == 200
        assert not far.program.events("authentication_disabled")


@pytest.mark.parametrize("content", [None, "", "s3cr3t"])
def test_tokens_that_are_none_end_the_server(tmp_path, content):
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content)
    with running("server", "127.0.0.1:0", "127.0.0.1:1", env={"SOKKEN_TOKENS_FILE": str(file)}) as program:
        assert program.wait() == 3
        assert len(program.noise) == 1
        assert program.noise[0].startswith(f"sokken: SOKKEN_TOKENS_FILE: cannot use {file}: ")
        assert "s3cr3t" not in program.noise[0]
        program.noise.clear()


EMPTY = [
    ("server", name)
    for name in (
        *("TLS_CERT_FILE", "TLS_KEY_FILE", "CLIENT_CA_FILE", "TOKENS_FILE", "JWT_ISSUER", "JWT_AUDIENCE"),
        *("JWT_JWKS_URL", "JWT_JWKS_FILE", "JWT_JWKS_CA_FILE", "JWT_JWKS_TOKEN_FILE"),
    )
] + [
    ("client", name)
    for name in (
        "CA_FILE",
        "CLIENT_CERT_FILE",
        "CLIENT_KEY_FILE",
        "SERVER_NAME",
        "TOKEN_FILE",
        "HEADERS",
        "HEADERS_FILE",
    )
]


@pytest.mark.parametrize(("program", "name"), EMPTY)
def test_an_empty_variable_never_means_less_protection(program, name, capsys, monkeypatch):
    from sokken.cli.main import main

    monkeypatch.setenv(f"SOKKEN_{name}", "")
    words = ["127.0.0.1:0", "127.0.0.1:1"] if program == "server" else [":0", ":0", "ws://127.0.0.1:1/tunnel/a:1"]
    assert main([program, *words]) == 3
    assert capsys.readouterr().err == f"sokken: variable SOKKEN_{name}: it is empty; set it, or leave it out\n"


def test_a_tls_handshake_takes_its_time_and_no_more(authority):
    env = {"SOKKEN_TLS_CERT_FILE": str(authority.server), "SOKKEN_TLS_HANDSHAKE_TIMEOUT_SECONDS": "1"}
    with server(("127.0.0.1", 1), env=env) as far, connect(far.api) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00")
        far.program.wait_for("tls_handshake_failed", detail="the handshake did not end within 1 s")
        with contextlib.suppress(ConnectionResetError):
            assert receive_all(sock) == b""


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (
            b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
            "this is plain HTTP, but TLS is spoken here: use wss:// or https://",
        ),
        (b"\x00" * 100, "this is no TLS: use wss:// or https://"),
    ],
    ids=["http", "garbage"],
)
def test_what_is_no_tls(loop, authority, sent, detail):
    with server(("127.0.0.1", 1), env=loop | {"SOKKEN_TLS_CERT_FILE": str(authority.server)}) as far:
        with connect(far.api) as sock:
            sock.sendall(sent)
            receive_all(sock)
        far.program.wait_for("tls_handshake_failed", detail=detail)
        connect(far.api).close()  # a probe of TCP is no failure
        with secured(far.api, authority) as tls:
            tls.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            assert parse_answer(receive_all(tls)).status == 200
        assert len(far.program.events("tls_handshake_failed")) == 1
