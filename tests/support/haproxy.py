"""haproxy between client and server, with the short times and few connections that make trouble if any can."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Authority
from tests.support.pairs import Pair, Where, pair
from tests.support.services import free_port, installed, service

MAX_CONNECTIONS = 30
TUNNEL_SECONDS = 60

_CONFIG = """
global
    log stdout format raw local0

defaults
    mode http
    log global
    option httplog
    maxconn {max_connections}
    timeout connect 2s
    timeout client 2s
    timeout server 5s
    timeout tunnel {tunnel_seconds}s

frontend tunnels
    {binds}
    option forwardfor
    default_backend servers

backend servers
    server sokken {host}:{port}
"""


@dataclass
class Haproxy:
    """One that runs. ``entries`` is where it listens: plain, and then once for each certificate."""

    process: subprocess.Popen[bytes]
    entries: list[Where]
    log: Path

    @property
    def plain(self) -> Where:
        return self.entries[0]

    @property
    def tls(self) -> Where:
        return self.entries[1]


@contextmanager
def haproxy(
    server: Where,
    folder: Path,
    *certificates: Path,
    entries: list[Where] | None = None,
    replacing: Haproxy | None = None,
) -> Iterator[Haproxy]:
    """haproxy in front of ``server``: on free loopback ports unless told where.

    ``replacing``: listen where that one does, and let it take no more connections (its own way to restart).
    """
    if replacing is not None:
        entries = replacing.entries
    entries = entries or [("127.0.0.1", free_port()) for _ in range(1 + len(certificates))]
    options = ["", *(f" ssl crt {certificate}" for certificate in certificates)]
    binds = "\n    ".join(f"bind {host}:{port}{option}" for (host, port), option in zip(entries, options, strict=True))
    config = folder / "haproxy.conf"
    config.write_text(
        _CONFIG.format(
            binds=binds,
            host=server[0],
            port=server[1],
            max_connections=MAX_CONNECTIONS,
            tunnel_seconds=TUNNEL_SECONDS,
        )
    )
    log = folder / "haproxy.log"
    command = [installed("haproxy"), "-db", "-f", config]
    if replacing is not None:
        command += ["-sf", str(replacing.process.pid)]
    with service(*command, where=entries[0], log=log) as process:
        yield Haproxy(process, entries, log)


@contextmanager
def pair_through_haproxy(
    targets: Mapping[str, Where], scheme: str, folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[Pair]:
    """A pair with haproxy in between; ``scheme`` is what the client speaks with it, ``ws`` or ``wss``."""
    authority = Authority(folder)
    certificate = authority.issue("DNS:localhost")

    @contextmanager
    def between(server: Where) -> Iterator[Where]:
        with haproxy(server, folder, certificate) as running:
            yield ("localhost", running.tls[1]) if scheme == "wss" else running.plain

    with pair(targets, between, scheme, {"SOKKEN_CA_FILE": str(authority.file), **(env or {})}) as both:
        yield both
