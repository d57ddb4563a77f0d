"""What is made from the chart is what the chart says, today; and it is small enough for a release."""

import base64
import gzip
import json
import re
import shutil
import sys
import tarfile

import jsonschema
import pytest
import yaml

import sokken
from charts.generate.manifests import FOLDER, manifests
from charts.generate.values import read_values
from tests.support.charts import CASES, CHART, found, helms, merged
from tests.support.services import run, succeed


@pytest.mark.parametrize("helm", helms())
def test_the_manifests_are_current(helm):
    found(helm)
    made = manifests(helm)
    there = {path.name: path.read_text() for path in FOLDER.iterdir() if path.is_file()}
    assert there == {path.name: text for path, text in made.items()}, "run: make manifests"


def test_kubectl_builds_the_manifests():
    built = [thing for thing in yaml.safe_load_all(succeed(found("kubectl"), "kustomize", FOLDER)) if thing]
    kinds = {thing["kind"] for thing in built}
    assert {"Namespace", "Deployment", "Service", "ConfigMap", "PodDisruptionBudget"} <= kinds
    names = {thing["metadata"]["name"] for thing in built if thing["kind"] == "ConfigMap"}
    assert {"CustomResourceDefinition", "ClusterRole"} <= kinds
    (deployment,) = [
        thing for thing in built if thing["kind"] == "Deployment" and thing["metadata"]["name"] == "sokken-server"
    ]
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert {volume["configMap"]["name"] for volume in volumes if "configMap" in volume} == names
    assert {thing["metadata"].get("namespace", "sokken") for thing in built} == {"sokken"}
    bindings = [thing for thing in built if thing["kind"].endswith("Binding")]
    assert {subject["namespace"] for thing in bindings for subject in thing["subjects"]} == {"sokken"}


def test_tunnels_get_the_image_and_the_namespace_that_the_kustomization_names(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "k8s")
    kustomization = tmp_path / "k8s" / "kustomization.yaml"
    text = kustomization.read_text().replace("\nnamespace: sokken", "\nnamespace: tunnels")
    kustomization.write_text(re.sub(r"^# (?=images:|  - name:|    newName:)", "", text, flags=re.MULTILINE))
    built = yaml.safe_load_all(succeed(found("kubectl"), "kustomize", tmp_path / "k8s"))
    (operator,) = [
        thing
        for thing in built
        if thing and (thing["kind"], thing["metadata"]["name"]) == ("Deployment", "sokken-operator")
    ]
    (container,) = operator["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert container["image"].startswith("registry.example/sokken:")
    assert env["SOKKEN_OPERATOR_IMAGE"] == container["image"]
    assert env["SOKKEN_OPERATOR_IMAGE_PULL_POLICY"] == "IfNotPresent"  # kustomize takes a name for an expression
    assert env["SOKKEN_OPERATOR_LEASE_NAMESPACE"] == operator["metadata"]["namespace"] == "tunnels"


def test_the_policy_of_the_manifests_is_one_and_allows_nothing(tmp_path):
    answer = run(
        sys.executable,
        "-m",
        "sokken",
        "policy",
        "test",
        "--identity",
        "x",
        "--target",
        "a:1",
        "--policy-file",
        FOLDER / "policy.yaml",
    )
    assert (answer.returncode, answer.stdout.splitlines()[-1]) == (1, "deny")


def test_nothing_in_the_manifests_says_that_helm_was_there():
    assert "helm" not in "".join(path.read_text().lower() for path in FOLDER.iterdir() if path.is_file()).replace(
        "needs neither helm", ""
    )


def test_versions():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == sokken.__version__
    assert chart["kubeVersion"] == ">=1.27.0-0"


def test_the_schema_and_the_readme_know_every_value():
    schema = json.loads((CHART / "values.schema.json").read_text())
    readme = (CHART / "README.md").read_text()
    for value in (each for top in read_values() for each in top.walk()):
        place = schema
        for key in value.path:
            place = place["properties"][key]
        if not value.children:
            assert f"| `{'.'.join(value.path)}` |" in readme


def test_every_mapping_of_fixed_keys_is_closed():
    schema = json.loads((CHART / "values.schema.json").read_text())
    for value in (each for top in read_values() for each in top.walk() if each.children):
        place = schema
        for key in value.path:
            place = place["properties"][key]
        assert place["additionalProperties"] is (value.path == ("global",)), value.path


@pytest.mark.parametrize("case", ["default", "everything"])
def test_a_release_is_far_smaller_than_a_secret_may_be(case, tmp_path):
    """A release is kept in a Secret, of 1 MiB at most: chart, values and manifests, compressed, in base64."""
    succeed(found("helm"), "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("sokken-*.tgz")
    rendered = succeed(found("helm"), "template", "sokken", CHART, "--kube-version", "1.34.0", "--values", CASES[case])
    content = b"".join(path.read_bytes() for path in CHART.rglob("*") if path.is_file())
    size = len(base64.b64encode(base64.b64encode(gzip.compress(content + rendered.encode()))))
    assert size < 200_000
    assert package.stat().st_size < 100_000


def test_a_package_holds_the_chart_and_nothing_else(tmp_path):
    succeed(found("helm"), "package", CHART, "--destination", tmp_path)
    (package,) = tmp_path.glob("sokken-*.tgz")
    with tarfile.open(package) as archive:
        names = {name.removeprefix("sokken/") for name in archive.getnames()}
    assert {"Chart.yaml", "values.yaml", "values.schema.json", "README.md", "files/rules.yaml"} <= names
    assert {"files/test/echo.py", "files/test/round_trip.py", "files/placed-settings.yaml"} <= names
    assert not any(name.startswith("ci/") or "__pycache__" in name for name in names)


def test_merging_values_is_what_helm_does():
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


def without_nulls(values):
    """As helm merges values: null takes a key away."""
    if not isinstance(values, dict):
        return values
    return {key: without_nulls(value) for key, value in values.items() if value is not None}


@pytest.mark.parametrize("path", [CHART / "values.yaml", *CASES.values()], ids=lambda path: path.name)
def test_another_validator_understands_the_schema_as_helm_does(path):
    """An older helm has another one (draft 7, no look-ahead in patterns)."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    values = yaml.safe_load(path.read_text())
    assert [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(without_nulls(values))] == []
    assert "(?" not in (CHART / "values.schema.json").read_text()
