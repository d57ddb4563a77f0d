"""The suite's cluster, and a namespace for each story; what is left of a story that failed.

Stories run side by side (pytest-xdist). The process that started the others makes the cluster before them, and they
find it by KUBECONFIG.
"""

import fcntl
import secrets
import shutil

import pytest

from tests.e2e import artifacts, cluster, tools
from tests.e2e.namespace import Namespace

STORY_SECONDS = 300
MADE = pytest.StashKey[bool]()
SCENE = pytest.StashKey[list[Namespace]]()


def pytest_sessionstart(session):
    if _is_worker(session.config) or session.config.option.collectonly:
        return
    if problem := tools.describe_missing():
        pytest.exit(problem, returncode=1)
    shutil.rmtree(tools.ARTIFACTS, ignore_errors=True)
    tools.ARTIFACTS.mkdir()
    session.config.stash[MADE] = True
    try:
        cluster.prepare(_sayer(session.config))
    except AssertionError as error:
        cluster.remove(_sayer(session.config))
        pytest.exit(f"there is no cluster for the end-to-end tests: {error}", returncode=1)


def pytest_sessionfinish(session):
    if session.config.stash.get(MADE, False):
        cluster.remove(_sayer(session.config))


def _is_worker(config):
    return hasattr(config, "workerinput")


def _sayer(config):
    return config.pluginmanager.get_plugin("terminalreporter").write_line


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """The longest first, so that none is left at the end; behind them those that are played alone."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(STORY_SECONDS))
    items.sort(key=lambda item: (_is_alone(item), -item.get_closest_marker("timeout").args[0]))


def _is_alone(item):
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and call.when in {"setup", "call"}:
        for namespace in item.stash.get(SCENE, []):
            folder = tools.ARTIFACTS / namespace.name
            artifacts.save(namespace.name, folder)
            report.sections.append(("what is left of it", str(folder)))
    return report


@pytest.fixture(autouse=True)
def turn(request):
    """All stories go side by side but those that are marked to be alone: with no other beside them."""
    with (tools.ARTIFACTS / ".turn").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX if _is_alone(request.node) else fcntl.LOCK_SH)
        yield


@pytest.fixture
def add_namespace(request):
    """Makes a namespace that ends with the story."""
    scene = request.node.stash.setdefault(SCENE, [])

    def add(name):
        scene.append(Namespace(name))
        return scene[-1]

    yield add
    for made in scene:
        made.delete()


@pytest.fixture
def namespace(request, add_namespace):
    """One of its own for a story, named after its file."""
    file = request.node.path.stem.removeprefix("test_").replace("_", "-")
    return add_namespace(f"{file}-{secrets.token_hex(3)}")


@pytest.fixture
def folder(namespace):
    """Where a story keeps what is of use when it has failed."""
    path = tools.ARTIFACTS / namespace.name
    path.mkdir()
    return path
