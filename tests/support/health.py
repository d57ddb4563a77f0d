"""What a program says of itself over HTTP, and whether it has given back everything that connections took."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.programs import Client, Program, Server
from tests.support.targets import PATIENCE, eventually


def ask(api: tuple[str, int], path: str) -> int:
    """The status of a GET."""
    return _get(api, path)[0]


def connections(api: tuple[str, int]) -> int:
    """How many connections /health counts."""
    status, body = _get(api, "/health")
    assert status == 200
    return json.loads(body)["connections"]


@dataclass(frozen=True)
class Idle:
    """What a program without connections holds."""

    program: Program
    api: tuple[str, int]
    descriptors: int

    def is_so_again(self) -> bool:
        # First the descriptors: to ask for the connections takes one itself, and for a moment longer.
        return self.program.descriptors() <= self.descriptors and connections(self.api) == 0


@contextmanager
def everything_is_freed(*ends: Server | Client, seconds: float = PATIENCE) -> Iterator[None]:
    """At the end each program must count no connection, and hold no more descriptors than at the start."""
    idle = [_look(end) for end in ends]
    yield
    for end in idle:
        eventually(end.is_so_again, seconds)


def _look(end: Server | Client) -> Idle:
    # The first request loads what HTTP needs; a client has its first check behind it when it is ready.
    eventually(lambda: ask(end.api, "/readyz") == 200)
    assert connections(end.api) == 0
    return Idle(end.program, end.api, min(_watch(end.program)))


def _watch(program: Program) -> Iterator[int]:
    """Descriptors over a moment in which the last request's connection is closed."""
    for _ in range(20):
        yield program.descriptors()
        time.sleep(0.01)


def _get(api: tuple[str, int], path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*api, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
