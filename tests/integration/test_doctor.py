"""`sokken doctor` on real tunnels that work, and on those that are broken in every way that people meet."""

import base64
import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from tests.support.addresses import closed_port
from tests.support.black_holes import black_hole
from tests.support.certificates import Authority
from tests.support.original import original_server
from tests.support.programs import join, server
from tests.support.raw_http import upgrade
from tests.support.services import free_port, installed, service
from tests.support.targets import connect, echo, target
from tests.support.tinyproxy import tinyproxy

pytestmark = pytest.mark.programs

SECRET = "s3cr3t-0f-n0b0dy"
AFTER_TUNNEL = ["half-close", "ping", "idle", "speed"]


class Diagnosis:
    """What the doctor said of one tunnel."""

    def __init__(self, document):
        self.steps = {step["step"]: step for step in document["steps"]}
        self.verdicts = {name: step["verdict"] for name, step in self.steps.items()}

    def __getitem__(self, step):
        found = self.steps[step]
        return f"{found['found']}; {found['advice']}" if "advice" in found else found["found"]

    def all(self, verdict):
        return [step for step, found in self.verdicts.items() if found == verdict]


def run(*words, env=None):
    clean = {name: value for name, value in os.environ.items() if "SOKKEN" not in name and "PROXY" not in name.upper()}
    command = [sys.executable, "-m", "sokken", "doctor", *words]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60, env={**clean, "LC_ALL": "C", **(env or {})}
    )
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def examine(*words, env=None, idle="0"):
    """Examine one tunnel; the exit code must go with what was found."""
    done = run("-json", "-idle", idle, *words, env=env)
    assert done.stderr == ""
    document = json.loads(done.stdout)
    (found,) = map(Diagnosis, document["tunnels"])
    has_failed = "failed" in found.verdicts.values()
    assert done.returncode == has_failed
    assert document["ok"] is not has_failed
    return found


def only_failure(found, step):
    """The one step that failed, in words; what comes behind it must not have been tried in vain."""
    assert found.all("failed") == [step], found.steps
    later = list(found.steps)[list(found.steps).index(step) + 1 :]
    assert [name for name in later if name in AFTER_TUNNEL and found.verdicts[name] != "skipped"] == []
    return found[step]


@contextmanager
def haproxy(folder, far, *lines, bind="", defaults=()):
    entry = ("127.0.0.1", free_port())
    config = folder / "haproxy.conf"
    times = ["timeout connect 2s", "timeout client 30s", "timeout server 30s", *defaults]
    config.write_text(
        "\n    ".join(["defaults", "mode http", *times])
        + "\n"
        + "\n    ".join(["listen tunnels", f"bind {join(entry)} {bind}", *lines, f"server sokken {join(far)}"])
        + "\n"
    )
    with service(installed("haproxy"), "-db", "-f", config, where=entry, log=folder / "haproxy.log"):
        yield entry


@contextmanager
def nginx(folder, far, *directives):
    """nginx in front of a server, with these directives for its location."""
    entry = ("127.0.0.1", free_port())
    paths = "".join(
        f"    {kind}_temp_path {folder / kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off;\npid {folder / 'pid'};\nerror_log {folder / 'error.log'};\nevents {{}}\n"
        f"http {{\n    access_log off;\n{paths}    server {{\n        listen {join(entry)};\n"
        f"        location /tunnel/ {{ proxy_pass http://{join(far)}; {' '.join(directives)} }}\n    }}\n}}\n"
    )
    command = [installed("nginx"), "-c", config, "-e", folder / "error.log"]
    with service(*command, where=entry, log=folder / "nginx.log"):
        yield entry


PASSING_UPGRADES_ON = (
    "proxy_http_version 1.1;",
    "proxy_set_header Upgrade $http_upgrade;",
    "proxy_set_header Connection upgrade;",
)


@contextmanager
def cutting_relay(far, seconds):
    """TCP passed on, and each connection cut when it is that old, whatever goes over it."""

    def handle(sock):
        with socket.create_connection(far, 20) as onward:
            ending = time.monotonic() + seconds

            def pump(source, sink):
                try:
                    while data := source.recv(65536):
                        sink.sendall(data)
                except OSError:
                    pass

            threads = [threading.Thread(target=pump, args=pair) for pair in [(sock, onward), (onward, sock)]]
            for thread in threads:
                thread.start()
            threads[1].join(max(ending - time.monotonic(), 0))
            for end in (sock, onward):
                end.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()

    with target(handle) as where:
        yield where


# ------------------------------------------------------------------------------------------------ what works


def test_a_tunnel_that_works():
    with target(echo) as where, server(where) as far:
        found = examine("-echo", far.url(where), idle="2")
        assert found.all("failed") == found.all("warning") == []
        assert found.all("skipped") == ["proxy", "tls"]
        assert found["half-close"].startswith("262144 bytes and the end came back")
        assert found.steps["speed"]["bytes"] > 1_000_000
        assert found.steps["ping"]["answered"] == 5
        assert found.steps["websocket"]["subprotocol"] == "sokken.v2"
        # Every tunnel of the doctor ended in order: nobody's log tells of a loss.
        far.program.wait_for("connection_closed", count=4, outcome="completed")
        assert len(far.program.events("connection_closed")) == 4


def test_a_line_for_each_step():
    with target(echo) as where, server(where) as far:
        url = far.url(where)
        done = run("-idle", "0", "127.0.0.1:2222", url)
    lines = done.stdout.splitlines()
    assert lines[0] == f"127.0.0.1:2222: {url}"
    assert lines[-1] == f"{url}: the tunnel works"
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["ok", "credentials"],
        ["ok", "dns"],
        ["ok", "tcp"],
        ["skipped", "proxy"],
    ]
    assert len(lines) == 16
    assert "\x1b" not in done.stdout
    assert (done.returncode, done.stderr) == (0, "")


def test_every_forward_of_the_environment():
    with target(echo) as where, server(where) as far, closed_port() as shut:
        env = {"SOKKEN_FORWARDS": f"good=:1={far.url(where)}, bad=:2=ws://{join(shut)}/tunnel/a:1"}
        done = run("-json", "-idle=0", env=env)
    good, bad = json.loads(done.stdout)["tunnels"]
    assert (good["name"], good["ok"]) == ("good", True)
    assert (bad["name"], bad["ok"]) == ("bad", False)
    assert done.returncode == 1


def test_through_haproxy(tmp_path):
    with target(echo) as where, server(where) as far, haproxy(tmp_path, far.api) as entry:
        found = examine("-echo", far.url(where, entry))
    assert found.all("failed") == []


def test_through_a_proxy_to_a_server_with_tls(tmp_path, authority):
    env = {"SOKKEN_TLS_CERT_FILE": str(authority.server)}
    with target(echo) as where, server(where, env=env) as far, tinyproxy(tmp_path, f"BasicAuth me {SECRET}") as proxy:
        settings = {"SOKKEN_CA_FILE": str(authority.file), "SOKKEN_PROXY": f"http://me:{SECRET}@{join(proxy)}"}
        found = examine("-echo", far.url(where, ("localhost", far.api[1]), "wss"), env=settings)
    assert found.all("failed") == []
    assert found["proxy"].startswith(f"http://{join(proxy)} has connected to localhost:{far.api[1]} ")
    assert "certificate of localhost, 127.0.0.1 by authority, valid to " in found["tls"]


def test_tls_within_tls(tmp_path, authority):
    """A wss:// server behind an https:// proxy."""
    env = {"SOKKEN_TLS_CERT_FILE": str(authority.server)}
    with target(echo) as where, server(where, env=env) as far, tinyproxy(tmp_path) as proxy:
        front = ("127.0.0.1", free_port())
        config = tmp_path / "front.conf"
        config.write_text(
            "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 20s\n    timeout server 20s\n"
            f"listen proxy\n    bind {join(front)} ssl crt {authority.server}\n    server proxy {join(proxy)}\n"
        )
        with service(installed("haproxy"), "-db", "-f", config, where=front, log=tmp_path / "front.log"):
            settings = {"SOKKEN_CA_FILE": str(authority.file), "SOKKEN_PROXY": f"https://{join(front)}"}
            found = examine("-echo", far.url(where, ("localhost", far.api[1]), "wss"), env=settings)
    assert found.all("failed") == []
    assert found["tls"].startswith("TLSv1.3 in ")
    assert "certificate of localhost" in found["tls"]


def test_with_a_token_and_a_certificate(tmp_path, authority):
    (tmp_path / "tokens").write_text(f"ci:{SECRET}\n")
    (tmp_path / "token").write_text(SECRET)
    env = {
        "SOKKEN_TLS_CERT_FILE": str(authority.server),
        "SOKKEN_TOKENS_FILE": str(tmp_path / "tokens"),
        "SOKKEN_CLIENT_CA_FILE": str(authority.file),
    }
    with target(echo) as where, server(where, env=env) as far:
        url = far.url(where, scheme="wss")
        found = examine(url, "-ca-file", str(authority.file), "-token-file", str(tmp_path / "token"))
        assert found["auth"] == "the server lets this client in, with SOKKEN_TOKEN_FILE"
        pair = authority.issue("DNS:client.example")
        found = examine(url, "-ca-file", str(authority.file), "-client-cert-file", str(pair))
        assert found["auth"] == "the server lets this client in, with SOKKEN_CLIENT_CERT_FILE"
    assert found.all("failed") == found.all("warning") == []


def test_a_server_that_may_not_be_asked_so_often():
    """The doctor asks more often than a client: it waits, and takes that for no failure."""
    env = {"SOKKEN_HANDSHAKE_RATE_PER_ADDRESS": "1"}
    with target(echo) as where, server(where, env=env) as far:
        found = examine("-echo", far.url(where))
        assert found.all("failed") == []
        assert far.program.events("connection_refused", reason="rate_limited")


# --------------------------------------------------------------------------------------- names, TCP, proxies


def test_a_name_that_does_not_resolve():
    said = only_failure(examine("ws://nowhere.invalid/tunnel/a:1"), "dns")
    assert said.startswith("nowhere.invalid does not resolve: ")
    assert "correct the host in the URL" in said


def test_a_closed_port():
    with closed_port() as where:
        said = only_failure(examine(f"ws://{join(where)}/tunnel/a:1"), "tcp")
    assert said.startswith(f"{join(where)} refused the connection; nothing listens there")


def test_a_host_that_does_not_answer():
    with black_hole() as where:
        said = only_failure(examine("-timeout", "1", f"ws://{join(where)}/tunnel/a:1"), "tcp")
    assert said.startswith(f"{join(where)} did not answer; a firewall")


@pytest.mark.parametrize(
    ("user", "directives", "said"),
    [
        ("", ["BasicAuth me pa55"], "it asks for credentials"),
        (f"me:{SECRET}@", ["BasicAuth me pa55"], "it does not accept the credentials that it is shown"),
        ("", ["ConnectPort 443"], "it does not allow a connection to"),
    ],
)
def test_a_proxy_that_does_not_let_it_through(tmp_path, user, directives, said):
    with target(echo) as where, server(where) as far, tinyproxy(tmp_path, *directives) as proxy:
        found = examine(far.url(where), env={"SOKKEN_PROXY": f"http://{user}{join(proxy)}"})
    told = only_failure(found, "proxy")
    assert said in told
    assert "NO_PROXY" in told


def test_a_proxy_that_is_not_there():
    with closed_port() as where:
        found = examine("wss://tunnel.example/tunnel/a:1", env={"HTTPS_PROXY": f"http://{join(where)}"})
    assert f"{join(where)} refused the connection" in only_failure(found, "tcp")


def test_a_proxy_that_is_not_used():
    with target(echo) as where, server(where) as far:
        env = {"HTTP_PROXY": "http://192.0.2.1:3128"}
        assert "not used for servers on this host" in examine(far.url(where), env=env)["proxy"]
        env = {"SOKKEN_PROXY": "http://192.0.2.1:3128", "NO_PROXY": "127.0.0.0/8"}
        assert "NO_PROXY has 127.0.0.0/8" in examine(far.url(where), env=env)["proxy"]


# ------------------------------------------------------------------------------------------------------ TLS


@pytest.fixture
def secured(authority):
    """Examine a server with that certificate, under that name."""

    def run(certificate, *words, name="localhost", trusted=authority.file):
        with target(echo) as where, server(where, env={"SOKKEN_TLS_CERT_FILE": str(certificate)}) as far:
            trust = ["-ca-file", str(trusted)] if trusted else []
            return examine(far.url(where, (name, far.api[1]), "wss"), *trust, *words)

    return run


def test_a_certificate_for_another_name(secured, authority):
    said = only_failure(secured(authority.issue("DNS:tunnel.example", "IP:192.0.2.1")), "tls")
    assert said.startswith("the server's certificate is for tunnel.example, 192.0.2.1, not for localhost; ")
    assert "SOKKEN_SERVER_NAME" in said
    assert secured(authority.issue("DNS:tunnel.example"), "-server-name=tunnel.example").all("failed") == []


def test_an_expired_certificate(secured, authority):
    said = only_failure(secured(authority.issue("DNS:localhost", days=-1)), "tls")
    assert said.startswith("the server's certificate expired on ")
    assert ", 1 day ago; have it renewed" in said


def test_a_self_signed_certificate(secured, authority):
    said = only_failure(secured(authority.self_signed, trusted=None), "tls")
    assert said.startswith("the server's certificate (authority) is self-signed")
    assert "SOKKEN_CA_FILE" in said


def test_an_authority_that_is_not_trusted(secured, authority, tmp_path):
    said = only_failure(secured(authority.server, trusted=None), "tls")
    assert said.startswith("the server's certificate is issued by 'authority', which is not trusted here; ")
    assert "name a file with the certificate of 'authority' in SOKKEN_CA_FILE" in said
    other = Authority(tmp_path, "other")
    said = only_failure(secured(authority.server, trusted=other.file), "tls")
    assert "SOKKEN_CA_FILE names other authorities: add the certificate of 'authority'" in said


def test_a_certificate_that_is_not_verified(secured, authority):
    found = secured(authority.issue("DNS:tunnel.example"), "-tls-insecure-skip-verify", trusted=None)
    assert found.all("warning") == ["tls"]
    assert "anybody may be the server" in found["tls"]


def test_wss_where_tls_is_not_spoken():
    with target(echo) as where, server(where) as far:
        said = only_failure(examine(far.url(where, scheme="wss")), "tls")
    assert said.startswith("what answers there does not speak TLS; write ws:// instead of wss://")


def test_ws_where_tls_is_spoken(authority):
    with target(echo) as where, server(where, env={"SOKKEN_TLS_CERT_FILE": str(authority.server)}) as far:
        said = only_failure(examine(far.url(where)), "http")
    assert said == f"TLS is spoken there, and ws:// is plain; write {far.url(where, scheme='wss')}"


def test_ws_where_haproxy_speaks_tls(tmp_path, authority):
    with (
        target(echo) as where,
        server(where) as far,
        haproxy(tmp_path, far.api, bind=f"ssl crt {authority.server}") as entry,
    ):
        said = only_failure(examine(far.url(where, entry)), "http")
    assert "TLS is spoken there" in said


@pytest.mark.parametrize(("scheme", "step"), [("ws", "http"), ("wss", "tls")])
def test_a_port_that_says_nothing(scheme, step):
    with target(lambda sock: sock.recv(1) and time.sleep(5)) as where:
        began = time.monotonic()
        said = only_failure(examine("-timeout", "0.5", f"{scheme}://{join(where)}/tunnel/a:1"), step)
        assert time.monotonic() - began < 5
    assert "within 0.5 s" in said or "within 5" in said


# ------------------------------------------------------------------------------------------------ credentials


@pytest.fixture
def guarded(tmp_path, authority):
    (tmp_path / "tokens").write_text("ci:other\n")
    env = {
        "SOKKEN_TLS_CERT_FILE": str(authority.server),
        "SOKKEN_TOKENS_FILE": str(tmp_path / "tokens"),
        "SOKKEN_CLIENT_CA_FILE": str(authority.file),
    }
    with target(echo) as where, server(where, env=env) as far:
        yield far.url(where, scheme="wss")


def test_without_a_credential(guarded, authority):
    said = only_failure(examine(guarded, "-ca-file", str(authority.file)), "auth")
    assert said.startswith("the server does not know who this is: ")
    assert "set SOKKEN_TOKEN_FILE or SOKKEN_CLIENT_CERT_FILE" in said


def test_with_a_wrong_token(guarded, authority, tmp_path):
    (tmp_path / "token").write_text(SECRET)
    words = ["-ca-file", str(authority.file), "-token-file", str(tmp_path / "token")]
    said = only_failure(examine(guarded, *words), "auth")
    assert "it was shown SOKKEN_TOKEN_FILE: compare with its SOKKEN_TOKENS_FILE" in said


def test_with_a_certificate_of_another_authority(guarded, authority, tmp_path):
    pair = Authority(tmp_path, "other").issue("DNS:client.example")
    words = ["-ca-file", str(authority.file), "-client-cert-file", str(pair)]
    said = only_failure(examine(guarded, *words), "http")
    assert said.startswith("the server does not accept this client's certificate: unknown ca; ")
    assert "SOKKEN_CLIENT_CA_FILE" in said


@pytest.mark.parametrize(("version", "step"), [("TLSv1.3", "http"), ("TLSv1.2", "tls")])
def test_where_a_proxy_asks_for_a_certificate(tmp_path, authority, version, step):
    bind = f"ssl crt {authority.server} ca-file {authority.file} verify required ssl-max-ver {version}"
    with target(echo) as where, server(where) as far, haproxy(tmp_path, far.api, bind=bind) as entry:
        url = far.url(where, entry, "wss")
        said = only_failure(examine(url, "-ca-file", str(authority.file)), step)
        assert "SOKKEN_CLIENT_CERT_FILE" in said
        pair = authority.issue("DNS:client.example")
        assert examine(url, "-ca-file", str(authority.file), "-client-cert-file", str(pair)).all("failed") == []


def test_with_an_expired_certificate(guarded, authority):
    pair = authority.issue("DNS:client.example", days=-1)
    found = examine(guarded, "-ca-file", str(authority.file), "-client-cert-file", str(pair))
    assert found.all("failed") == ["credentials", "http"]
    assert found["credentials"].startswith("the certificate in SOKKEN_CLIENT_CERT_FILE expired on ")


def test_a_file_that_is_not_there(tmp_path):
    with target(echo) as where, server(where) as far:
        found = examine(far.url(where), "-token-file", str(tmp_path / "token"))
    said = only_failure(found, "credentials")
    assert said.startswith(f"SOKKEN_TOKEN_FILE: cannot use {tmp_path / 'token'}: no such file or directory")
    assert found.verdicts["tcp"] == "ok"
    assert found["http"] == "not without the credentials"


def test_a_token_that_has_expired(tmp_path):
    claims = base64.urlsafe_b64encode(json.dumps({"sub": SECRET, "exp": time.time() - 7300}).encode()).decode()
    (tmp_path / "token").write_text(f"e30.{claims.rstrip('=')}.{SECRET}")
    with target(echo) as where, server(where) as far:
        found = examine(far.url(where), "-token-file", str(tmp_path / "token"))
    assert found.all("warning") == ["credentials"]
    assert ", 2 hours ago; have it issued anew" in found["credentials"]


def test_credentials_do_not_leave_in_plaintext(tmp_path):
    (tmp_path / "token").write_text(SECRET)
    with closed_port() as where:
        env = {"SOKKEN_TOKEN_FILE": str(tmp_path / "token"), "HTTP_PROXY": f"http://{join(where)}"}
        found = examine("ws://tunnel.example/tunnel/a:1", env=env)
    assert "would send it where everybody on the way can read it: use wss://" in found["credentials"]


# ------------------------------------------------------------------------------------------- HTTP and in between


def test_what_is_no_http():
    def greet(sock):
        sock.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
        sock.recv(100)

    with target(greet) as where:
        said = only_failure(examine("-timeout", "2", f"ws://{join(where)}/tunnel/a:1"), "http")
    assert "it says 'SSH-2.0-OpenSSH_9.6'" in said


def test_a_server_that_is_not_sokken(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(tmp_path), str(port)]
    with service(*command, where=("127.0.0.1", port), log=tmp_path / "log"):
        said = only_failure(examine(f"ws://127.0.0.1:{port}/tunnel/a:1"), "http")
    assert said.startswith("SimpleHTTP/")
    assert "answers 404 File not found, but that is no answer of sokken; correct the URL" in said


def test_a_path_that_the_server_does_not_know():
    with target(echo) as where, server(where) as far:
        said = only_failure(examine(f"ws://{join(far.api)}/sokken/tunnel/{join(where)}"), "target")
    assert "(not_found); the path must be /tunnel/HOST:PORT, behind the server's SOKKEN_BASE_PATH" in said


def test_haproxy_whose_server_is_down(tmp_path):
    with closed_port() as shut, haproxy(tmp_path, shut) as entry:
        said = only_failure(examine(f"ws://{join(entry)}/tunnel/a:1"), "http")
    assert "answers 503 Service Unavailable" in said
    assert "does not reach it: is the server up" in said


@pytest.mark.parametrize(
    "rule",
    [
        "http-request del-header Upgrade",
        "http-request del-header Connection",
        "http-request set-header Sec-WebSocket-Protocol other",
    ],
)
def test_haproxy_that_takes_the_upgrade_away(tmp_path, rule):
    with target(echo) as where, server(where) as far, haproxy(tmp_path, far.api, rule) as entry:
        found = examine(far.url(where, entry))
    said = only_failure(found, "websocket")
    assert "what is in between has changed the request" in said
    assert "`proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;" in said
    assert "`http-request del-header`" in said
    assert found.verdicts["auth"] == "ok"  # the check came through, and said so


@pytest.mark.parametrize(
    ("directives", "said"),
    [
        ([], "the server says: a tunnel needs HTTP/1.1"),
        (PASSING_UPGRADES_ON[:1], "the server says: this is the address of a tunnel"),
        (PASSING_UPGRADES_ON[:2], "the server says: Connection: Upgrade is missing"),
    ],
)
def test_nginx_that_is_not_told_about_websockets(tmp_path, directives, said):
    with target(echo) as where, server(where) as far:
        with nginx(tmp_path, far.api, *directives) as entry:
            found = examine(far.url(where, entry))
        told = only_failure(found, "websocket")
        assert said in told
        assert told.endswith("; nginx needs `" + " ".join(PASSING_UPGRADES_ON) + "`")
        assert found["http"].startswith("sokken answers through nginx")
        with nginx(tmp_path, far.api, *PASSING_UPGRADES_ON) as entry:  # as it was told
            assert examine("-echo", far.url(where, entry)).all("failed") == []


def test_nginx_whose_time_is_short(tmp_path):
    with (
        target(echo) as where,
        server(where) as far,
        nginx(tmp_path, far.api, *PASSING_UPGRADES_ON, "proxy_read_timeout 2s;") as entry,
    ):
        found = examine(far.url(where, entry), idle="4")
    assert found.all("failed") == ["idle"]
    assert "nginx `proxy_read_timeout 1h;" in found["idle"]


def test_something_that_answers_upgrades_itself(tmp_path):
    rule = "http-request return status 403 if { req.hdr(Upgrade) -m found }"
    with target(echo) as where, server(where) as far, haproxy(tmp_path, far.api, rule) as entry:
        said = only_failure(examine(far.url(where, entry)), "websocket")
    assert "in between does not let a WebSocket through: 403 Forbidden" in said


def test_something_that_compresses(tmp_path):
    rule = "http-response set-header Sec-WebSocket-Extensions permessage-deflate"
    with target(echo) as where, server(where) as far, haproxy(tmp_path, far.api, rule) as entry:
        said = only_failure(examine(far.url(where, entry)), "websocket")
    assert "switch compression of WebSockets (permessage-deflate) off" in said


def test_something_that_waits_less_than_the_server_dials(tmp_path):
    with (
        black_hole() as where,
        server(where) as far,
        haproxy(tmp_path, far.api, defaults=["timeout server 1s"]) as entry,
    ):
        said = only_failure(examine(far.url(where, entry)), "websocket")
    assert "gave up with 504 Gateway Time-out before the server had an answer" in said
    assert "haproxy `timeout server`" in said


def test_something_that_answers_checks_itself(tmp_path):
    rule = "http-request return status 405 if METH_HEAD"
    with target(echo) as where, server(where) as far, haproxy(tmp_path, far.api, rule) as entry:
        found = examine(far.url(where, entry))
    assert found.all("failed") == []
    assert found.all("warning") == ["http"]


def test_a_server_that_wants_the_proxy_protocol():
    env = {"SOKKEN_PROXY_PROTOCOL": "required", "SOKKEN_TRUSTED_PROXIES": "127.0.0.1"}
    with target(echo) as where, server(where, env=env) as far:
        said = only_failure(examine(far.url(where)), "http")
    assert "SOKKEN_PROXY_PROTOCOL=required closes whatever comes past its proxy" in said


def test_a_clock_that_is_wrong(tmp_path):
    rule = 'http-response set-header Date "Thu, 01 Jan 2015 00:00:00 GMT"'
    with target(echo) as where, server(where) as far, haproxy(tmp_path, far.api, rule) as entry:
        found = examine(far.url(where, entry))
    assert found.all("warning") == ["clock"]
    assert "s ahead of that of the answer; set both by NTP" in found["clock"]


# ----------------------------------------------------------------------------------------------------- targets


def test_a_target_that_is_forbidden():
    with target(echo) as where, server(where) as far:
        said = only_failure(examine(f"ws://{join(far.api)}/tunnel/localhost:{where[1]}"), "target")
    assert said.startswith(f"localhost:{where[1]} is not an allowed target of this server (forbidden_target); ")
    assert "SOKKEN_TARGETS" in said


def test_a_target_that_refuses():
    with closed_port() as where, server(where) as far:
        said = only_failure(examine(far.url(where)), "target")
    assert said.startswith(f"{join(where)}: connection refused (target_refused); start what should listen there")


def test_a_target_that_does_not_resolve():
    with server(("nowhere.invalid", 9)) as far:
        said = only_failure(examine(far.url(("nowhere.invalid", 9))), "target")
    assert "(target_dns); the name is resolved on the server's machine" in said


def test_a_target_that_does_not_answer():
    with black_hole() as where, server(where, options=["-target-timeout-seconds=1"]) as far:
        said = only_failure(examine(far.url(where)), "target")
    assert "(target_timeout); a firewall or NetworkPolicy" in said


def test_a_server_without_room():
    with (
        target(echo) as where,
        server(where, options=["-max-connections=1"]) as far,
        connect(far.api) as sock,
    ):
        sock.sendall(upgrade(f"/tunnel/{join(where)}"))
        far.program.wait_for("connection_opened")
        said = only_failure(examine(far.url(where)), "target")
    assert "(server_full); raise the server's SOKKEN_MAX_CONNECTIONS" in said


# ------------------------------------------------------------------------------------------------- open tunnels


def test_an_idle_time_out_that_is_too_short(tmp_path):
    with (
        target(echo) as where,
        server(where) as far,
        haproxy(tmp_path, far.api, defaults=["timeout tunnel 2s"]) as entry,
    ):
        found = examine(far.url(where, entry), idle="5")
    assert found.all("failed") == ["idle"]
    assert found["idle"].startswith("an idle tunnel is cut after 2")
    assert "before the first of sokken's pings (20 s); raise its idle time-out" in found["idle"]
    assert "haproxy `timeout tunnel 1h`" in found["idle"]
    assert 1.5 < found.steps["idle"]["quiet_cut_after_seconds"] < 4


def test_a_limit_on_a_connections_life():
    with target(echo) as where, server(where) as far, cutting_relay(far.api, 2) as entry:
        found = examine(far.url(where, entry), idle="5")
    assert found.all("failed") == ["idle"]
    assert "in between, although there were pings; raise what limits a connection's whole life" in found["idle"]


def test_a_target_that_ends_by_itself():
    def hang_up(sock):
        sock.settimeout(1)
        sock.recv(1)

    with target(hang_up) as where, server(where) as far:
        found = examine(far.url(where), idle="3")
    assert found.all("failed") == []


def test_a_target_that_does_not_send_back():
    def swallow(sock):
        while sock.recv(65536):
            pass

    with target(swallow) as where, server(where) as far:
        found = examine("-echo", "-timeout", "5", far.url(where))
    assert found.all("failed") == ["half-close", "speed"]
    assert "0 of 262144 bytes came back" in found["half-close"]


# ---------------------------------------------------------------------------------------------------- originals


def test_an_original():
    with target(echo) as where, original_server(join(where)) as far:
        found = examine(f"ws://{join(far.address)}/tunnel/{join(where)}", "-echo", idle="2")
    assert found.all("failed") == []
    assert found.all("warning") == ["half-close"]
    assert "it knows no checks (426)" in found["http"]
    assert "the server is an original: the first end of a direction ends both" in found["half-close"]
    assert found.verdicts["ping"] == "ok"


def test_an_original_that_forbids_the_target():
    with target(echo) as where, original_server("127.0.0.1:9") as far:
        said = only_failure(examine(f"ws://{join(far.address)}/tunnel/{join(where)}"), "target")
    assert "the original has closed the WebSocket: target address not allowed" in said


def test_an_original_that_cannot_reach_its_target():
    with closed_port() as where, original_server(join(where)) as far:
        said = only_failure(examine(f"ws://{join(far.address)}/tunnel/{join(where)}"), "target")
    assert "the original has fallen silent, as it does when it cannot connect to its target" in said


# ----------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "env", "code", "said"),
    [
        ([], {}, 2, "there is nothing to look at: give a URL, for example sokken doctor ws://"),
        (["http://a/"], {}, 2, "'http://a/': write ws:// instead of http://"),
        ([":1234", "127.0.0.1:2222", "ws://a/tunnel/b:1"], {}, 2, "':1234' is followed by its URL"),
        (["127.0.0.1:2222"], {}, 2, "'127.0.0.1:2222' is followed by its URL"),
        (["ws://me:pa55@a/"], {}, 2, "'ws://***@a/': a server URL has no user or password"),
        (["-idel", "1", "ws://a/"], {}, 2, "unknown option -idel"),
        (["-idle", "long", "ws://a/"], {}, 2, "option -idle: 'long': this is no number of seconds"),
        (["-targets", "a:1", "ws://a/"], {}, 2, "unknown option -targets"),
        (["ws://a/"], {"SOKKEN_TOKEN_FILE": ""}, 3, "variable SOKKEN_TOKEN_FILE: it is empty"),
        (
            ["ws://a/"],
            {"SOKKEN_PROXY": f"socks5://me:{SECRET}@b"},
            2,
            "variable SOKKEN_PROXY: this secret is malformed",
        ),
    ],
)
def test_mistakes_are_one_line(words, env, code, said):
    done = run(*words, env=env)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"sokken: {said}")
    assert done.stderr.count("\n") == 1


def test_whoever_reads_it_may_go():
    """As `sokken doctor | head -1`."""
    with target(echo) as where, server(where) as far:
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-m", "sokken", "doctor", "-idle", "0", far.url(where)]
        with os.fdopen(writer, "wb") as output:
            done = subprocess.run(command, check=False, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")


def test_it_ends_at_once_when_asked_to():
    with target(echo) as where, server(where) as far:
        heeding = ["env", "--default-signal=INT"]  # whoever runs the tests may ignore it
        command = [*heeding, sys.executable, "-m", "sokken", "doctor", "-idle", "60", far.url(where)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with process:
            while "ping" not in process.stdout.readline():
                pass
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 1
            assert process.stderr.read() == ""


def test_on_a_terminal_there_are_colours_and_progress():
    with target(echo) as where, server(where) as far:
        shown, terminal = pty.openpty()
        command = [sys.executable, "-m", "sokken", "doctor", "-idle", "1", far.url(where)]
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        process = subprocess.Popen(command, stdout=terminal, stderr=terminal, env=environment)
        os.close(terminal)
        text = b""
        with contextlib.suppress(OSError):  # that is how a terminal ends
            while more := os.read(shown, 65536):
                text += more
        os.close(shown)
        assert process.wait(20) == 0
    assert b"\x1b[32mok     \x1b[0m  ping" in text
    assert b"  ... idle for 0 of 1 s" in text


def test_help():
    done = run("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: sokken doctor ")
