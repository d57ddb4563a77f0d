"""The load generator of load.c, with the same command line and output, for machines without a C compiler.

Started by generator.py, and a script of its own: it imports nothing of the harness. It is the slower half of what it
measures, and so a report says which of the two was used.
"""

import json
import math
import os
import selectors
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

CHUNK = 256 << 10
POOL = 4 << 20
ECHO_BYTES = 64
WARM_ECHOES = 200
BESIDE_WARMUP = 8 << 20
BATCH = 32
PATIENCE_SECONDS = 20.0
STALL_MS = 8000
LINE_CHUNK = 64 << 10
ENDLESS = 2**64 - 1
LOOPBACK = "127.0.0.1"

POOL_BYTES = memoryview(os.urandom(POOL))


# --- small parts ----------------------------------------------------------------------------------------------------


class EarlyEndError(OSError):
    """The other side ended a connection that should have gone on."""

    def __str__(self) -> str:
        return "it ended early"


def tell(facts: dict[str, object]) -> None:
    """Print one line of JSON."""
    print(json.dumps(facts), flush=True)


def fail(what: str, error: BaseException) -> NoReturn:
    """Print why there are no figures, and end."""
    tell({"error": f"{what}: {error}"})
    os._exit(1)


def set_options(connection: socket.socket) -> None:
    """Send at once, and wait for nothing longer than the patience."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(PATIENCE_SECONDS)


def dial(port: int) -> socket.socket:
    """Connect to a port of this machine."""
    connection = socket.create_connection((LOOPBACK, port), PATIENCE_SECONDS)
    set_options(connection)
    return connection


def listen_on(port: int) -> socket.socket:
    """Listen on a port of this machine."""
    return socket.create_server((LOOPBACK, port), backlog=4096)


def reset(connection: socket.socket) -> None:
    """End a connection with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def recv_all(connection: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes."""
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise EarlyEndError
        parts += part
    return bytes(parts)


def command(letter: bytes, n: int = 0) -> bytes:
    """What a connection begins with."""
    return letter if letter == b"e" else letter + n.to_bytes(8, "little")


def send_random(connection: socket.socket, n: int) -> None:
    """Send ``n`` random bytes."""
    at = 0
    while at < n:
        start = at % (POOL - CHUNK + 1)
        part = min(n - at, CHUNK)
        connection.sendall(POOL_BYTES[start : start + part])
        at += part


def receive(connection: socket.socket, n: int, count: Callable[[int], None] = lambda _: None) -> None:
    """Receive ``n`` bytes, telling ``count`` of each piece."""
    buffer = memoryview(bytearray(CHUNK))
    left = n
    while left:
        got = connection.recv_into(buffer, min(left, CHUNK))
        if not got:
            raise EarlyEndError
        left -= got
        count(got)


def start(run: Callable[..., None], *arguments: object) -> threading.Thread:
    """Run something in a thread that does not keep the process alive."""
    thread = threading.Thread(target=run, args=arguments, daemon=True)
    thread.start()
    return thread


def be_ready() -> str:
    """Say that everything is up, and wait for the harness."""
    print("ready", flush=True)
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    return line


def describe(sample: Sequence[int]) -> dict[str, object]:
    """Microseconds, and a histogram with sixteen buckets to a doubling: bucket = floor(16 log2 ns)."""
    ordered = sorted(sample)

    def percentile(p: float) -> float:
        return round(ordered[max(0, math.ceil(p * len(ordered)) - 1)] / 1000, 2)

    histogram = Counter(int(16 * math.log2(value)) for value in ordered)
    named = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {name: percentile(p) for name, p in named.items()} | {"histogram": sorted(histogram.items())}


# --- the target -----------------------------------------------------------------------------------------------------


def serve_stream(connection: socket.socket, letter: bytes) -> None:
    """Do what the command says, and the ones after it."""
    try:
        while letter:
            n = int.from_bytes(recv_all(connection, 8), "little")
            if letter == b"s":
                time.sleep(n / 1000)
                reset(connection)
                return
            if letter == b"d":
                send_random(connection, n)
            else:
                receive(connection, n)
                connection.sendall(b"k")
            letter = connection.recv(1)
        connection.close()
    except OSError:
        reset(connection)


def serve_ready(selector: selectors.BaseSelector, connection: socket.socket, *, echoes: bool) -> None:
    """Echo what came, or find out what a new connection is for."""
    try:
        got = connection.recv(CHUNK if echoes else 1)
        if got and echoes:
            connection.sendall(got)
            return
    except OSError:
        got = b""
    if got == b"e":
        selector.modify(connection, selectors.EVENT_READ, "echo")
        return
    selector.unregister(connection)
    if got and got in b"uds":
        start(serve_stream, connection, got)
    else:
        connection.close()


def target(*ports: str) -> None:
    """Answer the commands, on all ports."""
    selector = selectors.DefaultSelector()
    for port in ports:
        selector.register(listen_on(int(port)), selectors.EVENT_READ, "listener")
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            ready = key.fileobj
            if not isinstance(ready, socket.socket):
                continue
            if key.data != "listener":
                serve_ready(selector, ready, echoes=key.data == "echo")
                continue
            connection, _ = ready.accept()
            set_options(connection)
            selector.register(connection, selectors.EVENT_READ, "new")


# --- the delay line: as in load.c -----------------------------------------------------------------------------------


@dataclass
class Direction:
    """Bytes on their way, each piece with the time at which it is due and the time at which its room is free."""

    source: socket.socket
    sink: socket.socket
    delay: float
    earliest: float
    window: int
    queued: deque[tuple[bytes, float]] = field(default_factory=deque)
    delivered: deque[tuple[int, float]] = field(default_factory=deque)
    used: int = 0
    moved: threading.Condition = field(default_factory=threading.Condition)

    def wait_for_room(self) -> int:
        """How many bytes may be taken now."""
        with self.moved:
            while True:
                while self.delivered and self.delivered[0][1] <= time.monotonic():
                    self.used -= self.delivered.popleft()[0]
                if self.used < self.window:
                    return min(LINE_CHUNK, self.window - self.used)
                self.moved.wait(max(0.0, self.delivered[0][1] - time.monotonic()) if self.delivered else None)

    def take(self) -> None:
        """Receive until the end."""
        part = b"begin"
        while part:
            room = self.wait_for_room()
            try:
                part = self.source.recv(room)
            except OSError:
                part = b""
            with self.moved:
                self.queued.append((part, max(time.monotonic(), self.earliest) + self.delay))
                self.used += len(part)
                self.moved.notify()

    def give(self) -> None:
        """Hand on what is due, until the end."""
        while True:
            with self.moved:
                while not self.queued:
                    self.moved.wait()
                part, due = self.queued.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if not part:
                    self.sink.shutdown(socket.SHUT_WR)
                    return
                self.sink.sendall(part)
            except OSError:
                self.source.close()
                return
            with self.moved:
                self.delivered.append((len(part), time.monotonic() + self.delay))
                self.moved.notify()


def line(port: str, to: str, delay_ms: str, window: str) -> None:
    """Relay to another port, with a delay in each direction."""
    listener = listen_on(int(port))
    delay = int(delay_ms) / 1000
    print("ready", flush=True)
    while True:
        near, _ = listener.accept()
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            far = dial(int(to))
        except OSError:
            reset(near)
            continue
        far.settimeout(None)
        up = Direction(near, far, delay, time.monotonic() + 2 * delay, int(window))
        for direction in (up, Direction(far, near, delay, 0.0, int(window))):
            start(direction.take)
            start(direction.give)


# --- clients --------------------------------------------------------------------------------------------------------


def transfer(connection: socket.socket, way: str, n: int) -> None:
    """Move ``n`` bytes up or down."""
    connection.sendall(command(b"u" if way == "up" else b"d", n))
    if way == "down":
        receive(connection, n)
        return
    send_random(connection, n)
    recv_all(connection, 1)


def run_all(work: Sequence[Callable[[], None]], what: str) -> None:
    """Run everything at the same time, and fail if one of them does."""

    def run(part: Callable[[], None]) -> None:
        try:
            part()
        except OSError as error:
            fail(what, error)

    for thread in [start(run, part) for part in work]:
        thread.join()


def bulk(port: str, way: str, streams: str, n: str, warmup: str) -> None:
    """Move bytes over some connections at the same time."""
    count = int(streams)
    connections = [dial(int(port)) for _ in range(count)]

    def move(total: int) -> None:
        run_all([partial(transfer, connection, way, total // count) for connection in connections], "a bulk stream")

    move(int(warmup))
    be_ready()
    began = time.perf_counter()
    move(int(n))
    tell({"seconds": time.perf_counter() - began, "bytes": int(n) // count * count})


@dataclass
class Companion:
    """A bulk stream down, beside which something else is measured."""

    connection: socket.socket
    moved: int = 0
    last: float = field(default_factory=time.perf_counter)
    pause: float = 0.0
    ended: bool = False

    def run(self) -> None:
        """Receive for ever."""
        try:
            self.connection.sendall(command(b"d", ENDLESS))
            receive(self.connection, ENDLESS, self.count)
        except OSError:
            self.ended = True

    def count(self, got: int) -> None:
        """Note the bytes, and the longest time without any."""
        now = time.perf_counter()
        self.pause = max(self.pause, now - self.last)
        self.last = now
        self.moved += got

    def wait_until_warm(self) -> None:
        """Return once the stream flows."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.moved < BESIDE_WARMUP:
            if self.ended or time.monotonic() > deadline:
                fail("the bulk stream beside", EarlyEndError())
            time.sleep(0.001)


def echo(port: str, count: str, seconds: str, companion: Companion | None = None) -> None:
    """Round trips on one connection."""
    connection = dial(int(port))
    connection.sendall(command(b"e"))
    payload = bytes(POOL_BYTES[:ECHO_BYTES])

    def once() -> int:
        began = time.perf_counter_ns()
        connection.sendall(payload)
        recv_all(connection, len(payload))
        return time.perf_counter_ns() - began

    for _ in range(WARM_ECHOES):
        once()
    if companion:
        start(companion.run)
        companion.wait_until_warm()
    be_ready()
    before = companion.moved if companion else 0
    if companion:
        companion.pause = 0.0
    sample: list[int] = []
    began = time.perf_counter()
    while len(sample) < int(count) and time.perf_counter() - began < float(seconds):
        sample.append(once())
    facts: dict[str, object] = {"seconds": time.perf_counter() - began, "echoes": len(sample)}
    if companion:
        if companion.ended:
            fail("the bulk stream beside", EarlyEndError())
        facts |= {"beside_bytes": companion.moved - before, "beside_pause": companion.pause}
        reset(companion.connection)
    tell(facts | describe(sample))


def beside(port: str, count: str, seconds: str) -> None:
    """Round trips beside a bulk stream."""
    echo(port, count, seconds, Companion(dial(int(port))))


def exchange_one(port: int) -> None:
    """Connect, one byte there and back, close."""
    with dial(port) as connection:
        connection.sendall(b"ex")
        recv_all(connection, 1)


def connect(port: str, count: str, parallel: str, seconds: str) -> None:
    """New connections, some at a time."""
    sample: list[int] = []
    left = iter(range(int(count)))  # shared by the threads; next() on a range's iterator is atomic
    for _ in range(min(2 * int(parallel), 16)):
        exchange_one(int(port))
    be_ready()
    began = time.perf_counter()

    def run() -> None:
        while time.perf_counter() - began < float(seconds) and next(left, None) is not None:
            at = time.perf_counter_ns()
            exchange_one(int(port))
            sample.append(time.perf_counter_ns() - at)

    run_all([run] * int(parallel), "a new connection")
    tell({"seconds": time.perf_counter() - began, "connections": len(sample)} | describe(sample))


def idle(*ports: str) -> None:
    """Open connections step by step, hold them, and send a byte through each when asked."""
    held: list[socket.socket] = []
    while True:
        words = be_ready().split()
        began = time.perf_counter()
        facts: dict[str, object] = {}
        if words[:1] == ["open"]:
            while len(held) < int(words[1]):
                batch = range(len(held), min(int(words[1]), len(held) + BATCH))
                fresh = [dial(int(ports[index % len(ports)])) for index in batch]
                for connection in fresh:
                    connection.sendall(b"ex")
                for connection in fresh:
                    recv_all(connection, 1)
                held += fresh
        else:
            facts["lost"] = count_lost(held)
        tell({"seconds": time.perf_counter() - began, "open": len(held)} | facts)


def count_lost(held: Sequence[socket.socket]) -> int:
    """How many connections do not answer a byte."""
    lost: set[socket.socket] = set()

    def attempt(connection: socket.socket, step: Callable[[], object]) -> None:
        try:
            step()
        except OSError:
            lost.add(connection)

    for connection in held:
        attempt(connection, partial(connection.sendall, b"y"))
    for connection in held:
        attempt(connection, partial(recv_all, connection, 1))
    return len(lost)


def stall(port: str, stalled: str, streams: str) -> None:
    """Streams of which the reader, or the target that should read, stops reading."""
    connections = [dial(int(port)) for _ in range(int(streams))]
    for connection in connections:
        transfer(connection, "down" if stalled == "reader" else "up", BESIDE_WARMUP)
    be_ready()

    def pour(connection: socket.socket) -> None:
        try:
            send_random(connection, ENDLESS)
        except OSError:
            return

    for connection in connections:
        connection.sendall(command(b"d", ENDLESS) if stalled == "reader" else command(b"s", STALL_MS))
        if stalled == "writer":
            start(pour, connection)
    tell({"streams": len(connections)})
    be_ready()
    for connection in connections:
        reset(connection)
    os._exit(0)


MODES: dict[str, Callable[..., None]] = {
    "target": target,
    "line": line,
    "bulk": bulk,
    "echo": echo,
    "beside": beside,
    "connect": connect,
    "idle": idle,
    "stall": stall,
}


def main() -> None:
    """Do what the command line says."""
    threading.stack_size(256 << 10)
    mode, *arguments = sys.argv[1:] or [""]
    if mode not in MODES:
        sys.exit("load: what to do is said at the top of bench/load.c")
    try:
        MODES[mode](*arguments)
    except OSError as error:
        fail(mode, error)


if __name__ == "__main__":
    main()
