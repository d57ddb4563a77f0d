"""Tunnels that are idle for minutes: they begin with the first test here, and are looked at after all others."""

import pytest

from tests.support.idle import idle_tunnels


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Whoever waits for them comes last, whatever the order of the others."""
    items.sort(key=_is_waiting)


def _is_waiting(item):
    return "idle" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session", autouse=True)
def _early(request):
    """The time begins with the first test here, if anybody waits for its end."""
    if any(map(_is_waiting, request.session.items)):
        request.getfixturevalue("idle")


@pytest.fixture(scope="session")
def idle(tmp_path_factory):
    with idle_tunnels(tmp_path_factory.mktemp("idle")) as tunnels:
        yield tunnels
