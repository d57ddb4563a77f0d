"""``sokken``: run a command line and turn every expected error into one line and an exit code.

The entry point of the console script and of ``python -m sokken``. What takes time is imported inside ``main``,
so that Ctrl-C at any moment ends the process quietly.
"""

import os
import sys
from collections.abc import Sequence
from typing import Final

from sokken.errors import ConfigurationError, SokkenError, UsageError

FAILED: Final = 1
USAGE: Final = 2
CONFIGURATION: Final = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (without one: this process's) and return the exit code."""
    words = sys.argv[1:] if argv is None else argv
    _heed_sigterm()
    try:
        if words[:1] == ["probe"]:  # before what the others import: it runs every few seconds, everywhere
            from sokken.cli.probe import probe

            return probe(words[1:])
        from sokken.cli.dispatch import dispatch

        return dispatch(words)
    except UsageError as error:
        return _complain(error, USAGE)
    except ConfigurationError as error:
        return _complain(error, CONFIGURATION)
    except SokkenError as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # who read the output has gone, and what is left of it goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _heed_sigterm() -> None:
    """End at SIGTERM also while nothing handles it, as all processes do but the first one of a container.

    From that one the kernel keeps what it does not handle (pid_namespaces(7)): who stops the container while the
    program starts would wait until it is killed.
    """
    if os.getpid() == 1:
        from signal import SIGTERM, signal

        signal(SIGTERM, lambda number, _frame: os._exit(128 + number))


def _complain(error: SokkenError, code: int) -> int:
    print(f"sokken: {error}", file=sys.stderr)
    return code
