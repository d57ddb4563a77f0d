"""``sokken probe``: ask this container's own program whether it lives, or is ready; for images without a shell.

Called by main, every few seconds in every container: it imports next to nothing, and speaks the little HTTP that it
needs on a plain socket. It asks the address that the environment gives the program, over loopback.
"""

import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sokken.cli.flags import HELP, read_seconds, take_flags
from sokken.errors import UsageError
from sokken.protocol.address import Address
from sokken.settings.own_address import OwnAddress, read_own_address

HELP_TEXT: Final = """\
Usage: sokken probe [live|ready] [-timeout SECONDS]

Asks the program that runs with this environment (SOKKEN_API_ADDR) for /livez or /readyz, over loopback; ready unless
told. For HEALTHCHECK, and for exec probes, in images without a shell. SOKKEN_API_ADDR must have a port of its own;
where it has none, SOKKEN_ADMIN_ADDR is asked.

  -timeout SECONDS        how long the answer may take (default 3)

Exit codes: 0 yes, 1 no, and why on stderr, 2 malformed arguments or variables, 3 there is no address to ask.
"""
HEALTHY: Final = 0
UNHEALTHY: Final = 1
TIMEOUT_SECONDS: Final = 3.0

_PATHS: Final = {"live": "/livez", "ready": "/readyz"}
_ANY: Final = {"": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}  # noqa: S104 -- nothing is bound
# haproxy's doc/proxy-protocol.txt, section 2.2: version 2, LOCAL, no address. The connection is the host's own.
_LOCAL_HEADER: Final = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
_ANSWER_BYTES: Final = 16384
_SHOWN: Final = 200


class _Unhealthy(Exception):
    """The message says why, in one line."""


def probe(words: Sequence[str]) -> int:
    """Run ``probe`` with the words behind it; returns the exit code. Raises UsageError and ConfigurationError."""
    if HELP.intersection(words):
        print(HELP_TEXT, end="")
        return HEALTHY
    flags, others = take_flags(words, {"timeout": f"{TIMEOUT_SECONDS:g}"})
    what = others[0] if others else "ready"
    if what not in _PATHS or len(others) > 1:
        raise UsageError(f"unknown argument {others[-1]!r}: probe is followed by live or ready, or by nothing")
    seconds = read_seconds("timeout", flags["timeout"], 0.1) if "timeout" in flags else TIMEOUT_SECONDS
    own = read_own_address()
    try:
        _ask(own, _PATHS[what], time.monotonic() + seconds)
    except TimeoutError:
        return _complain(f"{own.address} did not answer within {seconds:g} s")
    except (_Unhealthy, OSError) as error:
        return _complain(f"{own.address}: {_describe(error)}")
    return HEALTHY


def _ask(own: OwnAddress, path: str, deadline: float) -> None:
    """Ask as a server of this environment wants it, else plainly: a client may have the same environment."""
    try:
        _request(own, path, deadline)
    except (_Unhealthy, OSError):
        if not own.speaks_tls and not own.wants_proxy_header:
            raise
        try:
            _request(OwnAddress(own.address), path, deadline)
        except (_Unhealthy, OSError):
            pass
        else:
            return
        raise


def _request(own: OwnAddress, path: str, deadline: float) -> None:
    with _connect(own.address, deadline) as plain:
        if own.wants_proxy_header:
            plain.sendall(_LOCAL_HEADER)
        with _encrypt(plain) if own.speaks_tls else plain as sock:
            host, port = sock.getpeername()[:2]
            request = f"GET {path} HTTP/1.1\r\nHost: {Address(host, port)}\r\nConnection: close\r\n\r\n"
            sock.sendall(request.encode("ascii"))
            _judge(_receive(sock, deadline), path)


def _connect(address: Address, deadline: float) -> socket.socket:
    """Connect over loopback where the program listens on every interface."""
    hosts = _ANY.get(address.host, (address.host,))
    for host in hosts:
        try:
            return socket.create_connection((host, address.port), _left(deadline))
        except OSError:
            if host == hosts[-1]:
                raise
    raise AssertionError  # pragma: no cover -- there is a last one


@contextmanager
def _encrypt(sock: socket.socket) -> Iterator[socket.socket]:
    import ssl

    # Not verified: it is the container's own certificate, made for the name that others call it by, not for
    # loopback; and who could stand in between here could answer in the program's place anyway. Nothing is sent
    # that is worth reading.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with context.wrap_socket(sock) as channel:
        yield channel


def _receive(sock: socket.socket, deadline: float) -> bytes:
    answer = b""
    while len(answer) < _ANSWER_BYTES:
        sock.settimeout(_left(deadline))
        more = sock.recv(_ANSWER_BYTES)
        if not more:
            break
        answer += more
    return answer


def _judge(answer: bytes, path: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    start, status, _ = [*head.partition(b"\r\n")[0].split(b" ", 2), b"", b""][:3]
    if not start.startswith(b"HTTP/1."):
        raise _Unhealthy("what answers there does not speak HTTP")
    if status != b"200":
        reason = "".join(filter(str.isprintable, body.decode("utf-8", "replace").partition("\n")[0][:_SHOWN]))
        raise _Unhealthy(f"{path} answers {status.decode('latin-1')}{': ' * bool(reason)}{reason}")


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _describe(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return str(error)


def _complain(reason: str) -> int:
    print(f"sokken probe: {reason}", file=sys.stderr)
    return UNHEALTHY
