"""What the image says of itself, and that it is true."""

import json
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sokken import __version__
from tests.support.services import succeed

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def config(image):
    return json.loads(succeed("docker", "image", "inspect", "--format", "{{json .Config}}", image))


@pytest.fixture(scope="module")
def labels(config):
    return {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}


def test_the_version_is_what_it_runs(docker, labels):
    assert labels["version"] == __version__
    assert docker.finish("-version").stdout == f"sokken {__version__}\n"


def test_it_is_called_as_the_project_is(labels):
    assert (labels["title"], labels["description"]) == (PROJECT["name"], PROJECT["description"])
    assert labels["licenses"] == PROJECT["license"]


def test_the_revision_is_the_commit_and_says_if_there_was_more(labels):
    is_clean = not git("status", "--porcelain")
    assert labels["revision"] == git("rev-parse", "HEAD") + ("" if is_clean else "-dirty")


def test_it_was_created_when_it_was_committed(labels):
    committed = datetime.fromtimestamp(int(git("log", "-1", "--format=%ct")), UTC)
    assert labels["created"] == committed.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_it_runs_as_nobody_and_listens_nowhere_by_itself(config):
    assert config["User"] == "65532:65532"
    assert (config["Entrypoint"], config.get("Cmd")) == (["sokken"], None)
    assert not config.get("Volumes")
