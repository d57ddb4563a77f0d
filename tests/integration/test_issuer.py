"""An issuer that publishes its keys at a URL: asked over TLS with a token, and waited for."""

import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from tests.support.programs import join, server
from tests.support.raw_http import exchange, request, upgrade
from tests.support.targets import connect, echo, eventually, receive_exactly, target
from tests.support.tokens import AUDIENCE, ISSUER, Issuer

issuer = Issuer("ec")


@contextmanager
def publishing(certificate, token):
    """Keys for who shows the token; the URL, and how often it was asked in vain."""
    refused = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(issuer.jwks()).encode()
            if self.headers["Authorization"] != f"Bearer {token}":
                refused.append(self.path)
                self.send_response(401)
                body = b""
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        http.socket = context.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{http.server_port}/jwks", refused
        finally:
            http.shutdown()
            thread.join()


def test_keys_at_a_url(tmp_path, authority, loop):
    (tmp_path / "token").write_text("wr0ng\n")
    with publishing(authority.server, "s3cr3t") as (url, refused), target(echo) as where:
        env = {
            "SOKKEN_JWT_ISSUER": ISSUER,
            "SOKKEN_JWT_AUDIENCE": AUDIENCE,
            "SOKKEN_JWT_JWKS_URL": url,
            "SOKKEN_JWT_JWKS_CA_FILE": str(authority.file),
            "SOKKEN_JWT_JWKS_TOKEN_FILE": str(tmp_path / "token"),
        }
        with server(where, env=loop | env) as far:
            data = upgrade(f"/tunnel/{join(where)}", ("Authorization", f"Bearer {issuer.token()}"))
            far.program.wait_for("reload", setting="SOKKEN_JWT_JWKS_URL", result="unavailable")
            assert refused
            assert exchange(far.api, request("/readyz")).status == 503
            answer = exchange(far.api, data)
            assert (answer.status, answer.problem["detail"]) == (401, "the server has not got the issuer's keys yet")
            (tmp_path / "token").write_text("s3cr3t\n")
            far.program.wait_for("reload", setting="SOKKEN_JWT_JWKS_URL", result="loaded")
            eventually(lambda: exchange(far.api, request("/readyz")).status == 200)
            with connect(far.api) as sock:
                sock.sendall(data)
                assert receive_exactly(sock, 12) == b"HTTP/1.1 101"
            far.program.wait_for("connection_opened", identity="system:serviceaccount:ns:name")
        env["SOKKEN_JWT_JWKS_CA_FILE"] = str(other_authority(tmp_path).file)
        with server(where, env=loop | env) as far:
            line = far.program.wait_for("reload", setting="SOKKEN_JWT_JWKS_URL", result="unavailable")
            assert "certificate verify failed" in line["detail"]


def other_authority(folder):
    from tests.support.certificates import Authority

    return Authority(folder, "other")
