"""Our programs with the original at the other end, in both roles.

"ours" is the plain TCP side of our program, "theirs" that of the original: the target and the application, or the
other way round. Our programs have one slot only, so that each test finds the slot of the one before free again.
"""

import contextlib
import hashlib
import os
import selectors
import socket
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from tests.support.ends import Listening, listening
from tests.support.floods import Flood, deliver, stall
from tests.support.original import Original, original_client, original_server
from tests.support.programs import Line, Program, client, join, server
from tests.support.targets import (
    connect,
    eventually,
    receive_all,
    receive_exactly,
    reset,
    wait_until_writable_stalls,
    was_reset,
)

ONE = ("-max-connections", "1")
VARIANTS = {
    f"{theirs} on {loop}": (theirs, {"SOKKEN_EVENT_LOOP": loop})
    for theirs in ("original client", "original server")
    for loop in ("asyncio", "uvloop")
}


@dataclass
class Mixed:
    """A tunnel between one of our programs and an original."""

    program: Program
    original: Original
    entry: tuple[str, int]
    target: Listening
    is_ours_first: bool
    """Whether the application connects to our program, and the original to the target."""
    latest: str = ""
    """The connection id of the latest one."""

    def open(self):
        """A connection through both: our side, and theirs."""
        known = len(self.program.events("connection_opened"))
        application = connect(self.entry)
        target = self.target.accept()
        self.latest = self.program.wait_for("connection_opened", known + 1)["connection_id"]
        return (application, target) if self.is_ours_first else (target, application)

    def closed(self, **fields) -> Line:
        """The line about the end of the latest one, which must have these fields."""
        line = self.program.wait_for("connection_closed", connection_id=self.latest)
        assert {name: line.get(name) for name in fields} == fields
        return line

    @property
    def plumbing(self):
        # Not just the last one: the client's check of its server is a connection, too.
        return next(found for found in reversed(self.original.plumbings) if found.is_tunnel)


@contextmanager
def mixed_with_original_client(env):
    with (
        listening() as target,
        server(target.address, options=ONE, env=env) as far,
        original_client(far.url(target.address)) as near,
    ):
        yield Mixed(far.program, near, near.address, target, is_ours_first=False)


@contextmanager
def mixed_with_original_server(env):
    with listening() as target, original_server(join(target.address)) as far:
        url = f"ws://{join(far.address)}/tunnel/{join(target.address)}"
        with client(url, options=ONE, env=env) as near:
            yield Mixed(near.program, far, near.entry, target, is_ours_first=True)


MAKE = {"original client": mixed_with_original_client, "original server": mixed_with_original_server}


@pytest.fixture(scope="module")
def all_mixed():
    with ExitStack() as stack:
        yield {name: stack.enter_context(MAKE[theirs](env)) for name, (theirs, env) in VARIANTS.items()}


@pytest.fixture(params=VARIANTS)
def mixed(request, all_mixed):
    return all_mixed[request.param]


@pytest.fixture
def opened(mixed):
    """Both sides of a connection; afterwards it must have ended."""
    with ExitStack() as stack:
        yield [stack.enter_context(sock) for sock in mixed.open()]
    mixed.closed()


def digest_all(sock, size):
    seen = hashlib.sha256()
    while size:
        data = sock.recv(min(size, 65536))
        assert data
        seen.update(data)
        size -= len(data)
    return seen.digest()


def test_many_megabytes_both_ways_at_once(mixed, opened):
    payloads = {id(sock): os.urandom(12_000_000) for sock in opened}
    writers = [threading.Thread(target=sock.sendall, args=(payloads[id(sock)],)) for sock in opened]
    seen = {}
    ours, theirs = opened
    readers = [
        threading.Thread(target=lambda: seen.update(ours=digest_all(ours, 12_000_000))),
        threading.Thread(target=lambda: seen.update(theirs=digest_all(theirs, 12_000_000))),
    ]
    for thread in writers + readers:
        thread.start()
    for thread in writers + readers:
        thread.join()
    assert seen["theirs"] == hashlib.sha256(payloads[id(ours)]).digest()
    assert seen["ours"] == hashlib.sha256(payloads[id(theirs)]).digest()
    assert mixed.plumbing.largest_message == 32768  # the most that an original takes, and no less when there is more
    ours.close()
    line = mixed.closed(outcome="completed", close_code=1000)
    assert (line["bytes_up"], line["bytes_down"]) == (12_000_000, 12_000_000)


def test_small_messages_both_ways(opened):
    ours, theirs = opened
    for number in range(200):
        ours.sendall(b"question %3d" % number)
        assert receive_exactly(theirs, 12) == b"question %3d" % number
        theirs.sendall(b"answer %3d" % number)
        assert receive_exactly(ours, 10) == b"answer %3d" % number


def test_an_end_of_our_side_comes_after_all_its_bytes_and_ends_both(mixed, opened):
    ours, theirs = opened
    payload = os.urandom(3_000_000)
    writer = threading.Thread(target=lambda: (ours.sendall(payload), ours.shutdown(socket.SHUT_WR)))
    writer.start()
    assert receive_all(theirs) == payload
    writer.join()
    assert receive_all(ours) == b""
    mixed.closed(outcome="completed", close_code=1000)


def test_an_end_of_their_side_comes_after_all_its_bytes_and_ends_both(mixed, opened):
    ours, theirs = opened
    payload = os.urandom(3_000_000)
    writer = threading.Thread(target=lambda: (theirs.sendall(payload), theirs.shutdown(socket.SHUT_WR)))
    writer.start()
    assert receive_all(ours) == payload
    writer.join()
    assert receive_all(theirs) == b""
    ours.close()
    mixed.closed(outcome="completed", close_code=1000)


def test_an_end_of_both_sides_at_once(mixed, opened):
    ours, theirs = opened
    for sock in opened:
        sock.shutdown(socket.SHUT_WR)
    assert receive_all(ours) == receive_all(theirs) == b""
    mixed.closed(outcome="completed", close_code=1000)


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_an_end_while_the_other_side_takes_nothing_loses_nothing(mixed, opened, first):
    ours, theirs = opened
    flood = Flood(0, ours, theirs) if first == "ours" else Flood(0, theirs, ours)
    stall([flood], quiet=0.3)
    deliver([flood])
    ours.close()
    mixed.closed(outcome="completed", close_code=1000)


def test_an_end_of_our_side_against_a_flood_from_theirs(mixed, opened):
    ours, theirs = opened
    flood = Flood(0, theirs, ours)
    stall([flood], quiet=0.3)
    ours.shutdown(socket.SHUT_WR)
    with selectors.DefaultSelector() as selector:
        selector.register(ours, selectors.EVENT_READ)
        while selector.select(20) and flood.receive():
            pass  # what comes is right to the byte, up to an end and not a reset
    assert 0 < flood.read <= flood.written
    ours.close()
    mixed.closed(outcome="completed", close_code=1000)


def test_a_reset_of_our_side_ends_theirs(mixed, opened):
    ours, theirs = opened
    reset(ours)
    assert receive_all(theirs) == b""  # an original knows no reset
    mixed.closed(outcome="local_reset", close_code=1011)


def test_a_reset_of_their_side_ends_ours(mixed, opened):
    ours, theirs = opened
    theirs.sendall(b"x")
    assert receive_exactly(ours, 1) == b"x"
    reset(theirs)
    assert receive_all(ours) == b""  # an original closes as it does at an end
    ours.close()
    mixed.closed(outcome="completed", close_code=1000)


def test_a_reset_of_our_side_while_theirs_takes_nothing(mixed, opened):
    ours, theirs = opened
    wait_until_writable_stalls(ours, seconds=0.3)
    reset(ours)
    mixed.closed(outcome="local_reset")
    while theirs.recv(65536):
        pass


def test_early_resets_leave_nothing_behind(mixed):
    def count_ends():
        mixed.target.has_waiting()  # a target that knows its manners closes what has ended
        events = ("connection_closed", "connection_failed", "connection_refused", "connection_abandoned")
        return sum(len(mixed.program.events(event)) for event in events)

    known = count_ends()
    for _ in range(5):
        with contextlib.suppress(ConnectionResetError):  # ours is full, and may be quicker than connect()
            reset(connect(mixed.entry))
    eventually(lambda: count_ends() == known + 5)
    while mixed.target.has_waiting():
        pass
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(sock) for sock in mixed.open())
        ours.sendall(b"x")
        assert receive_exactly(theirs, 1) == b"x"
    mixed.closed(outcome="completed")


def test_an_original_that_is_gone_resets_our_side(mixed, opened):
    ours, _ = opened
    mixed.plumbing.break_off()
    assert was_reset(ours)
    mixed.closed(outcome="peer_lost", close_code=None)
