"""`make image` and `make test-image` where docker is not: one line that says what is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def make(tmp_path):
    """Run make with nothing else on PATH than what the test puts there."""
    for name in ("sh", "sed"):
        (tmp_path / name).symlink_to(shutil.which(name))

    def run(target):
        command = [shutil.which("make"), "--no-print-directory", target]
        env = {"PATH": str(tmp_path)}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("target", ["image", "test-image"])
def test_without_docker(make, target):
    done = make(target)
    assert done.returncode == 2
    said, make_says = done.stderr.splitlines()
    assert said == "The image needs docker, which is not on PATH."
    assert make_says.startswith("make: ***")


@pytest.mark.parametrize("target", ["image", "test-image"])
def test_without_an_engine(make, target, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    docker.chmod(0o755)
    done = make(target)
    assert done.returncode == 2
    said = done.stderr.splitlines()[0]
    assert said == "The image needs docker's engine, which does not answer: see `docker version`."
