"""No secret is ever shown: real programs with one in every credential setting, right and broken, and all they say.

Every secret here holds one word, which is looked for in whatever form it may appear.
"""

import base64
import contextlib
import json
import ssl
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from sokken.cli.main import main
from sokken.settings.catalogue import all_settings, programs_of
from tests.support.fake_server import answer, fake_server
from tests.support.programs import client, join, server
from tests.support.raw_http import request, upgrade
from tests.support.targets import connect, echo, receive_all, receive_exactly, target, was_reset
from tests.support.tinyproxy import tinyproxy
from tests.support.tokens import AUDIENCE, ISSUER, Issuer
from tests.support.wire import format_head

pytestmark = pytest.mark.programs

WORD = "s3cr3tw0rd"
issuer = Issuer("ec")


def leaks(text, *secrets):
    """What in a text gives a secret away: the word, also in base64 at each of its three offsets, and ``secrets``."""
    encoded = [base64.b64encode(b"-" * cut + WORD.encode())[4 if cut else 0 : 12].decode() for cut in range(3)]
    return [form for form in (WORD, *encoded, *secrets) if form in text]


def test_what_is_looked_for_is_found():
    for cut in range(3):
        assert leaks("x" + base64.b64encode(b"a" * cut + WORD.encode() + b"z").decode())
    assert leaks(json.dumps({"a": f"Bearer {WORD}"}))
    assert leaks("a b", "b")
    assert not leaks("Bearer ***", "b")


def key_lines(path):
    """The lines of the private key in a PEM file."""
    key = Path(path).read_text().partition("PRIVATE KEY-----")[2]
    return [line for line in key.splitlines() if len(line) > 20 and "-----" not in line]


def said(end, tls=None):
    """All that a program has said, what its health says, and what everybody on this host may read of it."""
    command = Path(f"/proc/{end.program.pid}/cmdline").read_text()
    text = json.dumps(end.program.lines) + "".join(end.program.noise) + command
    scheme = "https" if tls else "http"
    for path in ("/health", "/livez", "/readyz", f"/nothing?token={WORD}"):
        try:
            url = f"{scheme}://127.0.0.1:{end.api[1]}{path}"
            with urllib.request.urlopen(url, context=tls) as answered:  # noqa: S310 -- its own health
                text += f"{answered.headers}{answered.read()}"
        except urllib.error.HTTPError as error:
            text += f"{error.headers}{error.read()}"
    return text


def attack(far, path, tls):
    """What is asked for with secrets where none are expected; all that is answered."""
    authorization = ("Authorization", f"Bearer {WORD}")
    answers = b""
    for data in (
        upgrade(path, authorization),
        upgrade(path, authorization, authorization),
        upgrade(path, ("Authorization", f"Basic {WORD}")),
        upgrade(path, ("Authorization", f"Bearer {WORD} {WORD}")),
        upgrade(path, ("Authorization", f"Bearer {issuer.token(sub=WORD, exp=-100)}")),
        upgrade(path, authorization, method="HEAD"),
        upgrade(path, authorization, ("Upgrade", "")),
        upgrade(path, authorization, ("Content-Length", "5")),
        upgrade(f"{path}?token={WORD}", ("Cookie", WORD), ("Proxy-Authorization", WORD)),
        upgrade(f"/tunnel/me:{WORD}@a:1", authorization),
        upgrade(path)[:-2] + f"Authorization: Bearer {WORD}\x01\r\n\r\n".encode(),
        upgrade(path)[:-2] + f"Authorization: Bearer\r\n {WORD}\r\n\r\n".encode(),
        upgrade(path)[:-2] + f"Authorization {WORD}\r\n\r\n".encode(),
        upgrade(path)[:-2] + f"Authorization: Bearer {WORD * 2000}\r\n\r\n".encode(),
        f"AUTH me {WORD}\r\n".encode(),
        f"GET / {WORD}\r\n\r\n".encode(),
        request(f"http://me:{WORD}@a/nothing"),
    ):
        with connect(far.api) as plain, tls.wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                answers += receive_all(sock)
    with connect(far.api) as plain:
        plain.sendall(upgrade(path, authorization))  # no TLS at all
        with contextlib.suppress(ConnectionResetError):
            answers += receive_all(plain)
    return answers.decode("latin-1")


def works(near):
    with connect(near.entry) as app:
        app.sendall(b"x")
        return receive_exactly(app, 1) == b"x"


def test_programs_say_nothing_of_what_they_were_given(tmp_path, authority):
    certificate, mine = authority.issue("IP:127.0.0.1", "DNS:localhost"), authority.issue("DNS:me")
    jwt = issuer.token(exp=7200)
    secrets = [*key_lines(certificate), *key_lines(mine), *jwt.split(".")[1:]]
    assert len(secrets) > 4
    contents = {
        "tokens": f"ci:{WORD}-token\n".encode(),
        "jwks": json.dumps(issuer.jwks()).encode(),
        "server": certificate.read_bytes(),
        "token": jwt.encode(),
        "headers": f"X-Gate: {WORD}-field\n".encode(),
        "client": mine.read_bytes(),
    }
    files = {name: tmp_path / name for name in contents}
    for name, content in contents.items():
        files[name].write_bytes(content)
    far_env = {
        "SOKKEN_TLS_CERT_FILE": str(files["server"]),
        "SOKKEN_CLIENT_CA_FILE": str(authority.file),
        "SOKKEN_TOKENS_FILE": str(files["tokens"]),
        "SOKKEN_JWT_ISSUER": ISSUER,
        "SOKKEN_JWT_AUDIENCE": AUDIENCE,
        "SOKKEN_JWT_JWKS_FILE": str(files["jwks"]),
        "SOKKEN_RELOAD_INTERVAL_SECONDS": "1",
        "SOKKEN_LOG_DEBUG": "true",
    }
    near_env = {
        "SOKKEN_CA_FILE": str(authority.file),
        "SOKKEN_TOKEN_FILE": str(files["token"]),
        "SOKKEN_HEADERS": f"Cookie: id={WORD}-cookie",
        "SOKKEN_HEADERS_FILE": str(files["headers"]),
        "SOKKEN_CLIENT_CERT_FILE": str(files["client"]),
        "SOKKEN_CHECK_INTERVAL_SECONDS": "1",
        "SOKKEN_LOG_DEBUG": "true",
    }
    tls = ssl.create_default_context(cafile=authority.file)
    with ExitStack() as stack:
        proxy = stack.enter_context(tinyproxy(tmp_path, f"BasicAuth me {WORD}-pass"))
        for name in ("SOKKEN_PROXY", "HTTPS_PROXY", "HTTP_PROXY"):
            near_env[name] = f"http://me:{WORD}-pass@{join(proxy)}"
        where = stack.enter_context(target(echo))
        far = stack.enter_context(server(where, env=far_env))
        url = far.url(where, ("localhost", far.api[1]), "wss")
        near = stack.enter_context(client(url, env=near_env))
        path = f"/tunnel/{join(where)}"
        assert works(near)
        text = attack(far, path, tls)
        for name, file in files.items():  # everything breaks while it runs
            file.write_bytes(f"{WORD} {name}\n: {WORD}\n".encode())
        for name in ("TLS_CERT_FILE", "TOKENS_FILE", "JWT_JWKS_FILE"):
            far.program.wait_for("reload", setting=f"SOKKEN_{name}", result="kept_last_good")
        assert works(near)  # with the last good ones
        for name in ("TOKEN_FILE", "HEADERS_FILE", "CLIENT_CERT_FILE"):
            near.program.wait_for("reload", setting=f"SOKKEN_{name}", result="kept_last_good")
        text += attack(far, path, tls) + said(far, tls) + said(near)
    assert leaks(text, *secrets) == []


def test_a_client_does_not_repeat_what_a_gateway_repeats(tmp_path):
    """Whoever answers has the token, and may say that it does not like it."""
    (tmp_path / "token").write_text(f"{WORD}-token")
    env = {
        "SOKKEN_TOKEN_FILE": str(tmp_path / "token"),
        "SOKKEN_HEADERS": f"X-Gate: {WORD}-gate\nX-Basic: Basic {WORD}-basic",
        "SOKKEN_CHECK_INTERVAL_SECONDS": "1",
    }

    def repeat(asked):
        body = json.dumps({"detail": f"no {asked.fields['authorization']}, no {asked.fields['x-gate']}"}).encode()
        location = f"https://login.test/?{asked.fields['x-basic'].split()[1]}"
        for_all = {"Content-Type": "application/problem+json", "Content-Length": str(len(body))}
        head = format_head("HTTP/1.1 302 Found", {**for_all, "Location": location})
        answer(asked, head + body)

    with fake_server(repeat) as fake, client(fake.url("/tunnel/a:1"), env=env) as near:
        with connect(near.entry) as app:
            assert was_reset(app)
        line = near.program.wait_for("connection_failed")
        assert "no Bearer ***, no ***" in line["detail"]
        assert leaks(said(near)) == []


BROKEN = [f"{WORD}\n{WORD}", f"{WORD}: {WORD}\x01", f"-----BEGIN PRIVATE KEY-----\n{WORD}\n-----END PRIVATE KEY-----\n"]
FILES = [name for name in all_settings() if name.endswith("_file") and name != "log_file"]
SECRETS = [name for name, setting in all_settings().items() if setting.is_secret]
NEEDED = {"api_addr": "127.0.0.1:0", "targets": "a:1", "forwards": ":0=wss://a/tunnel/b:1"}


def check(capsys, monkeypatch, program, values):
    """What the check of these settings says; a program that starts says the same problem, and no more."""
    with monkeypatch.context() as patch:
        for name, value in (NEEDED | values).items():
            patch.setenv(all_settings()[name].variable, value)
        code = main(["check-config", program])
    output = capsys.readouterr()
    return code, output.out + output.err


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_broken_is_not_quoted(name, content, tmp_path, authority, capsys, monkeypatch):
    file = tmp_path / "file"
    file.write_text(content)
    beside = {
        "tls_key_file": {"tls_cert_file": str(authority.server)},
        "client_ca_file": {"tls_cert_file": str(authority.server)},
        "client_key_file": {"client_cert_file": str(authority.server)},
        "policy_file": {"targets": ""},
        "proxy_credentials_file": {"proxy": "http://proxy.test:3128"},
    }.get(name, {})
    if name.startswith("jwt"):
        beside = {"jwt_issuer": "a", "jwt_audience": "b"}
        beside |= {} if name == "jwt_jwks_file" else {"jwt_jwks_url": "https://issuer.test/"}
    results = [check(capsys, monkeypatch, program, beside | {name: str(file)}) for program in programs_of(name)]
    for code, text in results:
        assert code == 3
        assert "cannot use" in text
        assert leaks(text) == []


@pytest.mark.parametrize("name", SECRETS)
def test_a_setting_that_is_secret_itself_is_not_quoted(name, capsys, monkeypatch):
    broken = [f"socks5://me:{WORD}@a:1", f"http://me:{WORD}@a:99999", f"http://me:{WORD}@"]
    if name == "headers":
        broken = [WORD, f"Host: {WORD}", f"X-A: {WORD}\nX-A: {WORD}"]
    for value in (f"{WORD}\x01", *broken):
        code, text = check(capsys, monkeypatch, "client", {name: value})
        assert code == 3
        assert all_settings()[name].variable in text
        assert leaks(text) == []


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_effect_is_masked(name, capsys, monkeypatch):
    value = f"X-A: {WORD}" if name == "headers" else f"http://me:{WORD}@a:1"
    code, text = check(capsys, monkeypatch, "client", {name: value})
    assert code == 0
    assert "********" in text
    assert leaks(text) == []
    assert main(["client", f"-{name.replace('_', '-')}", value, ":0", ":0", "ws://a/tunnel/b:1"]) == 2
    assert leaks("".join(capsys.readouterr())) == []
