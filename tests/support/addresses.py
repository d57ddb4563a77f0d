"""Addresses at which a dial fails, each in its own way, at once and without leaving this host."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

UNREACHABLE = ("255.255.255.255", 9)
"""The kernel has no TCP route to a broadcast address."""
UNKNOWN = ("nowhere.invalid", 9)
"""A name that never exists (RFC 6761 section 6.4)."""


@contextmanager
def closed_port(host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """A port that refuses: bound, so that nobody else takes it, but not listening."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.bind((host, 0))
        yield sock.getsockname()[:2]
