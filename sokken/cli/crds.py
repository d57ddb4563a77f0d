"""``sokken operator crds``: print the CustomResourceDefinition of Tunnels, as this very version has it.

Called by dispatch. For clusters that are not managed by Helm, and for an upgrade of the definition before the operator.
"""

from collections.abc import Sequence
from typing import Final

from sokken.cli.flags import HELP as HELP_FLAGS
from sokken.errors import UsageError

HELP: Final = """\
Usage: sokken operator crds

Prints the CustomResourceDefinition of Tunnels:

  sokken operator crds | kubectl apply --server-side -f -
"""


def crds(words: Sequence[str]) -> int:
    """Print it, and return the exit code; raises UsageError."""
    if any(word in HELP_FLAGS for word in words):
        print(HELP, end="")
        return 0
    if words:
        raise UsageError(f"{words[0]!r}: sokken operator crds has no arguments")
    from sokken.operator.crd import format_crd

    print(format_crd(), end="")
    return 0
