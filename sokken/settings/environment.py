"""Variables that begin like ours but are none of ours: misspelt ones are told from Kubernetes's own.

Called by loading. It reads names only, never a value.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from sokken.settings.catalogue import all_settings
from sokken.settings.models import PREFIX

# What the kubelet puts into every container for a Service "sokken" or "sokken-something" (Kubernetes,
# "Accessing the Service", environment variables, and the link variables made like Docker's).
KUBERNETES_SERVICE = re.compile(
    r"SOKKEN(_[A-Z0-9_]+)?_"
    r"(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)


@dataclass(frozen=True, slots=True)
class UnknownSetting:
    """A variable that no program knows, and the known one it resembles most, if any."""

    name: str
    suggestion: str | None

    def __str__(self) -> str:
        """Say it in one line."""
        hint = f", did you mean {self.suggestion}?" if self.suggestion else ""
        return f"unknown variable {self.name}{hint}"


def find_unknown(names: Iterable[str]) -> tuple[UnknownSetting, ...]:
    """Return what looks like a setting and is none; a setting of the other program is known."""
    known = {setting.variable for setting in all_settings().values()}
    return tuple(
        UnknownSetting(name, suggest(name.upper(), known))
        for name in sorted(names)
        if name.upper().startswith(PREFIX)
        and name.upper() not in known
        and not KUBERNETES_SERVICE.fullmatch(name.upper())
    )


def suggest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is nearest to this one, None if none is near."""
    return next(iter(difflib.get_close_matches(word, sorted(known), n=1)), None)
