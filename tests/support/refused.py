"""An application whose connection is reset at once, perhaps before its connect() has returned."""

import contextlib
import socket

from tests.support.programs import join
from tests.support.targets import PATIENCE, was_reset


def meet_reset(entry: tuple[str, int]) -> str:
    """Connect, which must end in a reset; gives the address that it came from, as logs have it."""
    with socket.socket() as app:
        app.settimeout(PATIENCE)
        app.bind(("127.0.0.1", 0))  # known also if connect() fails
        peer = join(app.getsockname())
        with contextlib.suppress(ConnectionResetError):
            app.connect(entry)
            assert was_reset(app)
        return peer
