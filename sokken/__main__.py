"""``python -m sokken``: the same as the ``sokken`` command."""

import sys

from sokken.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
