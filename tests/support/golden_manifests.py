"""Writes what the operator renders into files that tests compare: ``python -m tests.support.golden_manifests``."""

from pathlib import Path

import yaml

from sokken.operator.resources import Defaults, Manifest, build
from tests.support.tunnels import LARGE, SMALL, tunnel

GOLDEN = Path(__file__).parents[1] / "unit" / "operator" / "resources" / "golden"
DEFAULTS = Defaults(
    image="registry.example/sokken:1.2.3",
    image_pull_secrets=("operators",),
    has_pod_monitors=True,
    operator_namespace="sokken-system",
)
CASES = {"small": tunnel(SMALL), "large": tunnel(LARGE)}


def render(case: str) -> tuple[Manifest, ...]:
    """The objects of one case."""
    return build(CASES[case], DEFAULTS)


def format_manifests(manifests: tuple[Manifest, ...]) -> str:
    """As they are written down."""
    return yaml.safe_dump_all(manifests, sort_keys=False, width=1000)


if __name__ == "__main__":
    for case in CASES:
        (GOLDEN / f"{case}.yaml").write_text(format_manifests(render(case)))
