import asyncio
import errno
import itertools
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from sokken.errors import ConfigurationError
from sokken.protocol.address import Address, parse_listen_address
from sokken.transport import listen
from sokken.transport.listen import BATCH, Listener, bind, bound_address, format_peer
from tests.support.loops import LOOPS, run, soon
from tests.support.targets import PATIENCE, connect, eventually, reset

every_loop = pytest.mark.parametrize("loop", LOOPS)


class Bound:
    """Sockets that are closed at the end."""

    def __init__(self, text: str) -> None:
        self.asked = parse_listen_address(text)
        self.sockets = bind(self.asked, "API_ADDR")

    @property
    def port(self) -> int:
        return bound_address(self.sockets, self.asked).port

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in self.sockets:
            sock.close()


def assert_answers(host: str, port: int) -> None:
    with socket.create_connection((host, port), PATIENCE) as sock:
        assert sock.getpeername()[1] == port


# Binding


def test_no_host_is_every_interface_with_one_port():
    with Bound(":0") as bound:
        assert str(bound_address(bound.sockets, bound.asked)) == f":{bound.port}"
        assert_answers("127.0.0.1", bound.port)
        assert_answers("::1", bound.port)
        assert_answers(socket.gethostbyname("localhost"), bound.port)


@pytest.mark.parametrize(("text", "family"), [("127.0.0.1:0", socket.AF_INET), ("[::1]:0", socket.AF_INET6)])
def test_an_address_is_that_alone(text, family):
    with Bound(text) as bound:
        assert [sock.family for sock in bound.sockets] == [family]
        assert_answers(bound.asked.host, bound.port)
        other = "::1" if family == socket.AF_INET else "127.0.0.1"
        with pytest.raises(ConnectionRefusedError):
            assert_answers(other, bound.port)


def test_every_address_of_a_name_has_the_same_port():
    with Bound("localhost:0") as bound:
        assert str(bound_address(bound.sockets, bound.asked)) == f"localhost:{bound.port}"
        for found in socket.getaddrinfo("localhost", bound.port, type=socket.SOCK_STREAM):
            assert_answers(*found[4][:2])


def test_a_port_that_was_used_a_moment_ago_is_free():
    with Bound("127.0.0.1:0") as bound:
        port = bound.port
        with connect(("127.0.0.1", port)):
            bound.sockets[0].accept()[0].close()  # this side ends first, and would wait for a minute
    with Bound(f"127.0.0.1:{port}"):
        assert_answers("127.0.0.1", port)


def test_what_is_accepted_is_made_for_a_relay():
    """It resets when it is closed, and so does that of a process that is killed."""
    with Bound("127.0.0.1:0") as bound, connect(("127.0.0.1", bound.port)), bound.sockets[0].accept()[0] as sock:
        assert struct.unpack("ii", sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)) == (1, 0)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


@contextmanager
def accepting(*, defers):
    """A listening socket, and when its connections were accepted."""
    [sock] = bind(parse_listen_address("127.0.0.1:0"), "API_ADDR", defers=defers)
    accepted = []
    with sock, ExitStack() as stack:

        def accept():
            with suppress(OSError):
                while True:
                    taken = stack.enter_context(sock.accept()[0])
                    accepted.append((time.monotonic(), taken))

        sock.setblocking(True)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield sock.getsockname(), accepted
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


@pytest.mark.parametrize("defers", [False, True])
def test_one_who_speaks_first_is_accepted_at_once(defers):
    with accepting(defers=defers) as (where, accepted), connect(where) as app:
        began = time.monotonic()
        app.sendall(b"hello")
        eventually(lambda: accepted)
        [(at, sock)] = accepted
        assert at - began < 0.5
        assert sock.recv(5) == b"hello"


def test_one_who_says_nothing_is_kept_back_for_a_second_or_so_and_then_accepted():
    with accepting(defers=True) as (where, accepted):
        began = time.monotonic()
        with connect(where) as app:
            eventually(lambda: accepted)
            [(at, sock)] = accepted
            assert 0.5 < at - began < 3
            app.sendall(b"late")
            assert sock.recv(4) == b"late"


def test_where_the_application_may_be_silent_it_is_not_kept_back():
    with accepting(defers=False) as (where, accepted):
        began = time.monotonic()
        with connect(where):
            eventually(lambda: accepted)
            assert accepted[0][0] - began < 0.5


def assert_error(text: str, problem: str) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ConfigurationError) as caught:
        bind(parse_listen_address(text), "forward ssh")
    assert str(caught.value) == f"forward ssh: cannot listen on {text}: {problem}"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("taken", ["127.0.0.1:{}", ":{}", "localhost:{}"])
def test_a_port_in_use(taken):
    with Bound("127.0.0.1:0") as bound:
        problem = "another program listens there; stop it or choose another port (0 for a free one)"
        assert_error(taken.format(bound.port), problem)


def test_an_address_of_another_host():
    assert_error("192.0.2.1:0", "this host has no such address; name one of its own, or none for all")


def test_a_name_that_does_not_resolve():
    with pytest.raises(ConfigurationError) as caught:
        bind(Address("nowhere.invalid", 0), "API_ADDR")
    message = str(caught.value)
    assert message.startswith("API_ADDR: cannot listen on nowhere.invalid:0: nowhere.invalid does not resolve (")
    assert message.endswith("); name an address of this host, or none for all")


def test_a_privileged_port():
    """As a user who is none of the privileged, on a system that has privileged ports."""
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    problem = "not allowed; ports below 1024 need a privilege, so choose a higher one than 80"
    assert listen._explain(PermissionError(errno.EACCES, "denied"), Address("127.0.0.1", 80)) == problem
    if first <= 1:
        return  # every port is everybody's here
    # The interpreter may lie where nobody else may look: it gives its privileges up when everything is loaded.
    program = """
import os
from sokken.errors import ConfigurationError
from sokken.protocol.address import Address
from sokken.transport.listen import bind
"loads what encodes names".encode("idna")
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    bind(Address("127.0.0.1", 1), "API_ADDR")
except ConfigurationError as error:
    print(error)
"""
    # Nor could it write down what it has covered.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=PATIENCE, env=env)
    told = f"API_ADDR: cannot listen on 127.0.0.1:1: {problem.replace('80', '1')}\n"
    assert (done.stdout.decode(), done.stderr) == (told, b"")


@pytest.mark.parametrize(
    ("error", "words"),
    [(OSError(errno.EINVAL, "x"), "invalid argument"), (OSError("something odd"), "something odd")],
)
def test_other_errors_are_in_the_systems_words(error, words):
    assert listen._explain(error, Address("", 80)) == words


def test_a_host_without_ipv6_listens_on_ipv4(monkeypatch):
    """Made up: this host has both."""
    real = socket.socket

    def only_four(family, *rest):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest)

    monkeypatch.setattr(listen.socket, "socket", only_four)
    bound = Bound(":0")
    monkeypatch.undo()
    with bound:
        assert [sock.family for sock in bound.sockets] == [socket.AF_INET]
        assert_answers("127.0.0.1", bound.port)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("192.0.2.1", 22), "192.0.2.1:22"),
        (("2001:db8::1", 22, 0, 0), "[2001:db8::1]:22"),
        (("::ffff:192.0.2.1", 22, 0, 0), "192.0.2.1:22"),
        (("::1", 22, 0, 0), "[::1]:22"),
    ],
)
def test_a_peer_is_written_as_what_it_is(address, text):
    assert format_peer(address) == text


# Accepting


class Accepted:
    """Takes what a listener accepts."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.peers: list[str] = []

    def __call__(self, sock: socket.socket, peer: str) -> None:
        self.sockets.append(sock)
        self.peers.append(peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for sock in self.sockets:
            sock.close()


@every_loop
def test_connections_are_accepted_on_every_socket(loop):
    async def main():
        with Accepted() as accepted, ExitStack() as stack:
            sockets = bind(Address("localhost", 0), "API_ADDR")
            where = [sock.getsockname()[:2] for sock in sockets]
            listener = Listener(asyncio.get_running_loop(), sockets, accepted)
            assert repr(listener).startswith("<Listener accepting [")
            ours = [stack.enter_context(connect(address)) for address in where * 3]
            await soon(lambda: len(accepted.sockets) == len(ours))
            assert set(accepted.peers) == {format_peer(sock.getsockname()) for sock in ours}
            assert not any(sock.getblocking() for sock in accepted.sockets)
            listener.close()
            assert repr(listener) == "<Listener closed []>"
            for address in where:
                with pytest.raises(ConnectionRefusedError):
                    connect(address)

    run(main(), loop)


@every_loop
def test_a_crowd_is_taken_in_batches_and_others_have_their_turn(loop):
    async def main():
        with Accepted() as accepted, ExitStack() as stack:
            sockets = bind(Address("127.0.0.1", 0), "API_ADDR")
            where = sockets[0].getsockname()
            for _ in range(3 * BATCH):
                stack.enter_context(connect(where))
            turns = []
            listener = Listener(asyncio.get_running_loop(), sockets, accepted)
            while len(accepted.sockets) < 3 * BATCH:
                turns.append(len(accepted.sockets))
                await asyncio.sleep(0)
            steps = {after - before for before, after in itertools.pairwise(turns)}
            assert max(steps) == BATCH
            listener.close()

    run(main(), loop)


@every_loop
def test_closing_takes_what_waits_already(loop):
    async def main():
        with Accepted() as accepted, ExitStack() as stack:
            sockets = bind(Address("127.0.0.1", 0), "API_ADDR")
            where = sockets[0].getsockname()
            listener = Listener(asyncio.get_running_loop(), sockets, accepted)
            ours = [stack.enter_context(connect(where)) for _ in range(BATCH + 5)]
            listener.close()
            assert len(accepted.sockets) == len(ours)
            for sock in accepted.sockets:
                sock.sendall(b"taken")
            assert [sock.recv(5) for sock in ours] == [b"taken"] * len(ours)

    run(main(), loop)


@every_loop
def test_who_has_gone_again_disturbs_nobody(loop):
    async def main():
        with Accepted() as accepted, ExitStack() as stack:
            sockets = bind(Address("127.0.0.1", 0), "API_ADDR")
            where = sockets[0].getsockname()
            for _ in range(5):
                reset(connect(where))
                stack.enter_context(connect(where))
            listener = Listener(asyncio.get_running_loop(), sockets, accepted)
            await soon(lambda: len(accepted.sockets) >= 5)
            listener.close()

    run(main(), loop)


@every_loop
def test_without_descriptors_accepting_pauses_and_goes_on(loop):
    """In a program of its own: this one needs its descriptors."""
    program = """
import asyncio, os, resource, socket, sys, uvloop
from sokken.protocol.address import Address
from sokken.transport.listen import PAUSE_SECONDS, Listener, bind

async def main():
    loop = asyncio.get_running_loop()
    sockets, accepted = bind(Address("127.0.0.1", 0), "API_ADDR"), []
    ours = [socket.create_connection(sockets[0].getsockname()) for _ in range(8)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 2, 4096))
    spare = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    calls = 0

    class Counting(Listener):
        def _accept(self, listening):
            nonlocal calls
            calls += 1
            return super()._accept(listening)

    listener = Counting(loop, sockets, lambda sock, peer: accepted.append(sock))
    await asyncio.sleep(PAUSE_SECONDS * 2.5)
    print(len(accepted), calls <= 4, repr(listener).split()[1])
    for descriptor in spare:
        os.close(descriptor)
    for sock in ours[5:]:
        sock.close()
    while len(accepted) < 3:
        await asyncio.sleep(0.01)
    accepted[0].send(b"hello")
    print(ours[0].recv(5))
    for sock in accepted:
        sock.close()
    listener.close()
    print(repr(listener))

factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[sys.argv[1]]
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", program, loop], check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    lines = done.stdout.splitlines()
    assert lines == ["0 True paused", "b'hello'", "<Listener closed []>"]
    assert '"event":"accept_paused"' in done.stderr
    assert "Too many open files" in done.stderr
    assert "Traceback" not in done.stderr
