"""What the process says of itself: logs, for now. The only package that imports structlog."""

import sys

if "rich" not in sys.modules:
    # Where rich is installed, structlog imports it to paint tracebacks: a tenth of a second at start, for nothing.
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    del sys.modules["rich"]
