"""What tests of the container image share: the image, its base, and an engine that forgets what a test has started."""

import os
import shutil

import pytest

from sokken import __version__
from tests.support.docker import Docker
from tests.support.image_files import read_files
from tests.support.services import run, succeed

BASE_NAME = '{{index .Config.Labels "org.opencontainers.image.base.name"}}'


@pytest.fixture(scope="session")
def image():
    """The name of the image under test."""
    name = os.environ.get("IMAGE", f"sokken:{__version__}")
    if shutil.which("docker") is None:
        pytest.fail("docker is not on PATH", pytrace=False)
    if run("docker", "image", "inspect", name).returncode:
        pytest.fail(f"there is no image {name}: `make test-image` builds it first", pytrace=False)
    return name


@pytest.fixture(scope="session")
def base(image):
    """The name of the image that it stands on."""
    name = succeed("docker", "image", "inspect", "--format", BASE_NAME, image).strip()
    if run("docker", "image", "inspect", name).returncode:  # BuildKit keeps what it pulls to itself
        succeed("docker", "pull", "--quiet", name, seconds=600)
    return name


@pytest.fixture(scope="session")
def files(image):
    return read_files(image)


@pytest.fixture
def docker(image):
    engine = Docker(image)
    try:
        yield engine
    finally:
        engine.remove()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A test that fails shows what its containers have said, before they are removed."""
    report = yield
    if report.failed and "docker" in item.funcargs:
        for container in item.funcargs["docker"].containers:
            report.sections.append((f"log of {container.id[:12]}: {' '.join(container.words)[-60:]}", container.log()))
    return report
