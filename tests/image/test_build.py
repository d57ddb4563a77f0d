"""The same source gives the same image, and the labels say what the build was told."""

import os
import uuid
from pathlib import Path

import pytest

from tests.support.image_files import read_files
from tests.support.services import run, succeed

ROOT = Path(__file__).parents[2]
LABEL = '{{{{index .Config.Labels "org.opencontainers.image.{}"}}}}'


@pytest.fixture(scope="module")
def rebuilt(base):
    """Built once more, with nothing of the first time."""
    name = f"sokken-rebuilt:{uuid.uuid4()}"
    told = {"SOURCE_DATE_EPOCH": "1700000000", "SOURCE": "https://example.org/sokken", "PYTHON_IMAGE": base}
    try:
        done = run("scripts/image", name, "--no-cache", seconds=900, cwd=ROOT, env=os.environ | told)
        assert done.returncode == 0, done.stdout + done.stderr
        yield name
    finally:
        run("docker", "image", "rm", "--force", name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_second_build_has_the_same_files(rebuilt, files):
    again = read_files(rebuilt)
    assert {path for path in files.keys() | again.keys() if files.get(path) != again.get(path)} == set()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_is_labelled_as_it_was_told(rebuilt):
    def label(name):
        return succeed("docker", "image", "inspect", "--format", LABEL.format(name), rebuilt).strip()

    assert label("created") == "2023-11-14T22:13:20Z"
    assert label("source") == "https://example.org/sokken"
