"""A policy's YAML is read as it looks, or refused in a sentence."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sokken.errors import ConfigurationError
from sokken.protocol.address import parse_target
from sokken.protocol.policy import Policy, read_address
from sokken.protocol.policy_document import PolicyError
from sokken.server.policy_file import open_policy, parse_policy

GOOD = """\
rules:
  - action: allow
    identities: ["team-*"]
    targets: ["db.internal:5432"]
"""


def complaint(text):
    with pytest.raises(PolicyError) as caught:
        parse_policy(text.encode())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_good_one():
    assert parse_policy(GOOD.encode()).judge("team-a", parse_target("db.internal:5432")).is_allowed


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "a policy is a mapping with the key rules, not nothing"),
        ("rules: [", "this is no YAML: line 2: did not find expected node content"),
        ("rules:\n\t- a", "this is no YAML: line 2: found character that cannot start any token"),
        ("rules: *a", "this is no YAML: line 1: found undefined alias"),
        ("rules: !!python/object/apply:os.system [id]", "this is no YAML: line 1: could not determine a constructor"),
        ("--- a\n--- b", "this is no YAML: line 2: but found another document"),
        ("rules: 2026-99-99", "this is no YAML that could be a policy"),
        (GOOD + "rules: []\n", "line 5: the key 'rules' is here twice"),
        (GOOD + "    action: deny\n", "line 5: the key 'action' is here twice"),
        (GOOD + "    ? [a]\n    : b\n", "this is no YAML: line 5: found unhashable key"),
        (GOOD.replace('"db.internal:5432"', "10:22"), "rule 1: targets: 622 is no text; put it in quotes"),
        (GOOD.replace("allow", "yes"), "rule 1: action: this is allow or deny, not True"),
        ("[" * 5000, "this is no YAML"),
        ("rules: !!bool x", "this is no YAML that could be a policy"),
        ("rules: !!timestamp x", "this is no YAML that could be a policy"),
        ("rules: !!set [a]", "this is no YAML that could be a policy"),
        ("rules: !!float ''", "this is no YAML that could be a policy"),
        ("&a {rules: [*a]}", "rule 1: unknown key 'rules'"),
        ("rules: &a [*a]", "rule 1: a rule is a mapping"),
        ("? 0x" + "f" * 6000 + "\n: 1", "unknown key that large a number"),
    ],
)
def test_what_is_no_policy(text, problem):
    assert complaint(text).startswith(problem)


def test_bytes_that_are_no_text():
    with pytest.raises(PolicyError, match=r"^this is no YAML"):
        parse_policy(b"rules: \xff\xfe")


@given(st.binary(max_size=60))
def test_whatever_it_is_it_is_refused_in_a_sentence(content):
    with pytest.raises(PolicyError) as caught:
        parse_policy(content)
    assert "\n" not in str(caught.value)


def test_a_thousand_rules_are_read_and_judged_quickly():
    rules = [
        {
            "action": "allow",
            "identities": ["*"],
            "targets": [f"*.n{number}.example.com:443", f"10.{number % 250}.0.0/16:1-9"],
        }
        for number in range(1000)
    ]
    content = yaml.dump({"rules": rules}, Dumper=yaml.CSafeDumper).encode()
    started = time.process_time()
    policy = parse_policy(content)
    read = time.process_time()
    for _ in range(20):
        assert not policy.judge("me", parse_target("a.example.org:443")).is_allowed
    judged = (time.process_time() - read) / 20
    assert read - started < 2
    assert judged < 0.02  # 20 µs a rule: ten times what it takes


def test_the_documented_one_does_what_is_documented():
    text = (Path(__file__).parents[3] / "docs" / "policy.md").read_text()
    policy = parse_policy(text.partition("```yaml\n")[2].partition("```")[0].encode())

    def decide(identity, target, address=None):
        verdict = policy.judge(identity, parse_target(target), address and read_address(address))
        return verdict.is_allowed, verdict.rule and verdict.rule.number

    web = "system:serviceaccount:shop:web"
    assert decide(web, "api.shop.internal:443", "10.20.0.9") == (False, 1)
    assert decide(web, "api.shop.internal:443", "10.3.0.9") == (True, 2)
    assert decide(web, "shop.internal:443", "10.3.0.9") == (False, None)
    assert decide(web, "api.shop.internal:443", "169.254.169.254") == (False, 2)
    assert decide("admin", "127.0.0.1:22") == (True, 3)
    assert decide(web, "127.0.0.1:22") == (False, None)


# ---------------------------------------------------------------------------------------------- the file
def test_without_a_file_it_is_the_list_of_targets():
    assert isinstance(open_policy(None, [parse_target("a:1")]), Policy)


def test_a_file_is_followed(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(GOOD)
    file = open_policy(path, ())
    assert not file.look()
    path.write_text(GOOD.replace("team-*", "me"))
    assert file.look()
    assert file.value.judge("me", parse_target("db.internal:5432")).is_allowed
    path.write_text("rules: nonsense")
    assert not file.look()
    assert file.value.judge("me", parse_target("db.internal:5432")).is_allowed


def test_a_file_that_is_no_policy_is_told_with_its_name(tmp_path):
    path = tmp_path / "policy.yaml"
    with pytest.raises(ConfigurationError, match=rf"^SOKKEN_POLICY_FILE: cannot use {path}: no such file or directory"):
        open_policy(path, ())
    path.write_text(GOOD.replace("5432", "0"))
    with pytest.raises(ConfigurationError, match=rf"^SOKKEN_POLICY_FILE: cannot use {path}: rule 1: targets: 'db.int"):
        open_policy(path, ())
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(ConfigurationError, match=rf"cannot use {path}: too many levels of symbolic links"):
        open_policy(path, ())


def test_yaml_is_imported_only_for_a_policy_file():
    code = "import sys, sokken.server.policy_file; print('yaml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
