"""A tunnel to watch: `make demo`.

Starts three targets, the real `sokken server` and the real `sokken client` on loopback, and sends a file
up, a file down and a half-closed exchange through them. Says what it sees, with the log lines of both
ends; exits with 1 and a sentence as soon as something is not as it must be. Leaves nothing behind.
"""

import argparse
import hashlib
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

LOOPBACK = "127.0.0.1"
MIB = 1 << 20
PATIENCE_SECONDS = 15.0
COLOURS = {"server": "35", "client": "36", "step": "1", "good": "32", "bad": "31", "faint": "2"}


class DemoError(Exception):
    """What went wrong, in one sentence."""


def paint(colour: str, text: str) -> str:
    """Colour for a person at a terminal; plain text for a file or a pipe, or where NO_COLOR asks for it."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"


def step(text: str) -> None:
    """Announce the next thing that happens."""
    print(f"\n{paint('step', text)}", flush=True)


def check(label: str, ok: bool, shown: str) -> None:
    """Show a fact with a mark, and stop the demonstration if it is not so."""
    print(f"  {paint('good', 'ok ') if ok else paint('bad', 'BAD')} {label}: {shown}", flush=True)
    if not ok:
        raise DemoError(f"{label} is wrong: {shown}")


# --- the programs ---------------------------------------------------------------------------------


@dataclass
class Program:
    """One end of the tunnel: a child process, and the log lines that it writes to its stderr."""

    role: str
    process: subprocess.Popen[str]
    lines: "queue.Queue[dict[str, object] | None]" = field(default_factory=queue.Queue)
    text: list[str] = field(default_factory=list)

    def read_log(self, log: Iterable[str]) -> None:
        """Queue each JSON line; what is not JSON is kept to be shown if the program fails."""
        for line in log:
            try:
                self.lines.put(json.loads(line))
            except ValueError:
                self.text.append(line.strip())
        self.lines.put(None)

    def wait_for(self, event: str, **fields: object) -> dict[str, object]:
        """Return the next log line with this event and these fields, showing every line on the way."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                line = self.lines.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                raise DemoError(f"the {self.role} did not log {event!r} in {PATIENCE_SECONDS:g} s") from None
            if line is None:
                raise DemoError(f"the {self.role} ended: {' '.join(self.text) or self.process.wait()}")
            self.show(line)
            if line.get("event") == event and fields.items() <= line.items():
                return line

    def show(self, line: dict[str, object]) -> None:
        """Print a log line the way a person reads it: role, event, and what is not the same in every line."""
        told = {"timestamp", "level", "event", "logger", "role", "version", "client_version", "forward"}
        told |= {"server"} if "target" in line else set()
        rest = " ".join(f"{key}={value}" for key, value in line.items() if key not in told)
        print(f"  {paint(self.role, self.role)} {line.get('event')} {paint('faint', rest)}", flush=True)

    def health(self, address: str) -> str:
        """Ask the program's own HTTP address how it is."""
        asking = HTTPConnection(address, timeout=PATIENCE_SECONDS)  # past any proxy that the environment names
        with closing(asking):
            asking.request("GET", "/health")
            return " ".join(asking.getresponse().read().decode().split())


@contextmanager
def running(role: str, *arguments: str) -> Iterator[Program]:
    """Start `sokken ROLE ARGUMENTS` beside this Python, end it with SIGTERM, and expect exit code 0."""
    command = [str(Path(sys.executable).parent / "sokken"), role, *arguments]
    print(f"  {paint('faint', '$ ' + ' '.join(['sokken', *command[1:]]))}", flush=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOKKEN_")}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    program = Program(role, process)
    reader = threading.Thread(target=program.read_log, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        yield program
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise DemoError(f"the {role} did not end in {PATIENCE_SECONDS:g} s after SIGTERM") from None
        if code != 0:
            raise DemoError(f"the {role} ended with exit code {code}, not 0")
    finally:
        process.kill()
        process.wait()
        reader.join()


# --- the targets ----------------------------------------------------------------------------------


def receive_file(connection: socket.socket, path: Path) -> None:
    """Store what comes until its end, say how many bytes came, then their checksum."""
    arrived = path.with_suffix(".arrived")
    received = save_until_end(connection, arrived)
    connection.sendall(f"{received}\n".encode())
    connection.sendall(sha256(arrived).encode())
    arrived.unlink()


def send_file(connection: socket.socket, path: Path) -> None:
    """Send the file, then end."""
    with path.open("rb") as file:
        connection.sendfile(file)


def sort_lines(connection: socket.socket, _: Path) -> None:
    """Answer like `sort`: it cannot say a word before it has seen the end of its input."""
    lines = read_until_end(connection).split()
    connection.sendall(b" ".join(sorted(lines)))


def serve_target(story: Callable[[socket.socket, Path], None], path: Path) -> socket.socket:
    """Listen on a free port; every connection gets a thread that lives through the story."""
    listener = socket.create_server((LOOPBACK, 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            story(connection, path)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the listener was closed: the demonstration is over
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


# --- bytes ----------------------------------------------------------------------------------------


def read_until_end(connection: socket.socket) -> bytes:
    """Everything up to the peer's end."""
    with connection.makefile("rb") as stream:
        return stream.read()


def save_until_end(connection: socket.socket, path: Path) -> int:
    """Write everything up to the peer's end to a file; return how many bytes it was."""
    buffer = memoryview(bytearray(MIB))
    total = 0
    with path.open("wb", buffering=0) as file:
        while count := connection.recv_into(buffer):
            file.write(buffer[:count])
            total += count
    return total


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_random(path: Path, size: int) -> None:
    """Random bytes: nothing on the way can squeeze them."""
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB))


def connect(address: str) -> socket.socket:
    """A plain TCP connection, as any application makes it."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS)


# --- the story ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tunnel:
    """Both ends, where they answer HTTP, and the local address of each forward by its target's port."""

    server: Program
    client: Program
    server_api: str
    client_api: str
    forwards: dict[int, str]

    def ended(self, target: socket.socket) -> None:
        """Wait until both ends have logged the end of the connection to this target, and compare them."""
        name = f"{LOOPBACK}:{target.getsockname()[1]}"
        closed = [end.wait_for("connection_closed", target=name) for end in (self.client, self.server)]
        told = ("connection_id", "bytes_up", "bytes_down", "outcome")
        one, other = ({key: line.get(key) for key in told} for line in closed)
        check("both ends tell the same", one == other and one["outcome"] == "completed", str(one["outcome"]))

    def forward_to(self, target: socket.socket) -> str:
        """The local address that leads to this target."""
        return self.forwards[target.getsockname()[1]]


@contextmanager
def tunnel_to(targets: list[socket.socket]) -> Iterator[Tunnel]:
    """Start the server, then the client with one forward to each target, all on free ports."""
    ports = [target.getsockname()[1] for target in targets]
    any_port = f"{LOOPBACK}:0"
    with running("server", any_port, *(f"{LOOPBACK}:{port}" for port in ports)) as server:
        server_api = str(server.wait_for("server_listening")["listen"])
        urls = {f"ws://{server_api}/tunnel/{LOOPBACK}:{port}": port for port in ports}
        forwards = [argument for url in urls for argument in (any_port, url)]
        with running("client", any_port, *forwards) as client:
            listening = [client.wait_for("forward_listening") for _ in ports]
            addresses = {urls[str(line["url"])]: str(line["listen"]) for line in listening}
            client_api = str(client.wait_for("health_listening")["listen"])
            yield Tunnel(server, client, server_api, client_api, addresses)


def send_up(address: str, path: Path) -> None:
    """Send the file, end it, and compare the checksum that the target answers."""
    expected = sha256(path)
    began = time.monotonic()
    with connect(address) as connection:
        with path.open("rb") as file:
            connection.sendfile(file)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("r") as answer:
            received = int(answer.readline() or -1)
            seconds = time.monotonic() - began
            arrived = answer.read()
    check("bytes up", received == path.stat().st_size, f"{received} at {rate(received, seconds)}")
    check("SHA-256 at the target", arrived == expected, arrived)


def fetch_down(address: str, path: Path) -> None:
    """Fetch the target's file until its end, and compare the checksum."""
    arrived = path.with_suffix(".fetched")
    began = time.monotonic()
    with connect(address) as connection:
        received = save_until_end(connection, arrived)
    seconds = time.monotonic() - began
    check("bytes down", received == path.stat().st_size, f"{received} at {rate(received, seconds)}")
    check("SHA-256 here", sha256(arrived) == sha256(path), sha256(arrived))
    arrived.unlink()


def exchange_half_closed(tunnel: Tunnel, target: socket.socket) -> None:
    """Ask the sorting target, which answers only after our end: most tunnels lose this answer."""
    words = "half close is where tunnels break"
    with connect(tunnel.forward_to(target)) as connection:
        connection.sendall(words.encode())
        tunnel.server.wait_for("connection_opened")
        for end, address in ((tunnel.server, tunnel.server_api), (tunnel.client, tunnel.client_api)):
            print(f"  {paint(end.role, end.role)} /health {end.health(address)}")
        connection.shutdown(socket.SHUT_WR)
        print(f"  sent {words!r} and ended our direction")
        answer = read_until_end(connection).decode()
    check("answer after our end", answer == " ".join(sorted(words.split())), repr(answer))


def rate(size: int, seconds: float) -> str:
    """Bytes a second, for people."""
    return f"{size / seconds / MIB:,.0f} MiB/s"


def show_tunnel(size_mib: int, folder: Path) -> None:
    """Tell the whole story; raises DemoError where it goes wrong."""
    path = folder / "file"
    write_random(path, size_mib * MIB)
    upload, download, sorter = (serve_target(story, path) for story in (receive_file, send_file, sort_lines))
    with upload, download, sorter:
        step("A server that may reach three targets, and a client with a forward to each")
        with tunnel_to([upload, download, sorter]) as tunnel:
            step(f"A file of {size_mib} MiB up, through the tunnel")
            send_up(tunnel.forward_to(upload), path)
            tunnel.ended(upload)
            step("The same file down")
            fetch_down(tunnel.forward_to(download), path)
            tunnel.ended(download)
            step("A half-closed exchange, and /health while it is open")
            exchange_half_closed(tunnel, sorter)
            tunnel.ended(sorter)
            step("SIGTERM: both ends drain and exit with 0")
    print(f"  {paint('good', 'ok ')} both ended with exit code 0", flush=True)


def main() -> int:
    """Run the demonstration in a folder of its own; return the exit code."""
    parser = argparse.ArgumentParser(description="A tunnel to watch.")
    parser.add_argument("--size-mib", type=int, default=256, help="size of the file (default 256)")
    size_mib = parser.parse_args().size_mib
    folder = Path(tempfile.mkdtemp(prefix="sokken-demo-"))
    began = time.monotonic()
    try:
        show_tunnel(size_mib, folder)
    except (DemoError, OSError) as error:
        print(f"\n{paint('bad', 'The demonstration failed')}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder)
    print(f"\nAll of it in {time.monotonic() - began:.1f} s. Where to read on: README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
