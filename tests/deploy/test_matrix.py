"""The chart with every set of values in its folder ``ci``: Kubernetes and the programs take what is rendered."""

import json
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest

from sokken.settings import ClientSettings, ServerSettings
from sokken.settings.loading import load
from tests.support.charts import (
    CASES,
    CHART,
    KUBERNETES,
    container,
    environment,
    found,
    helms,
    name_of,
    render_case,
)
from tests.support.services import run

# Kinds that Kubernetes itself does not know: schemas of the projects that define them.
FOREIGN = {path.stem: json.loads(path.read_text()) for path in (Path(__file__).parent / "schemas").glob("*.json")}
PROGRAMS = {"server": ServerSettings, "client": ClientSettings}

every_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture(params=helms())
def helm(request):
    return request.param


@cache
def complaints(text: str) -> tuple[str, ...]:
    """What the schemas of three versions of Kubernetes have to say about an object."""
    thing = json.loads(text)
    if thing["kind"] in FOREIGN:
        validator = jsonschema.Draft202012Validator(FOREIGN[thing["kind"]])
        return tuple(error.message for error in validator.iter_errors(thing))
    said = []
    for version in KUBERNETES:
        try:
            assert kubernetes_validate.validate(thing, version, strict=True) == version
        except kubernetes_validate.ValidationError as error:
            said.append(f"{version}: {'.'.join(map(str, error.path))}: {error.message}")
    return tuple(said)


@every_case
def test_every_object_is_one_that_kubernetes_takes(case, helm):
    objects = render_case(case, helm)
    wrong = {name_of(thing): complaints(json.dumps(thing, sort_keys=True)) for thing in objects}
    assert {name: said for name, said in wrong.items() if said} == {}
    assert (objects == []) == (case == "nothing")


def test_objects_that_kubernetes_does_not_take_are_noticed():
    thing = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": [{"port": "a"}]}}
    assert len(complaints(json.dumps(thing))) == len(KUBERNETES)
    assert len(complaints(json.dumps({**thing, "spec": {"prts": []}}))) == len(KUBERNETES)


@every_case
def test_both_helms_render_the_same(case):
    assert [render_case(case, helm) for helm in helms()] == [render_case(case)] * len(helms())


@every_case
def test_helm_finds_nothing_to_complain_of(case, helm):
    done = run(found(helm), "lint", "--strict", "--kube-version", "1.34.0", CHART, "--values", CASES[case])
    assert done.returncode == 0, done.stdout


@every_case
def test_no_name_is_there_twice(case):
    names = [name_of(thing) for thing in render_case(case)]
    assert sorted(set(names)) == sorted(names)


@every_case
def test_the_programs_take_their_environment(case, monkeypatch):
    """What is rendered is what the program itself reads; a Secret's value cannot be known, and is one that fits."""
    objects = render_case(case)
    for thing in objects.of("Deployment"):
        component = thing["metadata"]["labels"]["app.kubernetes.io/component"]
        if component not in PROGRAMS:
            continue
        with monkeypatch.context() as patch:
            for name, value in environment(objects, component).items():
                patch.setenv(name, value)
            for each in container(objects, component)["env"]:
                if "secretKeyRef" in each.get("valueFrom", {}):
                    patch.setenv(each["name"], "http://user:password@proxy.example:3128")
            loaded = load(PROGRAMS[component], {})
        assert loaded.warnings == ()
        assert str(loaded.settings.api_addr) == ":8000"
