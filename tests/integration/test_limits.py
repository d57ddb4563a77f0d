"""Too many connections: refused in words and never at the cost of the others, and descriptors that run out."""

import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.black_holes import black_hole
from tests.support.health import ask, connections, everything_is_freed
from tests.support.programs import client, server
from tests.support.targets import connect, echo, eventually, is_reset, receive_exactly, reset, target
from tests.support.wire import open_tunnel

SOON = 3.0
LOOPS = ["asyncio", "uvloop"]
AT_ONCE = {"SOKKEN_CONNECT_TIMEOUT_SECONDS": "1"}  # a full server asks for a second: more than is left, so no retry
DESCRIPTORS = 64
EXISTING = 8
MOST_CPU = 0.3  # seconds of a second


def talk(*applications):
    for application in applications:
        application.sendall(b"hello")
        assert receive_exactly(application, 5) == b"hello"


def is_rejected(entry):
    try:
        with connect(entry) as application:
            return is_reset(application, SOON)
    except ConnectionResetError:  # as early as that
        return True


def ask_for_tunnel(far, to):
    answer, wire = open_tunnel(far.api, "/tunnel/{}:{}".format(*to))
    wire.sock.close()
    return answer


def test_a_full_server_refuses_and_goes_on():
    with ExitStack() as stack:
        to = stack.enter_context(target(echo))
        far = stack.enter_context(server(to, options=["-max-connections", "2"]))
        near = stack.enter_context(client(far.url(to), env=AT_ONCE))
        with everything_is_freed(far, near):
            first, second = (stack.enter_context(connect(near.entry)) for _ in range(2))
            talk(first, second)
            refusal = ask_for_tunnel(far, to)
            assert (refusal.status, refusal.fields["sokken-reason"]) == (429, "server_full")
            assert int(refusal.fields["retry-after"]) >= 1
            with connect(near.entry) as third:
                assert is_reset(third, SOON)
            failed = near.program.wait_for("connection_failed")
            assert (failed["outcome"], failed["level"]) == ("server_full", "warning")
            assert failed["peer"]
            talk(first, second)
            assert connections(far.api) == 2

            first.close()
            far.program.wait_for("connection_closed")
            with connect(near.entry) as fourth:
                talk(fourth, second)
            second.close()
        assert len(near.program.events("connection_failed")) == 1


def test_a_full_client_resets_and_goes_on():
    with ExitStack() as stack:
        to = stack.enter_context(target(echo))
        far = stack.enter_context(server(to))
        near = stack.enter_context(client(far.url(to), options=["-max-connections", "2"]))
        with everything_is_freed(far, near):
            first, second = (stack.enter_context(connect(near.entry)) for _ in range(2))
            talk(first, second)
            assert all(is_rejected(near.entry) for _ in range(20))
            near.program.wait_for("connection_failed", 20, outcome="client_full")
            talk(first, second)

            first.close()
            near.program.wait_for("connection_closed")
            with connect(near.entry) as fourth:
                talk(fourth, second)
            second.close()
        assert len(near.program.events("connection_failed")) == 20
        far.program.wait_for("connection_closed", 3)
        assert len(far.program.events("connection_opened")) == 3, "the server was asked for those, too"


def test_a_dial_that_hangs_takes_a_slot_and_a_client_that_goes_gives_it_back():
    with ExitStack() as stack:
        to, hole = stack.enter_context(target(echo)), stack.enter_context(black_hole())
        far = stack.enter_context(server(to, hole, options=["-max-connections", "1"]))
        near = stack.enter_context(client(far.url(hole), far.url(to)))
        with everything_is_freed(far, near, seconds=SOON):
            waiting = stack.enter_context(connect(near.entries[0]))
            eventually(lambda: connections(far.api) == 1)
            assert connections(near.api) == 1
            assert ask_for_tunnel(far, to).status == 429
            with connect(near.entries[1]) as other:  # asks again until there is room
                reset(waiting)
                near.program.wait_for("connection_failed", outcome="local_gave_up", seconds=SOON)
                talk(other)
        assert not far.program.events("connection_refused", reason="target_timeout")


def test_a_server_without_a_descriptor_for_the_target_is_full_for_a_moment():
    with ExitStack() as stack:
        to = stack.enter_context(target(echo))
        limited = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"]
        far = stack.enter_context(server(to, prefix=limited))
        near = stack.enter_context(client(far.url(to)))
        with everything_is_freed(far, near), ExitStack() as surplus:
            while (taken := far.program.descriptors()) < DESCRIPTORS - 1:
                surplus.enter_context(connect(far.api)).sendall(b"G")  # one that says nothing is not accepted at once
                eventually(lambda taken=taken: far.program.descriptors() > taken, SOON)
            refusal = ask_for_tunnel(far, to)
            assert (refusal.status, refusal.fields["sokken-reason"]) == (429, "server_full")
            application = stack.enter_context(connect(near.entry))
            far.program.wait_for("connection_refused", 2, reason="server_full")
            surplus.close()
            talk(application)
            application.close()


def cpu_seconds(program):
    fields = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime (proc(5))


def assert_it_does_not_spin(program):
    before = cpu_seconds(program)
    time.sleep(1)  # the second that is measured
    assert cpu_seconds(program) - before < MOST_CPU


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_without_descriptors_waits_for_them(loop):
    with ExitStack() as stack:
        to = stack.enter_context(target(echo))
        far = stack.enter_context(server(to, env={"SOKKEN_EVENT_LOOP": loop}))
        limited = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"]
        near = stack.enter_context(client(far.url(to), env={"SOKKEN_EVENT_LOOP": loop}, prefix=limited))
        with everything_is_freed(far, near):
            existing = [stack.enter_context(connect(near.entry)) for _ in range(EXISTING)]
            talk(*existing)
            surplus = [stack.enter_context(connect(near.entry)) for _ in range(2 * DESCRIPTORS)]
            near.program.wait_for("accept_paused")
            assert_it_does_not_spin(near.program)
            talk(*existing)
            for application in surplus:
                reset(application)
            with connect(near.entry) as later:
                talk(later)
            assert ask(near.api, "/health") == 200
            talk(*existing)
            for application in existing:
                application.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_without_descriptors_waits_for_them(loop):
    with ExitStack() as stack:
        to = stack.enter_context(target(echo))
        limited = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}"]
        far = stack.enter_context(server(to, env={"SOKKEN_EVENT_LOOP": loop}, prefix=limited))
        near = stack.enter_context(client(far.url(to), env={"SOKKEN_EVENT_LOOP": loop}))
        with everything_is_freed(far, near):
            existing = [stack.enter_context(connect(near.entry)) for _ in range(EXISTING)]
            talk(*existing)
            surplus = [stack.enter_context(connect(far.api)) for _ in range(2 * DESCRIPTORS)]
            far.program.wait_for("accept_paused")
            assert_it_does_not_spin(far.program)
            talk(*existing)
            for sock in surplus:
                sock.close()
            with connect(near.entry) as later:
                talk(later)
            talk(*existing)
            for application in existing:
                application.close()
