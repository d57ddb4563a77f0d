"""The programs under test, each started once for all of these tests."""

from contextlib import ExitStack
from functools import partial

import pytest

from tests.support.ends import client_end, server_end

ENDS = {
    f"{role}-{loop}": partial(make, env={"SOKKEN_EVENT_LOOP": loop})
    for role, make in (("server", server_end), ("client", client_end))
    for loop in ("asyncio", "uvloop")
}


@pytest.fixture(scope="session")
def ends():
    """Both programs on both loops; not parametrised, or a random order would start them again and again."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(make()) for name, make in ENDS.items()}


@pytest.fixture(params=ENDS)
def end(request, ends):
    """One of them. Whatever a test does, its connections must all have ended after it."""
    yield ends[request.param]
    ends[request.param].release()
