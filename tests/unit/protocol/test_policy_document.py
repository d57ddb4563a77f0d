"""A policy file says what it says, or one sentence says what is wrong with it, by rule and key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.address import parse_target
from sokken.protocol.policy import NO_LIMITS, Limits
from sokken.protocol.policy_document import PolicyError, build_policy

TARGETS = "for example db.internal:5432, *.example.com:443, 10.0.0.0/8:1-1023 or [fd00::/8]:*"


def rule(**keys):
    return {"action": "allow", "identities": ["me"], "targets": ["a:1"]} | keys


def complaint(document):
    with pytest.raises(PolicyError) as caught:
        build_policy(document)
    return str(caught.value)


def complaint_about(**keys):
    """What is wrong with the second of two rules."""
    text = complaint({"rules": [rule(), rule(**keys)]})
    assert text.startswith("rule 2: ")
    assert "\n" not in text
    return text.removeprefix("rule 2: ")


def test_a_whole_policy():
    policy = build_policy(
        {
            "rules": [
                {
                    "name": "metrics",
                    "action": "allow",
                    "identities": ["system:serviceaccount:monitoring:*", "admin"],
                    "targets": ["*.internal:9090-9099", "10.0.0.0/8:22", "[fd00::/8]:443", "db:*"],
                    "limits": {
                        "connections_per_identity": 10,
                        "connections_per_target": 100,
                        "rate_per_second": 0.5,
                        "idle_seconds": 600,
                        "lifetime_seconds": 86400.5,
                        "proxy_protocol": True,
                    },
                },
                rule(action="deny"),
            ]
        }
    )
    first, second = policy.rules
    assert first.limits == Limits(10, 100, 0.5, 600, 86400.5, proxy_protocol=True)
    assert (first.number, first.name, first.is_allow) == (1, "metrics", True)
    assert (second.number, second.name, second.is_allow, second.limits) == (2, "", False, NO_LIMITS)
    for target in ("a.internal:9095", "10.1.1.1:22", "[fd00::1]:443", "db:65535"):
        assert policy.judge("admin", parse_target(target)).rule is first


def test_rules_may_overlap():
    policy = build_policy({"rules": [rule(), rule(action="deny"), rule()]})
    assert policy.judge("me", parse_target("a:1")).rule is policy.rules[0]


# ------------------------------------------------------------------------------------------ the whole file
@pytest.mark.parametrize(
    ("document", "text"),
    [
        (None, "a policy is a mapping with the key rules, not nothing"),
        ([], "a policy is a mapping with the key rules, not an empty one"),
        ("rules", "a policy is a mapping with the key rules, not a text"),
        ({}, "rules: this is a list of at least one rule, not nothing"),
        ({"rules": []}, "rules: this is a list of at least one rule, not an empty one"),
        ({"rules": {"a": 1}}, "rules: this is a list of at least one rule, not a mapping"),
        ({"rules": [rule()], "version": 1}, "unknown key 'version'; a policy has rules"),
        ({"ruels": [rule()]}, "unknown key 'ruels'; a policy has rules"),
        ({"rules": [5]}, "rule 1: a rule is a mapping with the keys name, action, identities, targets, limits, not 5"),
        (
            {"rules": [True]},
            "rule 1: a rule is a mapping with the keys name, action, identities, targets, limits, not true or false",
        ),
    ],
)
def test_what_is_no_policy(document, text):
    assert complaint(document) == text


# --------------------------------------------------------------------------------------------- single keys
@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"target": ["a:1"]}, "unknown key 'target'; a rule has name, action, identities, targets, limits"),
        ({1: 2}, "unknown key 1; a rule has name, action, identities, targets, limits"),
        ({"action": None}, "action: this is allow or deny, not nothing"),
        ({"action": True}, "action: this is allow or deny, not True"),
        ({"action": "Allow"}, "action: this is allow or deny, not 'Allow'"),
        ({"name": 5}, "name: this is a text of at most 100 printable characters, not 5"),
        ({"name": "a\nb"}, r"name: this is a text of at most 100 printable characters, not 'a\nb'"),
        ({"action": "deny", "limits": {}}, "limits: a rule that denies has none"),
    ],
)
def test_what_is_wrong_with_a_rule(keys, text):
    keys = {str(key) if isinstance(key, str) else key: value for key, value in keys.items()}
    assert complaint({"rules": [rule(), rule() | keys]}) == f"rule 2: {text}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "this is a list of at least one text, not nothing"),
        ([], "this is a list of at least one text, not an empty one"),
        ("me", "this is a list of at least one text, not a text"),
        ([["me"]], "['me'] is no text; put it in quotes"),
        ([622], "622 is no text; put it in quotes"),
    ],
)
@pytest.mark.parametrize("key", ["identities", "targets"])
def test_identities_and_targets_are_lists_of_texts(key, value, text):
    assert complaint_about(**{key: value}).startswith(f"{key}: {text}, for example ")


@pytest.mark.parametrize("key", ["identities", "targets", "action"])
def test_nothing_may_be_left_out(key):
    document = rule()
    del document[key]
    assert complaint({"rules": [document]}).startswith(f"rule 1: {key}: ")


@pytest.mark.parametrize("text", ["", "a b", "a\n", "x" * 513, "team-?", "team-[ab]", "{a,b}", "a\\*", "\udcff"])
def test_what_is_no_identity(text):
    problem = "an identity is 1 to 512 characters without spaces, and its only wildcard is *"
    shown = repr(text) if len(repr(text)) <= 100 else repr(text)[:100] + "…"
    assert complaint_about(identities=["you", text]) == (
        f"identities: {shown}: {problem}, for example system:serviceaccount:shop:*"
    )


FORM = "a target is HOST:PORT, HOST:PORT-PORT or HOST:*"
PORTS = "ports are a number from 1 to 65535, an ascending range of them, or *"
NETWORK = "a network is ADDRESS/LENGTH, in brackets if it is IPv6"
GLOB = "a pattern of names holds letters, digits, hyphens, underscores, dots and *"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", FORM),
        ("a", FORM),
        (":22", FORM),
        ("[::1]", FORM),
        ("a:", PORTS),
        ("a:0", PORTS),
        ("a:65536", PORTS),
        ("a:1-65536", PORTS),
        ("a:2-1", PORTS),
        ("a:0-5", PORTS),
        ("a:1-", PORTS),
        ("a:ssh", PORTS),
        ("a:22*", PORTS),
        ("a:\u0661", PORTS),
        ("10.0.0.0/33:1", NETWORK),
        ("10.0.0/8:1", NETWORK),
        ("10.0.0.0/255.0.0.0:1", NETWORK),
        ("10.0.0.0/0x8:1", NETWORK),
        ("10.0.0.0/-1:1", NETWORK),
        ("[10.0.0.0/8]:1", NETWORK),
        ("10.0.0.0/8]:1", NETWORK),
        ("[fd00::/8:1", NETWORK),
        ("[fd00::/129]:1", NETWORK),
        ("a/8:1", NETWORK),
        ("*.a/8:1", NETWORK),
        ("fd00::/8:1", "an IPv6 network is written in brackets"),
        ("10.0.0.1/8:1", "the network of this length is 10.0.0.0/8"),
        ("[fd00::1/8]:1", "the network of this length is fd00::/8"),
        ("10.*:1", "a range of addresses is written ADDRESS/LENGTH"),
        ("10.*.0.1:1", "a range of addresses is written ADDRESS/LENGTH"),
        ("*.1:1", "a range of addresses is written ADDRESS/LENGTH"),
        ("a?*:1", GLOB),
        ("[ab]*:1", GLOB),
        ("*..a:1", GLOB),
        (".*:1", GLOB),
        ("b\u00fcro*:1", GLOB),
        ("a?:1", "this is no host name"),
        ("-a:1", "this is no host name"),
        ("256.0.0.1:1", "an IPv4 address has four decimal numbers from 0 to 255"),
        ("010.0.0.1:1", "an IPv4 address has four decimal numbers from 0 to 255"),
        ("::1:1", "an IPv6 address is written in brackets"),
        ("[fe80::1%eth0]:1", "an address stands here without its zone"),
    ],
)
def test_what_is_no_target(text, problem):
    assert complaint_about(targets=["b:1", text]) == f"targets: {text!r}: {problem}, {TARGETS}"


def test_what_is_long_is_shown_in_part():
    assert len(complaint_about(targets=["a" * 5000])) < 400


COUNT = "a whole number from 1, for example 10"
SECONDS = "a number of seconds from 1, for example 600"


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (None, "this is a mapping, not nothing"),
        ([1], "this is a mapping, not a list"),
        (
            {"connections": 1},
            f"unknown key 'connections'; a mapping of limits has {', '.join(Limits.__dataclass_fields__)}",
        ),
        ({"connections_per_identity": 0}, f"connections_per_identity: this is {COUNT}, not 0"),
        ({"connections_per_identity": True}, f"connections_per_identity: this is {COUNT}, not True"),
        ({"connections_per_target": 1.5}, f"connections_per_target: this is {COUNT}, not 1.5"),
        ({"connections_per_target": 10**5000}, f"connections_per_target: this is {COUNT}, not that large a number"),
        ({"connections_per_target": 10**10}, f"connections_per_target: this is {COUNT}, not 10000000000"),
        ({"rate_per_second": 0}, "rate_per_second: this is a number from 0.001, for example 5, not 0"),
        ({"rate_per_second": "5"}, "rate_per_second: this is a number from 0.001, for example 5, not '5'"),
        ({"rate_per_second": float("nan")}, "rate_per_second: this is a number from 0.001, for example 5, not nan"),
        ({"idle_seconds": float("inf")}, f"idle_seconds: this is {SECONDS}, not inf"),
        ({"idle_seconds": 0.5}, f"idle_seconds: this is {SECONDS}, not 0.5"),
        ({"lifetime_seconds": None}, f"lifetime_seconds: this is {SECONDS}, not None"),
        ({"proxy_protocol": 1}, "proxy_protocol: this is true or false, not 1"),
    ],
)
def test_what_is_no_limit(limits, text):
    assert complaint_about(limits=limits) == f"limits: {text}"


def problem_of(document):
    """What is wrong with it, if it is refused."""
    try:
        build_policy(document)
    except PolicyError as error:
        return str(error)
    return ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["", "rules", "rule", "name", "action", "identities", "targets", "limits"]))
def test_whatever_it_is_it_is_a_policy_or_a_sentence(value, place):
    document = {"": value, "rules": {"rules": value}, "rule": {"rules": [value]}}
    problem = problem_of(document.get(place, {"rules": [rule(**{place: value})]}))
    assert "\n" not in problem


@given(st.text("a10.*:/-[]fd?x ", max_size=20))
def test_a_target_is_understood_or_refused(text):
    problem = problem_of({"rules": [rule(targets=[text])]})
    assert not problem or problem.startswith(f"rule 1: targets: {text!r}: ")
