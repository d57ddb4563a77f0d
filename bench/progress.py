"""Says what a run is doing: one line that changes on a terminal, a line for each suite elsewhere."""

import shutil
import sys
import time


class Progress:
    """Writes to standard error; the report is for standard output."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._began = time.monotonic()

    def begin(self, text: str) -> None:
        """Announce a suite."""
        self._clear()
        print(f"[{time.monotonic() - self._began:4.0f} s] {text}", file=sys.stderr, flush=True)

    def step(self, text: str) -> None:
        """Show what happens within it, on a terminal only."""
        if self._is_terminal:
            self._clear()
            width = shutil.get_terminal_size().columns - 1
            print(f"         {text}"[:width], end="", file=sys.stderr, flush=True)

    def tell(self, text: str) -> None:
        """Say something that should stay."""
        self._clear()
        print(f"         {text}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the terminal clean."""
        self._clear()

    def _clear(self) -> None:
        if self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
