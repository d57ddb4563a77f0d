"""Who may reach what: the order of rules, what stands above it, and what is denied unless it is named."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.address import Address, parse_target
from sokken.protocol.policy import (
    PROTECTED,
    UNMATCHED,
    Hosts,
    Identities,
    Policy,
    Rule,
    policy_of_targets,
    protections,
    read_address,
)
from sokken.protocol.policy_document import build_policy


def policy(*rules):
    """Of lines like ``allow team-* | a:1, b:2``."""
    documents = []
    for rule in rules:
        action, _, rest = rule.partition(" ")
        identities, _, targets = rest.partition(" | ")
        documents.append({"action": action, "identities": identities.split(", "), "targets": targets.split(", ")})
    return build_policy({"rules": documents})


def decide(rules, target, address=None, identity="me"):
    """The number of the rule, negative if it denies; 0 if there is none."""
    verdict = rules.judge(identity, parse_target(target), address and read_address(address))
    number = verdict.rule.number if verdict.rule else 0
    assert verdict.is_allowed <= bool(number)
    return number if verdict.is_allowed else -number


# ---------------------------------------------------------------------------------------------- the order
def test_what_no_rule_is_about_is_denied():
    assert policy("allow you | *:*").judge("me", Address("a", 1)) is UNMATCHED
    assert policy("allow me | a:1").judge("me", Address("b", 1), read_address("10.0.0.1")) is UNMATCHED


def test_the_first_rule_that_matches_decides():
    rules = policy("allow me | a:1", "deny me | a:1-5", "allow * | a:*")
    assert decide(rules, "a:1", "10.0.0.1") == 1
    assert decide(rules, "a:2", "10.0.0.1") == -2
    assert decide(rules, "a:6", "10.0.0.1") == 3
    assert decide(rules, "a:1", "10.0.0.1", identity="you") == 3


@pytest.mark.parametrize(
    ("pattern", "identity", "is_covered"),
    [
        ("me", "me", True),
        ("me", "me2", False),
        ("me", "Me", False),
        ("system:serviceaccount:shop:*", "system:serviceaccount:shop:web", True),
        ("system:serviceaccount:shop:*", "system:serviceaccount:shop2:web", False),
        ("*@example.com", "a@example.com", True),
        ("*@example.com", "a@example.com.evil", False),
        ("*", "anonymous", True),
    ],
)
def test_identities_are_anchored(pattern, identity, is_covered):
    rules = policy(f"allow {pattern} | a:1")
    assert (decide(rules, "a:1", identity=identity) == 1) is is_covered


@pytest.mark.parametrize(
    ("pattern", "target", "is_covered"),
    [
        ("*.example.com:443", "a.example.com:443", True),
        ("*.EXAMPLE.com.:443", "a.example.COM.:443", True),
        ("*.example.com:443", "a.example.com:444", False),
        ("*.example.com:443", "example.com:443", False),
        ("*.example.com:443", "a.example.com.evil.net:443", False),
        ("A.example.com:443", "a.example.com:443", True),
        ("a.example.com:440-450", "a.example.com:450", True),
        ("a.example.com:440-450", "a.example.com:451", False),
        ("*:22", "a:22", True),
        ("*:22", "8.8.8.8:22", True),
        ("*.e*:22", "8.8.8.8:22", False),
        ("8.8.0.0/16:22", "8.8.8.8:22", True),
        ("8.8.0.0/16:22", "[::ffff:8.8.8.8]:22", True),
        ("8.8.0.0/16:22", "8.9.8.8:22", False),
        ("8.8.0.0/16:22", "8.8.8.8:23", False),
        ("[2001:db8::/32]:22", "[2001:db8::1]:22", True),
        ("[2001:db8::/32]:22", "8.8.8.8:22", False),
        ("0.0.0.0/0:22", "[2001:db8::1]:22", False),
        ("[::ffff:8.8.8.0/120]:22", "8.8.8.8:22", True),
        ("[2001:db8::1]:22", "[2001:DB8:0::1]:22", True),
        ("8.8.8.8:22", "8.8.8.8:22", True),
        ("8.8.8.8:22", "8.8.8.9:22", False),
    ],
)
def test_targets_are_anchored(pattern, target, is_covered):
    assert (decide(policy(f"allow me | {pattern}"), target) == 1) is is_covered


# ----------------------------------------------------------------------------- names, and where they lead
def test_a_name_is_judged_by_each_address_that_it_leads_to():
    rules = policy("deny me | 10.0.0.0/8:*", "allow me | *.example.com:443")
    assert decide(rules, "a.example.com:443") == 2
    assert decide(rules, "a.example.com:443", "8.8.8.8") == 2
    assert decide(rules, "a.example.com:443", "10.1.2.3") == -1
    assert decide(rules, "a.example.com:443", "::ffff:10.1.2.3") == -1


def test_a_pattern_does_not_open_a_network_that_is_denied_further_down():
    rules = policy("allow me | *.example.com:443", "allow me | 10.9.0.0/16:443", "deny me | 10.0.0.0/8:*")
    assert decide(rules, "a.example.com:443", "10.1.2.3") == -3
    assert decide(rules, "a.example.com:443", "10.9.2.3") == 1
    assert decide(rules, "a.example.com:443", "8.8.8.8") == 1


def test_a_pattern_does_not_open_one_address_that_is_denied_further_down():
    rules = policy("allow me | *:443", "deny me | 10.0.0.7:*")
    assert decide(rules, "a:443", "10.0.0.7") == -2
    assert decide(rules, "10.0.0.7:443") == -2
    assert decide(rules, "10.0.0.8:443") == 1


def test_an_exact_name_is_an_exception_from_what_is_denied_further_down():
    rules = policy("allow me | db.internal:5432", "deny me | 10.0.0.0/8:*", "deny me | db.internal:*")
    assert decide(rules, "db.internal:5432", "10.1.2.3") == 1
    assert decide(rules, "db.internal:5433", "10.1.2.3") == -2
    assert decide(rules, "db.internal:5433") == -3


def test_names_that_are_denied_further_down_do_not_count():
    rules = policy("allow me | *.example.com:443", "deny me | a.example.com:443", "deny me | *.com:443")
    assert decide(rules, "a.example.com:443", "8.8.8.8") == 1


def test_a_pattern_denies_too():
    rules = policy("deny me | *.evil.net:*", "deny me | *:25", "allow me | *:*")
    assert decide(rules, "a.evil.net:443", "8.8.8.8") == -1
    assert decide(rules, "a.evil.net:443") == -1
    assert decide(rules, "8.8.8.8:25") == -2
    assert decide(rules, "a.net:443", "8.8.8.8") == 3


def test_a_network_lets_names_in_that_lead_into_it():
    rules = policy("allow me | 10.0.0.0/8:5432")
    verdict = rules.judge("me", Address("db.internal", 5432))
    assert verdict.is_allowed
    assert verdict.why == "rule 1 allows it if it leads there"
    assert decide(rules, "db.internal:5432", "10.1.2.3") == 1
    assert decide(rules, "db.internal:5432", "11.1.2.3") == 0
    assert decide(rules, "db.internal:5433") == 0


@pytest.mark.parametrize(
    "address", ["64:ff9b::10.1.2.3", "64:ff9b:1::10.1.2.3", "2002:a01:203::1", "::10.1.2.3", "::ffff:0:10.1.2.3"]
)
def test_a_denied_network_is_closed_in_the_clothes_of_ipv6_too(address):
    for rules in (
        policy("deny me | 10.0.0.0/8:*", "allow me | [::/0]:*, *:*"),
        policy("allow me | *.example.com:*, *:*", "deny me | 10.1.2.3:*"),
    ):
        assert decide(rules, "a.example.com:1", address) < 0
        assert decide(rules, str(Address(address, 1))) < 0
        assert (
            decide(rules, "a.example.com:1", address.replace("10.1.2.3", "8.8.8.8").replace("a01:203", "808:808")) > 0
        )


def test_loopback_of_ipv6_is_no_address_of_ipv4():
    assert decide(policy("deny me | 0.0.0.0/0:*", "allow me | [::1]:1"), "[::1]:1") == 2


def test_a_network_of_ipv4_lets_nobody_in_who_comes_in_the_clothes_of_ipv6():
    assert decide(policy("allow me | 10.0.0.0/8:*"), "[64:ff9b::10.1.2.3]:1") == 0
    assert decide(policy("allow me | 10.0.0.0/8:*"), "a:1", "64:ff9b::10.1.2.3") == 0


def test_a_literal_is_judged_as_itself():
    rules = policy("allow me | 10.0.0.0/8:5432")
    assert decide(rules, "11.0.0.1:5432", "10.0.0.1") == 0


# ---------------------------------------------------------------------------- denied unless they are named
SENSITIVE = [
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "127.0.0.1",
    "127.1.2.3",
    "::1",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%eth0",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::ffff:0.0.0.0",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:2:3:4:127.0.0.1",
    "2002:a9fe:a9fe::",
    "2002:7f00:1:2::3",
    "::169.254.169.254",
    "::127.0.0.1",
    "::ffff:0:169.254.169.254",
]
IN_DISGUISE = ("64:", "2002:", "::127", "::169", "::ffff:0:")
"""IPv4 addresses within IPv6 ones that are compared as what they are written as."""


@pytest.mark.parametrize("address", SENSITIVE)
@pytest.mark.parametrize("wide", ["*:80", "*.example.com:80", "0.0.0.0/0:80, [::/0]:80", "a.*:80"])
def test_what_is_sensitive_is_not_reached_through_something_wide(address, wide):
    rules = policy(f"allow me | {wide}")
    assert decide(rules, "a.example.com:80", address) == -1
    if wide[0] != "a" and "example" not in wide:
        assert decide(rules, str(Address(address, 80))) == -1


@pytest.mark.parametrize(
    "address", [text for text in SENSITIVE if not text.startswith(IN_DISGUISE) and "%" not in text]
)
def test_what_is_sensitive_is_reached_by_its_own_name(address):
    target = str(Address(address, 80))
    assert decide(policy(f"allow me | {target}"), target) == 1
    assert decide(policy("allow me | *:80", f"allow me | {target}"), target) == 2
    assert decide(policy("allow me | *:80", "allow me | there:80"), "there:80", address) == 2
    assert decide(policy("allow me | there:80"), "there:80", address) == 1


def test_a_network_names_what_it_lies_within():
    assert decide(policy("allow me | 127.0.0.0/8:80"), "127.1.2.3:80") == 1
    assert decide(policy("allow me | 127.1.0.0/16:80"), "there:80", "127.1.2.3") == 1
    assert decide(policy("allow me | 126.0.0.0/7:80"), "127.1.2.3:80") == -1
    assert decide(policy("allow me | [fe80::/64]:80"), "[fe80::1%eth0]:80") == 1


def test_metadata_is_not_named_by_the_network_around_it():
    rules = policy("allow me | 169.254.0.0/16:80")
    assert decide(rules, "169.254.1.1:80") == 1
    assert decide(rules, "169.254.169.254:80") == -1


def test_a_denial_further_down_holds_for_what_is_named_after_it():
    rules = policy("allow me | *:80", "deny me | 127.0.0.0/8:*", "allow me | 127.0.0.1:80")
    assert decide(rules, "127.0.0.1:80") == -2


def test_why_says_what_the_address_is():
    verdict = policy("allow me | *:80").judge("me", Address("a", 80), read_address("::ffff:169.254.169.254"))
    assert verdict.why == "169.254.169.254 is an address of cloud metadata, which rule 1 does not name"


def test_ordinary_addresses_are_not_protected():
    for text in ("8.8.8.8", "10.0.0.1", "192.168.1.1", "172.16.0.1", "fd00::1", "2001:db8::1", "64:ff9b::8.8.8.8"):
        assert protections(read_address(text)) == ()


@given(st.sampled_from(PROTECTED), st.data())
def test_no_wide_rule_ever_opens_a_protected_address(protection, data):
    block = protection.block
    number = data.draw(st.integers(block.first, block.last))
    address = ipaddress.IPv4Address(number) if block.version == 4 else ipaddress.IPv6Address(number)
    rules = policy("allow me | *:*", "allow me | *.a:*, 0.0.0.0/0:*, [::/0]:*, 64.0.0.0/2:*", "allow * | *:1-65535")
    assert not rules.judge("me", Address("x.a", 1), read_address(str(address))).is_allowed
    assert not rules.judge("me", parse_target(str(Address(str(address), 1)))).is_allowed


# ---------------------------------------------------------------------------------------- the simple form
def test_a_list_of_targets_allows_exactly_these_to_everybody():
    rules = policy_of_targets([Address("127.0.0.1", 22), Address("metadata", 80), Address("fe80::1%eth0", 1)])
    for identity in ("anonymous", "me"):
        assert rules.judge(identity, Address("127.0.0.1", 22)).is_allowed
        assert rules.judge(identity, Address("fe80::1%eth0", 1)).is_allowed
        assert rules.judge(identity, Address("metadata", 80)).is_allowed
        assert rules.judge(identity, Address("metadata", 80), read_address("169.254.169.254")).is_allowed
    for target in ("127.0.0.1:23", "localhost:22", "127.0.0.2:22", "[::ffff:127.0.0.1]:22"):
        assert not rules.judge("me", parse_target(target)).is_allowed
        assert not rules.judge("me", parse_target(target), read_address("127.0.0.1")).is_allowed


def test_rules_are_called_by_their_number_and_name():
    assert str(Rule(3, True, Identities(), Hosts(), name="metrics")) == "rule 3 (metrics)"
    assert str(Rule(3, True, Identities(), Hosts())) == "rule 3"
    assert policy_of_targets([Address("a", 1)]).judge("me", Address("a", 1)).why == "the list of targets allows it"
    assert repr(Policy([])) == "<Policy of 0 rules>"


# --------------------------------------------------------------------------------------------- properties
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@given(ADDRESSES)
def test_an_address_is_compared_in_one_form(address):
    if address.version == 4:
        assert read_address(f"::ffff:{address}") == address
    assert read_address(str(address)) == (getattr(address, "ipv4_mapped", None) or address)


@given(ADDRESSES, st.integers(0, 32), st.booleans())
def test_a_denied_network_is_closed_to_every_name_and_literal(address, length, is_first):
    mapped = getattr(address, "ipv4_mapped", None) or address
    network = ipaddress.ip_network(f"{mapped}/{length}", strict=False)
    text = f"[{network}]" if network.version == 6 else str(network)
    rules = [f"deny me | {text}:*", "allow me | *.example.com:*, *:*"]
    if not is_first:
        rules.reverse()
    judged = policy(*rules)
    assert not judged.judge("me", Address("a.example.com", 1), read_address(str(address))).is_allowed
    assert not judged.judge("me", parse_target(str(Address(str(address), 1)))).is_allowed


RULES = st.lists(
    st.builds(
        "{} {} | {}".format,
        st.sampled_from(["allow", "deny"]),
        st.sampled_from(["me", "m*", "you", "*"]),
        st.sampled_from(
            ["*:*", "*:2-9", "*.b:1", "a.b:1", "a.b:*", "10.0.0.0/8:*", "10.0.0.1:1", "127.0.0.0/8:*", "0.0.0.0/0:1"]
        ),
    ),
    max_size=6,
)


def expected(rules, host, address):
    """What docs/policy.md says, for identity ``me`` and port 1, rule by rule and without any haste."""
    covering = [rule.split(" | ") for rule in rules if rule.split(" ")[1] in ("me", "m*", "*")]
    covering = [(head.startswith("allow"), *target.rsplit(":", 1)) for head, target in covering]
    covering = [(allows, pattern) for allows, pattern, ports in covering if ports in ("*", "1")]
    is_sensitive = address in ipaddress.ip_network("127.0.0.0/8")
    by_pattern = False
    for allows, pattern in covering:
        if pattern[0].isdigit():
            network = ipaddress.ip_network(pattern)
            if address not in network:
                continue
            if not allows or not is_sensitive or network.prefixlen >= 8:
                return allows
            by_pattern = True
        elif pattern == host:
            if not by_pattern or (is_sensitive and allows):
                return allows
        elif pattern == "*" or (pattern == "*.b" and host.endswith(".b")):
            if not allows and not by_pattern:
                return False
            by_pattern = True
    return by_pattern and not is_sensitive


@given(
    RULES, st.sampled_from(["a.b", "x.b", "c", ""]), st.sampled_from(["10.0.0.1", "10.0.0.2", "127.0.0.1", "8.8.8.8"])
)
def test_it_does_what_is_documented(rules, host, address):
    judged = policy(*rules) if rules else Policy([])
    verdict = judged.judge("me", Address(host or address, 1), read_address(address))
    assert verdict.is_allowed is expected(rules, host or address, ipaddress.ip_address(address))
    # What is denied before it is resolved could not have led anywhere.
    assert verdict.is_allowed <= judged.judge("me", Address(host or address, 1)).is_allowed


def test_a_thousand_rules_are_compared_once_for_who_comes_again():
    rules = [f"allow team-{number} | host-{number}:*" for number in range(1000)]
    judged = policy(*rules)
    assert decide(judged, "host-999:1", "10.0.0.1", identity="team-999") == 1000
    assert decide(judged, "host-998:1", "10.0.0.1", identity="team-999") == 0
    assert judged._covering.cache_info().hits == 1
