"""Who is let in: by what is asked for, by the addresses it leads to, and within the limits."""

import asyncio
import socket
from contextlib import contextmanager

import pytest

from sokken.protocol.address import Address, parse_target
from sokken.protocol.identity import ANONYMOUS, Identity
from sokken.protocol.outcomes import Reason, Refusal
from sokken.protocol.policy import policy_of_targets
from sokken.protocol.policy_document import build_policy
from sokken.server.admission import Admission
from sokken.server.policy_file import open_policy
from sokken.transport.connections import Connection, Connections

ME = Identity("me", "token")
YOU = Identity("you", "token")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def policy(*rules):
    return build_policy(
        {"rules": [{"action": "allow", "identities": ["*"], "targets": ["*:*"]} | rule for rule in rules]}
    )


def admission(*rules, limit=100, **options):
    connections = Connections(limit)
    return Admission(policy(*rules) if rules else policy_of_targets([Address("a", 1)]), connections, **options)


def found(*addresses):
    """Answers of a resolver."""
    return [
        (socket.AF_INET6 if ":" in text else socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 1)) for text in addresses
    ]


def connect(gate, asked, identity=ME, *addresses):
    """Let a connection in, as far as it is dialled; the connection, and what may be dialled."""
    admitted = gate.decide(asked, identity)
    connection = Connection(gate._connections, "id", None, "peer", admitted.target, {}, identity=identity)
    gate._connections.admit(connection)
    try:
        passed = gate.check_addresses(admitted, found(*(addresses or ("8.8.8.8",))))
    except Refusal:
        gate._connections.release(connection)
        raise
    return connection, [answer[4][0] for answer in passed], admitted


@contextmanager
def refused(reason):
    with pytest.raises(Refusal) as caught:
        yield caught
    assert caught.value.reason is reason


# ------------------------------------------------------------------------------------------ by what is asked
LISTED = ["127.0.0.1:22", "db.example.org:5432", "[2001:db8::1]:22", "[fe80::1%eth0]:22"]


def listing():
    return Admission(policy_of_targets(map(parse_target, LISTED)), Connections(1))


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
def test_a_listed_target_in_any_spelling(asked, target):
    assert str(listing().decide(asked, ANONYMOUS).target) == target


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
def test_any_target_that_is_not_listed_is_forbidden(asked):
    with refused(Reason.FORBIDDEN_TARGET) as caught:
        listing().decide(asked, ANONYMOUS)
    assert caught.value.status == 403
    assert caught.value.detail == f"{asked} is not an allowed target of this server"


@pytest.mark.parametrize(
    "asked", ["", "127.0.0.1", ":22", "127.0.0.1:0", "127.0.0.1%3A22", "%31:22", "a b:22", "x\0:22"]
)
def test_what_is_no_target_is_a_bad_request(asked):
    with refused(Reason.BAD_REQUEST) as caught:
        listing().decide(asked, ANONYMOUS)
    assert caught.value.status == 400
    assert caught.value.detail.startswith("the path names no target: ")
    assert caught.value.detail.isprintable()


def test_a_forbidden_target_says_why_only_to_this_end():
    with refused(Reason.FORBIDDEN_TARGET) as caught:
        admission({"action": "deny", "name": "secret rule"}).decide("a:1", ME)
    assert caught.value.detail == "a:1 is not an allowed target of this server"
    assert caught.value.cause == "rule 1 (secret rule) denies it"
    assert "secret rule" not in str(caught.value)


def test_what_is_forbidden_is_said_before_what_is_full():
    gate = admission(limit=0)
    gate._connections.is_draining = True
    with refused(Reason.FORBIDDEN_TARGET):
        gate.decide("b:1", ANONYMOUS)
    with refused(Reason.DRAINING) as caught:
        gate.decide("a:1", ANONYMOUS)
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    gate._connections.is_draining = False
    with refused(Reason.SERVER_FULL) as caught:
        gate.decide("a:1", ANONYMOUS)
    assert (caught.value.status, caught.value.retry_after) == (429, 1)
    assert caught.value.detail == "this server has all the 0 connections that it may have"


def test_the_simple_form_lets_a_name_lead_anywhere():
    _, passed, admitted = connect(admission(), "A:1", ANONYMOUS, "127.0.0.1", "::1", "169.254.169.254")
    assert passed == ["127.0.0.1", "::1", "169.254.169.254"]
    assert admitted.limits.idle_seconds is None


# --------------------------------------------------------------------------------------------- by addresses
def test_of_mixed_answers_only_the_allowed_ones_are_dialled():
    gate = admission({"action": "deny", "targets": ["10.0.0.0/8:*"]}, {"targets": ["*.example.com:443"]})
    _, passed, _ = connect(gate, "a.example.com:443", ME, "10.0.0.1", "8.8.8.8", "::ffff:10.0.0.2", "127.0.0.1", "::1")
    assert passed == ["8.8.8.8"]


def test_if_no_address_is_left_the_target_is_forbidden():
    gate = admission({"targets": ["*.example.com:443"]})
    with refused(Reason.FORBIDDEN_TARGET) as caught:
        connect(gate, "a.example.com:443", ME, "169.254.169.254", "::1")
    assert caught.value.cause == "169.254.169.254 is an address of cloud metadata, which rule 1 does not name"
    assert "169.254" not in caught.value.detail


def test_the_rule_of_the_first_address_is_the_connection_s():
    gate = admission(
        {"targets": ["10.0.0.0/8:*"], "limits": {"idle_seconds": 5}},
        {"targets": ["8.0.0.0/8:*"], "limits": {"idle_seconds": 7}},
    )
    assert gate.decide("a:1", ME).limits.idle_seconds == 5
    _, _, admitted = connect(gate, "a:1", ME, "9.9.9.9", "8.8.8.8", "10.0.0.1")
    assert admitted.limits.idle_seconds == 7


# -------------------------------------------------------------------------------------------------- limits
def test_an_identity_has_so_many_connections_to_whatever():
    gate = admission({"limits": {"connections_per_identity": 2}})
    first, _, _ = connect(gate, "a:1")
    connect(gate, "b:1")
    for _ in range(2):
        with refused(Reason.CLIENT_FULL) as caught:
            gate.decide("c:1", ME)
        assert caught.value.status == 429
        assert caught.value.retry_after == 1
    connect(gate, "c:1", YOU)
    gate._connections.release(first)
    gate._connections.release(first)
    connect(gate, "c:1")
    with refused(Reason.CLIENT_FULL):
        connect(gate, "d:1")


def test_a_target_has_so_many_connections_of_whomever():
    gate = admission({"limits": {"connections_per_target": 2}})
    first, _, _ = connect(gate, "a:1")
    connect(gate, "a:1", YOU)
    with refused(Reason.TARGET_FULL) as caught:
        connect(gate, "a:1", ANONYMOUS)
    assert caught.value.retry_after == 1
    connect(gate, "a:2")
    gate._connections.release(first)
    connect(gate, "a:1", ANONYMOUS)


def test_limits_of_a_rule_that_only_the_address_tells():
    gate = admission(
        {"targets": ["10.0.0.0/8:*"]},
        {"targets": ["8.0.0.0/8:*"], "limits": {"connections_per_identity": 1, "connections_per_target": 1}},
    )
    connect(gate, "a:1")
    with refused(Reason.CLIENT_FULL):
        connect(gate, "a:1")
    with refused(Reason.TARGET_FULL):
        connect(gate, "a:1", YOU)
    connect(gate, "a:1", ME, "10.0.0.1")


def test_an_identity_opens_so_many_a_second():
    clock = Clock()
    gate = admission({"limits": {"rate_per_second": 2}}, clock=clock)
    connect(gate, "a:1")
    connect(gate, "b:1")
    with refused(Reason.RATE_LIMITED) as caught:
        connect(gate, "a:1")
    assert caught.value.retry_after == 1
    connect(gate, "a:1", YOU)
    clock.now += 0.5
    connect(gate, "a:1")
    with refused(Reason.RATE_LIMITED):
        gate.decide("a:1", ME)


def test_a_slow_rate_says_how_long_to_wait():
    clock = Clock()
    gate = admission({"targets": ["9.0.0.0/8:*"]}, {"limits": {"rate_per_second": 0.1}}, clock=clock)
    connect(gate, "a:1")
    clock.now += 2.5
    with refused(Reason.RATE_LIMITED) as caught:
        connect(gate, "a:1")
    assert caught.value.retry_after == 8


def test_a_check_takes_nothing():
    gate = admission({"limits": {"rate_per_second": 1, "connections_per_identity": 1}}, clock=Clock())
    for _ in range(5):
        gate.decide("a:1", ME)
    connect(gate, "a:1")


# ---------------------------------------------------------------------------------------- rate of an address
def test_an_address_asks_so_many_times_a_second():
    clock = Clock()
    gate = admission(rate_per_address=2, clock=clock)
    gate.greet("192.0.2.1:1000")
    gate.greet("192.0.2.1:2000")
    with refused(Reason.RATE_LIMITED) as caught:
        gate.greet("192.0.2.1:3000")
    assert caught.value.retry_after == 1
    gate.greet("192.0.2.2:1000")
    clock.now += 1
    gate.greet("192.0.2.1:3000")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[2001:db8::1]:1", "[2001:db8::ffff:1]:2"),
        ("[fe80::1%eth0]:1", "[fe80::2%eth0]:1"),
        ("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.1]:2"),
        ("somebody", "somebody"),
    ],
)
def test_who_counts_as_one_address(one, other):
    gate = admission(rate_per_address=1, clock=Clock())
    gate.greet(one)
    with refused(Reason.RATE_LIMITED):
        gate.greet(other)


def test_other_networks_are_others():
    gate = admission(rate_per_address=1, clock=Clock())
    for peer in ("[2001:db8::1]:1", "[2001:db8:0:1::1]:1", "192.0.2.1:1"):
        gate.greet(peer)


def test_without_a_rate_nothing_is_counted():
    gate = admission()
    for _ in range(1000):
        gate.greet("192.0.2.1:1")
    assert len(gate._addresses) == 0


# ------------------------------------------------------------------------------------------- a new policy
RULE = 'rules: [{action: %s, identities: ["*"], targets: ["*:*", "127.0.0.1:*"]}]'


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(RULE % "allow")
    return path


def change(file, watched):
    file.write_text(RULE % "deny")
    assert watched.look()


@pytest.fixture
def local():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        yield sock


def test_what_was_dialled_is_judged_again_if_the_policy_changed_meanwhile(file, local):
    watched = open_policy(file, ())
    gate = Admission(watched, Connections(5))
    _, _, admitted = connect(gate, "a:1", ME, "127.0.0.1")
    assert gate.confirm(admitted, local) == "127.0.0.1"
    change(file, watched)
    with refused(Reason.FORBIDDEN_TARGET):
        gate.confirm(admitted, local)


def test_a_new_policy_that_allows_it_too_changes_nothing(file, local):
    watched = open_policy(file, ())
    gate = Admission(watched, Connections(5))
    _, _, admitted = connect(gate, "a:1", ME, "127.0.0.1")
    file.write_text(RULE % "allow" + " # again")
    assert watched.look()
    assert gate.confirm(admitted, local) == "127.0.0.1"


def test_a_list_of_targets_never_changes(local):
    gate = admission()
    connection, _, admitted = connect(gate, "a:1")
    assert gate.confirm(admitted, local) is None
    assert gate.still_allows(connection)


def test_open_connections_are_judged_by_the_new_policy(file):
    watched = open_policy(file, ())
    gate = Admission(watched, Connections(5))
    connection, _, _ = connect(gate, "a:1", ME, "127.0.0.1")
    dialling, _, _ = connect(gate, "b:1", ME, "127.0.0.1")
    connection.dialled = "127.0.0.1"
    assert gate.still_allows(connection)
    change(file, watched)
    assert not gate.still_allows(connection)
    assert gate.still_allows(dialling)  # judged when it is confirmed


def test_a_decision_does_not_take_longer_with_more_connections():
    """Nothing is counted by going through the connections: the counts are kept."""

    async def count():
        gate = admission({"limits": {"connections_per_identity": 10**6}}, limit=10**6)
        for number in range(1000):
            connect(gate, f"a{number}:1", Identity(f"i{number % 7}", "token"))
        assert gate._connections.of_identity("i3") == len([n for n in range(1000) if n % 7 == 3])
        assert gate._connections.of_target(Address("a5", 1)) == 1
        for connection in gate._connections:
            gate._connections.release(connection)
        assert not gate._connections._of_identity
        assert not gate._connections._of_target

    asyncio.run(count())


def test_it_says_what_it_is():
    assert repr(admission()) == "<Admission <Policy of 1 rules> <Connections 0 of 100>>"
