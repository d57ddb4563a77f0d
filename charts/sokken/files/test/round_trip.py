"""What `helm test` runs, in a pod of its own, from the image of sokken: looks at a release through its Services.

    round_trip.py ready URL              the server's /readyz answers 200
    round_trip.py forward HOST:PORT      a tunnel opens, and its target is there; nothing is sent to it
    round_trip.py echo HOST:PORT         bytes go to the echo and come back, both ways at once, up to a half-close

Each may be given many times. Exit code 0, or 1 with a line for each that failed.
"""

import contextlib
import hashlib
import os
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

# A client that gets no tunnel resets its application after SOKKEN_CONNECT_TIMEOUT_SECONDS: this is longer.
PATIENCE_SECONDS: Final = float(os.environ.get("PATIENCE_SECONDS", "33"))
ECHO_BYTES: Final = 4 * 1024 * 1024
CHUNK: Final = 65536


def check_ready(url: str) -> str:
    """Ask until it is ready. The certificate is for another name: only whether it answers is asked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with direct.open(url, timeout=5):
                return "is ready"
        except urllib.error.HTTPError as error:
            problem = f"answers {error.code}: {error.read(200).decode(errors='replace').strip()}"
        except OSError as error:
            problem = f"does not answer: {error}"
        if time.monotonic() > deadline:
            raise RuntimeError(problem)
        time.sleep(1)


def check_forward(where: str) -> str:
    """Connect, and see whether it is reset: so ends what got no tunnel, or no target at its end.

    A target that speaks first, or one that is tired of the silence and closes, need not be waited for.
    """
    with connect(where) as connection, contextlib.suppress(TimeoutError):
        connection.settimeout(PATIENCE_SECONDS)
        connection.recv(1)
    return "leads to its target"


def check_echo(where: str) -> str:
    """Send and receive at once; then end one direction, and see the other end by itself."""
    with connect(where) as connection, ThreadPoolExecutor(max_workers=1) as sender:
        connection.settimeout(PATIENCE_SECONDS)
        sent = sender.submit(send, connection)
        received, count = hashlib.sha256(), 0
        while chunk := connection.recv(CHUNK):
            received.update(chunk)
            count += len(chunk)
        if (count, received.hexdigest()) != (ECHO_BYTES, sent.result()):
            raise RuntimeError(f"{count} of {ECHO_BYTES} bytes came back, or other ones")
    return f"brought {count} bytes back as they were, up to the half-close (SHA-256 {received.hexdigest()})"


def send(connection: socket.socket) -> str:
    """Send chance, end that direction, and return the digest of what was sent."""
    digest = hashlib.sha256()
    for _ in range(0, ECHO_BYTES, CHUNK):
        chunk = os.urandom(CHUNK)
        digest.update(chunk)
        connection.sendall(chunk)
    connection.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


def connect(where: str) -> socket.socket:
    """Connect to HOST:PORT."""
    host, _, port = where.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=10)


CHECKS: Final[dict[str, Callable[[str], str]]] = {"ready": check_ready, "forward": check_forward, "echo": check_echo}


def run(kind: str, what: str) -> bool:
    """Run one check, and say what came of it."""
    try:
        print(f"ok      {what} {CHECKS[kind](what)}", flush=True)
    except (ConnectionResetError, BrokenPipeError):
        print(f"failed  {what} was reset: the client's log says why (connection_failed)", flush=True)
    except (OSError, RuntimeError) as error:
        print(f"failed  {what} {error}", flush=True)
    else:
        return True
    return False


def main(words: list[str]) -> int:
    """Run all of them at once."""
    pairs = list(zip(words[::2], words[1::2], strict=True))
    with ThreadPoolExecutor(max_workers=max(1, len(pairs))) as workers:
        done: Iterator[bool] = workers.map(lambda pair: run(*pair), pairs)
        return 0 if all(list(done)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
