import pytest

from sokken.protocol.address import parse_target
from sokken.protocol.outcomes import Reason, Refusal
from sokken.server.admission import Admission
from sokken.transport.connections import Connection, Connections

ALLOWED = ["127.0.0.1:22", "db.example.org:5432", "[2001:db8::1]:22", "[fe80::1%eth0]:22"]


@pytest.fixture
def connections():
    return Connections(1)


@pytest.fixture
def admission(connections):
    return Admission(map(parse_target, ALLOWED), connections)


def refused(admission: Admission, asked: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        admission.decide(asked)
    return caught.value


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("127.0.0.1:22", "127.0.0.1:22"),
        ("DB.Example.org:5432", "db.example.org:5432"),
        ("db.example.org.:5432", "db.example.org:5432"),
        ("[2001:DB8:0:0::0001]:22", "[2001:db8::1]:22"),
        ("[fe80::1%eth0]:22", "[fe80::1%eth0]:22"),
    ],
)
def test_an_allowed_target_in_any_spelling(admission, asked, target):
    assert str(admission.decide(asked)) == target


@pytest.mark.parametrize(
    "asked",
    [
        "127.0.0.1:23",
        "127.0.0.2:22",
        "db.example.org:22",
        "example.org:5432",
        "[::ffff:7f00:1]:22",
        "[fe80::1%eth1]:22",
        "[fe80::1]:22",
    ],
)
def test_any_other_target_is_forbidden(admission, asked):
    refusal = refused(admission, asked)
    assert (refusal.reason, refusal.status) == (Reason.FORBIDDEN_TARGET, 403)
    assert refusal.detail == f"{asked} is not an allowed target of this server"


@pytest.mark.parametrize(
    "asked", ["", "127.0.0.1", ":22", "127.0.0.1:0", "127.0.0.1%3A22", "%31:22", "a b:22", "x\0:22"]
)
def test_what_is_no_target_is_a_bad_request(admission, asked):
    refusal = refused(admission, asked)
    assert (refusal.reason, refusal.status) == (Reason.BAD_REQUEST, 400)
    assert refusal.detail.startswith("the path names no target: ")
    assert refusal.detail.isprintable()


def test_a_full_server_refuses_for_a_moment(admission, connections):
    connections.admit(Connection(connections, "id", None, "peer", None, {}))
    refusal = refused(admission, "127.0.0.1:22")
    assert (refusal.reason, refusal.status, refusal.retry_after) == (Reason.SERVER_FULL, 429, 1)
    assert refusal.detail == "this server has all the 1 connections that it may have"


def test_a_draining_server_refuses_whether_it_is_full_or_not(admission, connections):
    connections.go_away()
    assert refused(admission, "127.0.0.1:22").reason is Reason.DRAINING
    connections.admit(Connection(connections, "id", None, "peer", None, {}))
    refusal = refused(admission, "127.0.0.1:22")
    assert (refusal.reason, refusal.status, refusal.retry_after) == (Reason.DRAINING, 503, 1)


def test_what_is_forbidden_is_told_nothing_else(admission, connections):
    connections.admit(Connection(connections, "id", None, "peer", None, {}))
    connections.go_away()
    assert refused(admission, "127.0.0.1:23").reason is Reason.FORBIDDEN_TARGET
    assert refused(admission, "").reason is Reason.BAD_REQUEST


def test_it_tells_what_it_allows(admission):
    assert repr(admission) == (
        "<Admission ['127.0.0.1:22', '[2001:db8::1]:22', '[fe80::1%eth0]:22', 'db.example.org:5432']"
        " <Connections 0 of 1>>"
    )
