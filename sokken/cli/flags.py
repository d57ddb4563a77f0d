"""Options that are no settings: those of the small commands (probe, doctor), in the form of all options.

One dash or two, ``-name value`` or ``-name=value``. It must import next to nothing: probes run all the time.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sokken.errors import UsageError

HELP: Final = frozenset({"-h", "-help", "--help"})


def take_flags(
    words: Sequence[str], examples: Mapping[str, str], switches: Collection[str] = ()
) -> tuple[dict[str, str], list[str]]:
    """Take the options named in ``examples`` (each with an example of its value) and ``switches`` out of ``words``.

    Gives their values by name ("" for a switch), the last one counts, and the other words. Raises UsageError.
    """
    found: dict[str, str] = {}
    others: list[str] = []
    rest = iter(words)
    for word in rest:
        option, equals, text = word.partition("=")
        name = option.removeprefix("-").removeprefix("-") if option.startswith("-") else ""
        if name in switches:
            if equals:
                raise UsageError(f"option {option} has no value: leave {text!r} out")
            found[name] = ""
        elif name in examples:
            value = text if equals else next(rest, "")
            if not value:
                raise UsageError(f"option {option} needs a value, for example {option} {examples[name]}")
            found[name] = value
        else:
            others.append(word)
    return found, others


def read_seconds(name: str, text: str, least: float) -> float:
    """Read an option's seconds; raises UsageError."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= 86_400:
        raise UsageError(f"option -{name}: {text[:100]!r}: this is no number of seconds from {least:g} to 86400")
    return seconds
