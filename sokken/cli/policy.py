"""``sokken policy test``: say which rule decides whether an identity may reach a target, and why.

Called by dispatch. It uses the policy that a server with the same environment would use; it resolves the target's
name as this host does, and connects to nothing.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Final

from sokken.cli.options import POLICY
from sokken.errors import ConfigurationError, UsageError
from sokken.protocol.address import Address, AddressError, parse_target
from sokken.protocol.policy import NO_LIMITS, Limits, Policy, Rule, Verdict, read_address
from sokken.settings import InvalidSettings, ServerSettings, load
from sokken.settings.catalogue import format_value

HELP: Final = """\
Usage: sokken policy test --identity IDENTITY --target HOST:PORT [--policy-file FILE]

Says which rule of a policy decides whether an identity may have a tunnel to a target: exit code 0 if it may, 1 if not.
A name is resolved here, and each of its addresses is judged, as the server does when it dials.

  --identity IDENTITY     who asks, as the server's log has it; anonymous if no credential is asked for
  --target HOST:PORT      what for
  --policy-file FILE      else SOKKEN_POLICY_FILE, else SOKKEN_TARGETS
"""
ALLOWED: Final = 0
DENIED: Final = 1
_OPTIONS: Final = ("identity", "target", "policy-file")


def policy(words: Sequence[str]) -> int:
    """Run ``policy test`` with the words behind ``policy``; returns the exit code. Raises SokkenError."""
    if any(word in ("-h", "-help", "--help") for word in words):
        print(HELP, end="")
        return ALLOWED
    options = _parse(words)
    try:
        target = parse_target(options["target"])
    except AddressError as error:
        raise UsageError(f"option --target: {error}") from None
    return _explain(_load_policy(options.get("policy-file")), options["identity"], target)


def _parse(words: Sequence[str]) -> dict[str, str]:
    if words[:1] != ["test"]:
        raise UsageError(f"{POLICY} is followed by test, for example {_example()}")
    options: dict[str, str] = {}
    rest = iter(words[1:])
    for word in rest:
        name, equals, text = word.partition("=")
        option = name.removeprefix("-").removeprefix("-")
        if not word.startswith("-") or option not in _OPTIONS:
            raise UsageError(f"unknown argument {word!r}, for example {_example()}")
        value = text if equals else next(rest, "")
        if not value:
            raise UsageError(f"option {name} needs a value, for example {_example()}")
        options[option] = value
    for option in ("identity", "target"):
        if option not in options:
            raise UsageError(f"option --{option} is missing, for example {_example()}")
    return options


def _example() -> str:
    return "sokken policy test --identity system:serviceaccount:shop:web --target db.internal:5432"


def _load_policy(path: str | None) -> Policy:
    """The policy of a server in this environment; ``path`` replaces whatever the environment has."""
    given = {} if path is None else {"policy_file": path, "targets": ()}
    try:
        settings = load(ServerSettings, {"api_addr": Address("", 0), **given}).settings
    except InvalidSettings as error:
        if error.is_missing:
            raise ConfigurationError("there is no policy: give --policy-file, or set SOKKEN_POLICY_FILE") from error
        raise UsageError(str(error)) from error
    from sokken.server.policy_file import open_policy

    found = open_policy(settings.policy_file, settings.targets)
    return found if isinstance(found, Policy) else found.value


def _explain(policy: Policy, identity: str, target: Address) -> int:
    verdict = policy.judge(identity, target)
    if not verdict.is_allowed or _is_literal(target.host):
        print(f"{target}: {verdict.why}")
        return _conclude(verdict.rule if verdict.is_allowed else None)
    verdicts = _judge_addresses(policy, identity, target)
    if verdicts is None:
        print(f"{target.host} does not resolve here, so no address was checked; as far as the name goes, {verdict.why}")
        return _conclude(verdict.rule if verdict.rule and verdict.rule.hosts.match_host(target) else None)
    allowed = [found for found in verdicts if found.is_allowed]
    return _conclude(allowed[0].rule if allowed else None)


def _judge_addresses(policy: Policy, identity: str, target: Address) -> list[Verdict] | None:
    """Judge and tell each address; None if the name does not resolve."""
    from sokken.transport.resolve import look_up

    try:
        found = list(dict.fromkeys(str(answer[4][0]) for answer in look_up(target.host, target.port)))
    except (OSError, UnicodeError):
        return None
    print(f"{target.host} resolves to {', '.join(found)}")
    verdicts = []
    for text in found:
        verdict = policy.judge(identity, target, read_address(text))
        print(f"{text}: {'passes' if verdict.is_allowed else 'does not pass'}, {verdict.why}")
        verdicts.append(verdict)
    return verdicts


def _is_literal(host: str) -> bool:
    try:
        read_address(host)
    except ValueError:
        return False
    return True


def _conclude(rule: Rule | None) -> int:
    if rule is None:
        print("deny")
        return DENIED
    if rule.limits != NO_LIMITS:
        held = ((item.name, getattr(rule.limits, item.name)) for item in fields(Limits))
        print("limits: " + ", ".join(f"{name} {format_value(value)}" for name, value in held if value))
    print("allow")
    return ALLOWED
