"""A target that neither answers nor refuses, as behind a firewall that drops packets."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_FILLERS = 3


@contextmanager
def black_hole() -> Iterator[tuple[str, int]]:
    """A listening socket whose accept queue is full: Linux drops what more comes (listen(2), backlog)."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(_FILLERS):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()
