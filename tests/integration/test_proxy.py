"""Tunnels through a real HTTP proxy, and what is said when it does not let them through."""

import hashlib
import os
import socket
import threading

import pytest

from tests.support.addresses import closed_port
from tests.support.programs import client, join, server
from tests.support.targets import connect, count, echo, receive_all, receive_exactly, reset, target, was_reset
from tests.support.tinyproxy import over_tls, tinyproxy

pytestmark = pytest.mark.programs

MIB = 1024 * 1024
QUICK = {"SOKKEN_CONNECT_TIMEOUT_SECONDS": "2"}


def works(near):
    with connect(near.entry) as app:
        app.sendall(b"x")
        return receive_exactly(app, 1) == b"x"


def refusal(near):
    """The line that says why there was no tunnel; it holds no password."""
    with connect(near.entry) as app:
        assert was_reset(app)
    line = near.program.wait_for("connection_failed")
    assert "s3cret" not in str(near.program.lines)
    return line


def requests(folder):
    return (folder / "tinyproxy.log").read_text().count("Request (file descriptor")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_tunnel_through_a_proxy(tmp_path, authority, loop, scheme):
    tls = {"SOKKEN_TLS_CERT_FILE": str(authority.server)} if scheme == "wss" else {}
    data = os.urandom(4 * MIB + 1)
    with tinyproxy(tmp_path, "BasicAuth me pa55") as proxy, target(count) as counting, target(echo) as echoing:
        env = loop | {"SOKKEN_PROXY": f"http://me:pa55@{join(proxy)}", "SOKKEN_CA_FILE": str(authority.file)}
        with server(counting, echoing, env=loop | tls) as far:
            urls = [far.url(where, ("localhost", far.api[1]), scheme) for where in (counting, echoing)]
            with client(*urls, env=env) as near:
                with connect(near.entries[0]) as app:
                    app.sendall(data)
                    app.shutdown(socket.SHUT_WR)
                    assert receive_all(app) == b"%d" % len(data)
                with connect(near.entries[1]) as app:
                    writer = threading.Thread(target=lambda: (app.sendall(data), app.shutdown(socket.SHUT_WR)))
                    writer.start()
                    assert hashlib.sha256(receive_all(app)).digest() == hashlib.sha256(data).digest()
                    writer.join()
                assert "pa55" not in str(near.program.lines)
    assert f"CONNECT localhost:{far.api[1]}" in (tmp_path / "tinyproxy.log").read_text()


def test_its_credentials_are_read_again_at_each_connection(tmp_path):
    file = tmp_path / "credentials"
    with tinyproxy(tmp_path, "BasicAuth me s3cret") as proxy, target(echo) as where, server(where) as far:
        env = QUICK | {"SOKKEN_PROXY": f"http://{join(proxy)}", "SOKKEN_PROXY_CREDENTIALS_FILE": str(file)}
        with client(far.url(where), env=env) as near:
            line = refusal(near)
            assert line["outcome"] == "credential_unavailable"
            assert f"SOKKEN_PROXY_CREDENTIALS_FILE: cannot use {file}: no such file" in line["detail"]
            file.write_text("me:s3cret\n")
            assert works(near)
            file.write_text("me:another\n")
            with connect(near.entry) as app:
                assert was_reset(app)
            line = near.program.wait_for("connection_failed", 2)
            assert "it does not accept the credentials that it is shown" in line["detail"]
            file.write_text("me:s3cret\n")
            assert works(near)
            assert "s3cret" not in str(near.program.lines)


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_tunnel_through_a_proxy_that_speaks_tls(tmp_path, authority, loop, scheme):
    """Over wss:// that is TLS within TLS."""
    tls = {"SOKKEN_TLS_CERT_FILE": str(authority.server)} if scheme == "wss" else {}
    data = os.urandom(24 * MIB + 1)
    with (
        tinyproxy(tmp_path, "BasicAuth me pa55") as inner,
        over_tls(tmp_path, inner, authority.server) as proxy,
        target(count) as counting,
        target(echo) as echoing,
        server(counting, echoing, env=loop | tls) as far,
    ):
        env = loop | {"SOKKEN_PROXY": f"https://me:pa55@{join(proxy)}", "SOKKEN_CA_FILE": str(authority.file)}
        urls = [far.url(where, ("localhost", far.api[1]), scheme) for where in (counting, echoing)]
        with client(*urls, env=env) as near:
            with connect(near.entries[0]) as app:
                app.sendall(data)
                app.shutdown(socket.SHUT_WR)
                assert receive_all(app) == b"%d" % len(data)
            with connect(near.entries[1]) as app:
                writer = threading.Thread(target=lambda: (app.sendall(data), app.shutdown(socket.SHUT_WR)))
                writer.start()
                assert hashlib.sha256(receive_all(app)).digest() == hashlib.sha256(data).digest()
                writer.join()
            for n in (1, 2):
                assert near.program.wait_for("connection_closed", n)["outcome"] == "completed"
                assert far.program.wait_for("connection_closed", n)["outcome"] == "completed"
            app = connect(near.entries[1])
            app.sendall(b"x")
            receive_exactly(app, 1)
            reset(app)
            assert far.program.wait_for("connection_closed", 3)["outcome"] == "peer_reset"


def test_a_proxy_whose_certificate_is_not_trusted(tmp_path, authority):
    with tinyproxy(tmp_path) as inner, over_tls(tmp_path, inner, authority.server) as proxy:
        env = QUICK | {"SOKKEN_PROXY": f"https://me:s3cret@{join(proxy)}", "SOKKEN_TLS_INSECURE_SKIP_VERIFY": "true"}
        with client("ws://b/tunnel/127.0.0.1:1", env=env) as near:
            line = refusal(near)
    assert line["outcome"] == "server_tls"
    assert line["detail"].startswith(f"the certificate of the proxy https://{join(proxy)} is not accepted: ")


def test_a_proxy_that_does_not_speak_tls():
    with (
        target(lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as proxy,
        client("ws://b/tunnel/127.0.0.1:1", env={"SOKKEN_PROXY": f"https://{join(proxy)}"}) as near,
    ):
        line = refusal(near)
    assert line["outcome"] == "server_tls"
    assert line["detail"].startswith(f"TLS with the proxy https://{join(proxy)} failed: ")


def test_a_server_behind_such_a_proxy_that_is_another(tmp_path, authority):
    with (
        tinyproxy(tmp_path) as inner,
        over_tls(tmp_path, inner, authority.server) as proxy,
        target(echo) as where,
        server(where, env={"SOKKEN_TLS_CERT_FILE": str(authority.issue("DNS:other.example"))}) as far,
    ):
        env = {"SOKKEN_PROXY": f"https://{join(proxy)}", "SOKKEN_CA_FILE": str(authority.file)}
        with client(far.url(where, scheme="wss"), env=env) as near:
            line = refusal(near)
    assert line["outcome"] == "server_tls"
    assert line["detail"].startswith("the server's certificate is not accepted: ")


@pytest.mark.parametrize(
    ("env", "is_used"),
    [
        ({"SOKKEN_PROXY": "{}"}, True),
        ({"SOKKEN_PROXY": "{}", "NO_PROXY": "127.0.0.0/8"}, False),
        ({"SOKKEN_PROXY": "{}", "no_proxy": "*"}, False),
        ({"SOKKEN_PROXY": "{}", "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": "10.0.0.0/8"}, True),
        ({"HTTP_PROXY": "{}"}, False),  # a server on loopback
        ({"HTTPS_PROXY": "{}"}, False),
    ],
)
def test_which_proxy_is_used(tmp_path, env, is_used):
    with tinyproxy(tmp_path) as proxy, target(echo) as where, server(where) as far:
        filled = {name: text.format(f"http://{join(proxy)}") for name, text in env.items()}
        with client(far.url(where), env=filled) as near:
            assert works(near)
    assert (requests(tmp_path) > 0) is is_used


@pytest.mark.parametrize(
    ("name", "scheme", "other"),
    [
        ("HTTP_PROXY", "ws", "HTTPS_PROXY"),
        ("http_proxy", "ws", "https_proxy"),
        ("HTTPS_PROXY", "wss", "HTTP_PROXY"),
        ("https_proxy", "wss", "http_proxy"),
    ],
)
def test_the_proxy_of_every_program_is_used_for_other_hosts(tmp_path, name, scheme, other):
    with tinyproxy(tmp_path) as proxy:
        env = QUICK | {name: f"http://{join(proxy)}", other: "http://127.0.0.1:1"}
        with client(f"{scheme}://nowhere.invalid/tunnel/127.0.0.1:1", env=env) as near:
            line = refusal(near)
    assert f"the proxy http://{join(proxy)} answered 5" in line["detail"]
    assert (line["outcome"], requests(tmp_path) > 0) == ("server_unreachable", True)


def test_a_proxy_that_wants_other_credentials(tmp_path):
    with tinyproxy(tmp_path, "BasicAuth me pa55") as proxy:
        for user, said in [("", "it asks for credentials"), ("me:s3cret@", "it does not accept the credentials")]:
            with client("ws://b/tunnel/127.0.0.1:1", env={"SOKKEN_PROXY": f"http://{user}{join(proxy)}"}) as near:
                line = refusal(near)
                assert line["outcome"] == "unauthenticated"
                assert line["detail"].startswith(f"the proxy http://{join(proxy)} answered 40")
                assert said in line["detail"]
                near.program.wait_for("server_check_failed", detail=line["detail"])


def test_a_proxy_that_does_not_allow_the_port(tmp_path):
    with (
        tinyproxy(tmp_path, "ConnectPort 443") as proxy,
        client("ws://b:8000/tunnel/127.0.0.1:1", env={"SOKKEN_PROXY": f"http://{join(proxy)}"}) as near,
    ):
        line = refusal(near)
    assert line["outcome"] == "server_unreachable"
    assert line["detail"].endswith(
        "it does not allow a connection to b:8000: its rules must allow CONNECT to that port"
    )


def test_a_server_that_the_proxy_cannot_reach(tmp_path):
    with tinyproxy(tmp_path) as proxy, closed_port() as nobody:
        env = QUICK | {"SOKKEN_PROXY": f"http://{join(proxy)}"}
        with client(f"ws://{join(nobody)}/tunnel/127.0.0.1:1", env=env) as near:
            line = refusal(near)
    assert line["outcome"] == "server_unreachable"
    assert f"the proxy http://{join(proxy)} answered 50" in line["detail"]


def test_a_proxy_that_is_not_there():
    with closed_port() as nobody:
        env = QUICK | {"SOKKEN_PROXY": f"http://me:s3cret@{join(nobody)}"}
        with client("ws://b/tunnel/127.0.0.1:1", env=env) as near:
            line = refusal(near)
    where = join(nobody)
    assert line["detail"] == f"the proxy http://{where}: {where}: connection refused"


def test_what_is_no_proxy():
    with (
        target(lambda sock: sock.sendall(b"220 mail.example ESMTP\r\n\r\n")) as where,
        client("ws://b/tunnel/127.0.0.1:1", env={"SOKKEN_PROXY": f"http://{join(where)}"}) as near,
    ):
        assert refusal(near)["detail"] == f"what answered at http://{join(where)} is no HTTP proxy"


def test_a_proxy_that_says_nothing_and_ends():
    with target(lambda sock: sock.recv(1)) as where:
        env = QUICK | {"SOKKEN_PROXY": f"http://{join(where)}"}
        with client("ws://b/tunnel/127.0.0.1:1", env=env) as near:
            assert refusal(near)["detail"].startswith(f"the proxy http://{join(where)} failed: ")


def test_a_proxy_that_speaks_for_the_server():
    def lie(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 \r\n")

    with (
        target(lie) as where,
        client("ws://b/tunnel/127.0.0.1:1", env={"SOKKEN_PROXY": f"http://{join(where)}"}) as near,
    ):
        assert refusal(near)["detail"].endswith("sent something of its own behind its answer")
