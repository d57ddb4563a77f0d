"""The examples that people copy: in k8s/samples, and in docs/operator.md."""

import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from sokken.operator.acceptance import accept_tunnel
from sokken.operator.crd import build_crd
from sokken.operator.resources import build
from tests.support.api_server import admit
from tests.support.golden_manifests import DEFAULTS

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "k8s" / "samples").glob("*.yaml"))
PAGE = (ROOT / "docs" / "operator.md").read_text()
EXAMPLES = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]


def use(document):
    """As the API server and the operator would."""
    admitted = admit(build_crd(), document)
    admitted["metadata"] = {"namespace": "default", "uid": "u", "generation": 1, **admitted["metadata"]}
    return build(accept_tunnel(admitted), DEFAULTS)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_is_admitted_accepted_and_becomes_valid_objects(sample):
    document = yaml.safe_load(sample.read_text())
    assert document["metadata"]["name"] == sample.stem
    for manifest in use(document):
        if manifest["kind"] != "PodMonitor":
            kubernetes_validate.validate(manifest, "1.34", strict=True)


def test_a_sample_says_what_it_is_for():
    assert len(SAMPLES) >= 6
    assert all(sample.read_text().startswith("# ") for sample in SAMPLES)


def test_the_examples_of_the_page():
    assert EXAMPLES
    for document in EXAMPLES:
        use(document)
