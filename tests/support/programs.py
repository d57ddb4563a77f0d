"""The real programs as subprocesses, with their log lines as they come."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 20.0  # seconds; a bound for what should take milliseconds, so that a failure is no hang

Line = dict[str, Any]


class Program:
    """`sokken` with some arguments. Its log is standard error, one JSON object a line."""

    def __init__(self, *arguments: str, env: dict[str, str] | None = None, prefix: Sequence[str] = ()) -> None:
        clean = {name: value for name, value in os.environ.items() if not _is_setting(name)}
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "sokken", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**clean, **(env or {})},
            text=True,
        )
        self.lines: list[Line] = []
        self.noise: list[str] = []  # what is no JSON object: there should be none
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for text in self.process.stderr:
            with self._changed:
                try:
                    self.lines.append(json.loads(text))
                except ValueError:
                    self.noise.append(text)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def events(self, event: str, **fields: object) -> list[Line]:
        """The lines so far of that event and with those fields."""
        with self._changed:
            return [line for line in self.lines if _matches(line, event, fields)]

    def wait_for(self, event: str, count: int = 1, seconds: float = PATIENCE, **fields: object) -> Line:
        """The ``count``-th such line, once it is there."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                found = [line for line in self.lines if _matches(line, event, fields)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    last = self.lines[-20:]
                    raise AssertionError(f"{event} {fields} was not logged {count} times: … {last} {self.noise}")
                self._changed.wait(left)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """The exit code, once it has ended by itself."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    def stop(self) -> int:
        """End it in order, if it still runs; the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            return self.wait()
        finally:
            self.kill()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        self.process.stdout.close()
        self.process.stderr.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def descriptors(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def anonymous_kib(self) -> int:
        """Memory that is its own."""
        rollup = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in rollup if line.startswith("Anonymous:"))


def _is_setting(variable: str) -> bool:
    return variable.startswith(("SOKKEN_", "OTEL_")) or variable.lower() in {
        "https_proxy",
        "http_proxy",
        "no_proxy",
        "kubeconfig",
    }


def _matches(line: Line, event: str, fields: dict[str, object]) -> bool:
    return line.get("event") == event and all(line.get(name) == value for name, value in fields.items())


def address(text: str) -> tuple[str, int]:
    """``host:port`` as connect() takes it; all interfaces as loopback."""
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def join(where: tuple[str, int]) -> str:
    """``host:port``, with an IPv6 address in brackets."""
    return "{}:{}".format(f"[{where[0]}]" if ":" in where[0] else where[0], where[1])


@contextmanager
def running(*arguments: str, env: dict[str, str] | None = None, prefix: Sequence[str] = ()) -> Iterator[Program]:
    """A program, ended at the end. A test that passed must not have left anything but JSON on standard error."""
    program = Program(*arguments, env=env, prefix=prefix)
    try:
        yield program
        program.stop()
        assert program.noise == []
    finally:
        program.kill()


@dataclass
class Server:
    program: Program
    api: tuple[str, int]

    def url(self, target: tuple[str, int], through: tuple[str, int] | None = None, scheme: str = "ws") -> str:
        """Of a tunnel to ``target``; ``through`` is a proxy in between, where the client connects instead."""
        return f"{scheme}://{join(through or self.api)}/tunnel/{join(target)}"


@contextmanager
def server(
    *targets: tuple[str, int],
    options: Sequence[str] = (),
    env: dict[str, str] | None = None,
    listen: str = "127.0.0.1:0",
    prefix: Sequence[str] = (),
) -> Iterator[Server]:
    """`sokken server`, on a free loopback port unless told where, with these targets allowed."""
    with running("server", *options, listen, *map(join, targets), env=env, prefix=prefix) as program:
        yield Server(program, address(program.wait_for("server_listening")["listen"]))


@dataclass
class Client:
    program: Program
    api: tuple[str, int]
    entries: list[tuple[str, int]] = field(default_factory=list)

    @property
    def entry(self) -> tuple[str, int]:
        """Where the first forward listens."""
        return self.entries[0]


@contextmanager
def client(
    *urls: str,
    options: Sequence[str] = (),
    env: dict[str, str] | None = None,
    listen: str = "127.0.0.1:0",
    prefix: Sequence[str] = (),
) -> Iterator[Client]:
    """`sokken client` with a forward for each URL, on a free loopback port unless told where."""
    pairs = [argument for url in urls for argument in (listen, url)]
    with running("client", *options, "127.0.0.1:0", *pairs, env=env, prefix=prefix) as program:
        entries = [address(program.wait_for("forward_listening", count)["listen"]) for count in range(1, len(urls) + 1)]
        yield Client(program, address(program.wait_for("health_listening")["listen"]), entries)


@dataclass
class Tunnel:
    server: Server
    client: Client

    @property
    def entry(self) -> tuple[str, int]:
        return self.client.entry


@contextmanager
def tunnel(
    target: tuple[str, int],
    server_options: Sequence[str] = (),
    client_options: Sequence[str] = (),
    env: dict[str, str] | None = None,
) -> Iterator[Tunnel]:
    """A server and a client, and one forward to ``target`` through both; over TLS if the server has a certificate."""
    scheme = "wss" if "SOKKEN_TLS_CERT_FILE" in (env or {}) else "ws"
    with (
        server(target, options=server_options, env=env) as far,
        client(far.url(target, scheme=scheme), options=client_options, env=env) as near,
    ):
        yield Tunnel(far, near)
