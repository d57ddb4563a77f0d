"""What is settled before bytes flow, between our programs and the original: checks, refusals, retries, silence."""

import pytest

from tests.support.ends import listening
from tests.support.original import original_client, original_server
from tests.support.programs import client, join, server
from tests.support.refused import meet_reset
from tests.support.targets import connect, receive_all, receive_exactly, reset


@pytest.fixture(scope="module")
def near():
    """Our client with forwards to originals: a small one, one that does not allow it, one whose target is not there."""
    with listening() as absent:
        pass
    with (
        listening() as target,
        original_server(join(target.address), max_connections=1) as small,
        original_server(join(absent.address)) as idle,
    ):
        where = [
            (small.address, target.address),
            (small.address, ("127.0.0.1", 1)),
            (idle.address, absent.address),
        ]
        urls = [f"ws://{join(server)}/tunnel/{join(target)}" for server, target in where]
        with client(*urls, options=("-log-debug",)) as started:
            started.program.wait_for("server_check_passed", 3)  # while the small one has room
            yield started, target


def test_its_check_counts_as_passed(near):
    program = near[0].program
    program.wait_for("server_check_passed", 3)
    assert program.events("server_check_failed") == []


def test_a_full_original_is_tried_again(near):
    program, target = near
    entry, *_ = program.entries
    with connect(entry) as first, target.accept() as theirs:
        first.sendall(b"x")
        assert theirs.recv(1) == b"x"
        with connect(entry) as second:
            second.sendall(b"patience")
            line = program.program.wait_for("connect_retry", 2)
            assert "429" in line["detail"]
            first.close()
            with target.accept() as theirs_too:
                assert receive_exactly(theirs_too, 8) == b"patience"


def test_a_target_that_it_does_not_allow_is_a_reset_and_the_reason_is_logged(near):
    program, _ = near
    meet_reset(program.entries[1])
    program.program.wait_for("connection_closed", close_code=1011, detail="target address not allowed")


def test_a_dead_target_behind_an_original_is_silence_that_the_application_can_leave(near):
    program, _ = near
    application = connect(program.entries[2])
    line = program.program.wait_for("connection_opened", server=program.program.events("forward_listening")[2]["url"])
    reset(application)
    program.program.wait_for("connection_closed", connection_id=line["connection_id"], outcome="local_reset")


def test_our_refusals_end_the_application_of_an_original():
    with (
        listening() as target,
        server(target.address, options=("-max-connections", "1")) as far,
        original_client(far.url(target.address)) as allowed,
        original_client(far.url(("127.0.0.1", 1))) as forbidden,
    ):
        with connect(forbidden.address) as application:
            assert receive_all(application) == b""
        far.program.wait_for("connection_refused", reason="forbidden_target")
        with connect(allowed.address), target.accept():
            far.program.wait_for("connection_opened")
            with connect(allowed.address) as application:
                assert receive_all(application) == b""
            far.program.wait_for("connection_refused", reason="server_full")
        far.program.wait_for("connection_closed")
        with connect(allowed.address) as application, target.accept() as theirs:
            application.sendall(b"x")
            assert theirs.recv(1) == b"x"
