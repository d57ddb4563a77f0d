"""The server's policy: a YAML file that is followed, or the list of targets.

Called for the running server and by ``sokken policy test``. YAML is imported only here, and only when a policy is
read: a server without one starts without it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sokken.protocol.address import Address
from sokken.protocol.policy import Policy, policy_of_targets
from sokken.protocol.policy_document import PolicyError, build_policy
from sokken.transport.files import WatchedFile


def open_policy(path: Path | None, targets: Iterable[Address]) -> Policy | WatchedFile[Policy]:
    """The file's, or else the one of the targets; raises ConfigurationError if there is no good policy in the file."""
    return policy_of_targets(targets) if path is None else WatchedFile(path, parse_policy, "SOKKEN_POLICY_FILE")


def parse_policy(content: bytes) -> Policy:
    """Read a policy; raises PolicyError with one sentence that names the rule and the key, or the line."""
    import yaml  # noqa: PLC0415 -- as above

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """Safe, and refuses a key that is there twice: one of the two would silently not count."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: ANN401, FBT002
            seen = set()
            for key, _ in node.value:
                name = str(key.value)
                if name in seen:
                    raise PolicyError(f"line {key.start_mark.line + 1}: the key {name!r} is here twice")
                seen.add(name)
            mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
            return mapping

    try:
        document = yaml.load(content, Loader)  # noqa: S506 -- the loader is the safe one
    except yaml.YAMLError as error:
        raise PolicyError(f"this is no YAML: {_describe(error)}") from None
    except PolicyError:
        raise
    except Exception:  # noqa: BLE001 -- what it makes of bad values (!!bool x) and depths are errors of many kinds
        raise PolicyError("this is no YAML that could be a policy") from None
    return build_policy(document)


def _describe(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)
