"""curl through a tunnel to a small HTTP server: large bodies both ways, keep-alive, chunks, refusals."""

import hashlib
import os
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.pairs import pair
from tests.support.services import free_port, installed, run, succeed
from tests.support.targets import eventually

pytestmark = pytest.mark.programs

MIB = 1024 * 1024
CHUNK = 100_003


@cache
def body():
    return os.urandom(64 * MIB)


def digest(data):
    return hashlib.sha256(data).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """GET gives the large body, whole or in chunks; PUT and POST are answered with the digest of what came."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/chunked":
            self._begin("Transfer-Encoding", "chunked")
            for at in range(0, len(body()), CHUNK):
                piece = body()[at : at + CHUNK]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            answer = body() if self.path == "/large" else self.path.encode()
            self._begin("Content-Length", str(len(answer)))
            self.wfile.write(answer)

    def do_PUT(self):
        received = hashlib.sha256()
        for piece in self._pieces():
            received.update(piece)
        answer = received.hexdigest().encode()
        self._begin("Content-Length", str(len(answer)))
        self.wfile.write(answer)

    def do_POST(self):
        self.do_PUT()

    def _begin(self, name, value):
        self.send_response(200)
        self.send_header(name, value)
        self.end_headers()

    def _pieces(self):
        if self.headers["Transfer-Encoding"] == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, MIB))
            left -= len(piece)
            yield piece

    def log_message(self, *_):
        pass


@contextmanager
def http_server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # an application that goes away is a case here
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def tunnels():
    with http_server() as where, pair({"http": where, "nobody": ("127.0.0.1", free_port())}) as both:
        yield both


@pytest.fixture
def url(tunnels):
    host, port = tunnels.entries["http"]
    return f"http://{host}:{port}"


@pytest.fixture
def upload(tmp_path):
    file = tmp_path / "upload"
    file.write_bytes(body())
    return file


def command():
    """curl as it is without the machine's configuration."""
    return (installed("curl"), "--disable", "--noproxy", "*", "--silent", "--show-error")


def curl(*arguments):
    return succeed(*command(), "--fail", *arguments)


def test_upload(url, upload):
    assert curl("--upload-file", upload, f"{url}/put") == digest(body())
    assert curl("--data-binary", f"@{upload}", f"{url}/post") == digest(body())


def test_upload_in_chunks(url, upload):
    chunked = ("--header", "Transfer-Encoding: chunked")
    assert curl("--upload-file", upload, *chunked, f"{url}/put") == digest(body())


@pytest.mark.parametrize("path", ["large", "chunked"])
def test_download(path, url, tmp_path):
    file = tmp_path / "download"
    curl("--output", file, f"{url}/{path}")
    assert digest(file.read_bytes()) == digest(body())


def test_both_ways_at_once(url, upload, tmp_path):
    file = tmp_path / "download"
    transfers = ("--upload-file", upload, f"{url}/put", "--next", "--output", file, f"{url}/large")
    assert curl("--parallel", "--parallel-immediate", *transfers) == digest(body())
    assert digest(file.read_bytes()) == digest(body())


def test_requests_share_a_connection(url, tunnels):
    began = datetime.now(UTC)

    def since(event):
        lines = tunnels.client.program.events(event)
        return [line for line in lines if datetime.fromisoformat(line["timestamp"]) >= began]

    urls = [f"{url}/{n}" for n in range(50)]
    assert curl(*urls) == "".join(f"/{n}" for n in range(50))
    eventually(lambda: since("connection_closed"))
    assert len(since("connection_opened")) == 1


def test_a_target_that_refuses_is_told_at_once(tunnels):
    host, port = tunnels.entries["nobody"]
    began = time.monotonic()
    done = run(*command(), f"http://{host}:{port}/")
    assert time.monotonic() - began < 5  # the client's budget for servers that may come back is 30 s
    # While it connects, of which it says no more, or while it waits for the answer.
    assert done.returncode == 7 or (done.returncode == 56 and "reset" in done.stderr), done
    failed = tunnels.client.program.wait_for("connection_failed")
    assert failed["outcome"] == "target_refused"
    refused = tunnels.server.program.wait_for("connection_refused", connection_id=failed["connection_id"])
    assert refused["reason"] == "target_refused"


def test_a_download_that_is_given_up_is_a_reset_at_the_target(url, tunnels):
    """curl's time-out closes a connection that has unread bytes."""
    program = tunnels.client.program
    done = run(*command(), "--limit-rate", "1M", "--max-time", "1", "--output", "/dev/null", f"{url}/large")
    assert done.returncode == 28  # its time-out
    closed = program.wait_for("connection_closed", outcome="local_reset")
    tunnels.server.program.wait_for(
        "connection_closed", connection_id=closed["connection_id"], outcome="peer_reset", close_code=1011
    )
