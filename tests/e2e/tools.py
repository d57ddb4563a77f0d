"""docker, kind, kubectl and helm: what is missing of them, and how a story speaks to the cluster.

kubectl and helm find the cluster by KUBECONFIG, which conftest.py sets for the whole suite. A command that must succeed
fails the test with what it said; one that must be refused gives what it said.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from tests.support.services import run, succeed

ROOT = Path(__file__).parents[2]
ARTIFACTS = Path(__file__).parent / "artifacts"
PATIENCE = 180.0  # seconds; a bound for what a busy machine does in a few


def describe_missing() -> str | None:
    """What the suite needs and does not find, in a sentence."""
    needed = ["docker", "kubectl", "helm", *([] if "E2E_KUBECONFIG" in os.environ else ["kind"])]
    if absent := [name for name in needed if shutil.which(name) is None]:
        return (
            f"the end-to-end tests need {', '.join(needed)} on PATH, and do not find {', '.join(absent)}: install them"
        )
    if run("docker", "info").returncode:
        return "the end-to-end tests need a docker engine, and docker's does not answer: `docker info` says why"
    return None


def kubectl(*words: object, **options: Any) -> str:
    """Run kubectl, which must succeed; what it printed."""
    return succeed("kubectl", *words, **{"seconds": PATIENCE, **options})


def helm(*words: object, **options: Any) -> str:
    """Run helm, which must succeed; what it printed."""
    return succeed("helm", *words, **{"seconds": PATIENCE, **options})


def refused(*command: object, **options: Any) -> str:
    """Run a command that must fail by itself; what it said."""
    done = run(*command, **{"seconds": PATIENCE, **options})
    assert done.returncode not in {0, None}, f"{command} should have been refused, and said: {done.stdout}"
    return done.stderr
