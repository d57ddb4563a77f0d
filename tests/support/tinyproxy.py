"""tinyproxy, an HTTP proxy, between the client and its servers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.services import free_port, installed, service


@contextmanager
def tinyproxy(folder: Path, *directives: str) -> Iterator[tuple[str, int]]:
    """One on a free loopback port, whose log is ``tinyproxy.log`` in ``folder``."""
    where = ("127.0.0.1", free_port())
    config = folder / "tinyproxy.conf"
    lines = [f"Port {where[1]}", f"Listen {where[0]}", "LogLevel Connect", *directives, ""]
    config.write_text("\n".join(lines))
    with service(installed("tinyproxy"), "-d", "-c", config, where=where, log=folder / "tinyproxy.log"):
        yield where


@contextmanager
def over_tls(folder: Path, proxy: tuple[str, int], certificate: Path) -> Iterator[tuple[str, int]]:
    """haproxy, to make an https:// proxy of an http:// one."""
    entry = ("127.0.0.1", free_port())
    config = folder / "tls.conf"
    config.write_text(
        "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 20s\n    timeout server 20s\n"
        f"listen proxy\n    bind {entry[0]}:{entry[1]} ssl crt {certificate}\n    server proxy {proxy[0]}:{proxy[1]}\n"
    )
    with service(installed("haproxy"), "-db", "-f", config, where=entry, log=folder / "tls.log"):
        yield entry
