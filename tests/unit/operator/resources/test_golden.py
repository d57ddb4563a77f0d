"""What is rendered, to the byte: an upgrade of the operator must not touch the pods of anybody's Tunnel."""

import pytest

from tests.support.golden_manifests import CASES, GOLDEN, format_manifests, render

ROLLS = (
    "the pod template is another one than in the last release: this rolls every Tunnel of everybody who upgrades. "
    "If that is meant, say so in CHANGELOG.md, and run: python -m tests.support.golden_manifests"
)
OTHERS = "the children are others than in the last release; if that is meant: python -m tests.support.golden_manifests"


def template_of(text):
    """A Deployment's pod template, as it is written down: everything from its line to the next object."""
    _, _, behind = text.partition("\n  template:\n")
    return behind.partition("\n---\n")[0]


@pytest.mark.parametrize("case", CASES)
def test_the_pod_template_is_that_of_the_last_release(case):
    committed = (GOLDEN / f"{case}.yaml").read_text()
    assert template_of(committed)
    assert template_of(format_manifests(render(case))) == template_of(committed), ROLLS


@pytest.mark.parametrize("case", CASES)
def test_the_other_objects_are_those_of_the_last_release(case):
    assert format_manifests(render(case)) == (GOLDEN / f"{case}.yaml").read_text(), OTHERS
