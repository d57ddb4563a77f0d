"""A redis-server of our own that keeps nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.services import free_port, installed, service


@contextmanager
def redis(folder: Path) -> Iterator[tuple[str, int]]:
    """On a free loopback port, until the end."""
    where = ("127.0.0.1", free_port())
    network = ("--bind", where[0], "--port", where[1])
    files = ("--dir", folder, "--save", "", "--appendonly", "no", "--daemonize", "no")
    with service(installed("redis-server"), *network, *files, where=where, log=folder / "redis.log"):
        yield where
