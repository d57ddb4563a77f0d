"""The chart as helm renders it: objects to look at, or the sentence with which helm refuses."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.services import run

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "sokken"
KUBERNETES = ("1.27", "1.31", "1.37")  # the oldest that the chart takes, one between, and a new one
CASES = {path.name.removesuffix("-values.yaml"): path for path in sorted((CHART / "ci").glob("*.yaml"))}
TARGETS = {"server": {"targets": ["db.internal:5432"]}}
FORWARD = {"name": "db", "listenPort": 5432, "target": {"host": "db.internal", "port": 5432}}
CLIENT = {
    "server": {"enabled": False},
    "client": {"enabled": True, "server": {"url": "wss://tunnel.example"}, "forwards": [FORWARD]},
}

Thing = dict[str, Any]


class Refused(Exception):
    """What helm said instead of rendering."""


class Objects(list[Thing]):
    """What was rendered."""

    def of(self, kind: str) -> list[Thing]:
        return [thing for thing in self if thing["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> Thing:
        found = [thing for thing in self.of(kind) if name in {None, thing["metadata"]["name"]}]
        assert len(found) == 1, [name_of(thing) for thing in self]
        return found[0]

    def pod_specs(self) -> Iterator[tuple[str, Thing]]:
        """The spec of every pod, with the name of what makes it."""
        for thing in self:
            if thing["kind"] == "Pod":
                yield name_of(thing), thing["spec"]
            elif "template" in thing.get("spec", {}):
                yield name_of(thing), thing["spec"]["template"]["spec"]


def name_of(thing: Thing) -> str:
    return f"{thing['kind']}/{thing['metadata']['name']}"


def helms() -> list[str]:
    """Those to render with: helm, and an older one if it is there as helm3."""
    return ["helm", *(["helm3"] if shutil.which("helm3") else [])]


def found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.fail(f"{program} is not on PATH; the tests of the chart need it", pytrace=False)
    return path


def merged(*layers: Mapping[str, Any]) -> Thing:
    """Values over values, mappings key by key."""
    result: Thing = {}
    for layer in layers:
        for key, value in layer.items():
            under = result.get(key)
            result[key] = merged(under, value) if isinstance(value, Mapping) and isinstance(under, Mapping) else value
    return result


def render(
    *layers: Mapping[str, Any], helm: str = "helm", release: str = "sokken", namespace: str = "default"
) -> Objects:
    """Render the chart with these values; raises Refused."""
    return _render(json.dumps(merged(*layers)), helm, release, namespace)


def render_case(case: str, helm: str = "helm") -> Objects:
    """Render it with one of the files in its folder ``ci``."""
    return render(yaml.safe_load(CASES[case].read_text()), helm=helm)


@cache
def _render(values: str, helm: str, release: str, namespace: str) -> Objects:
    command = [found(helm), "template", release, CHART, "--namespace", namespace, "--values", "-"]
    done = run(*command, "--kube-version", "1.34.0", input=values, env={"PATH": os.environ["PATH"], "HOME": "/nowhere"})
    if done.returncode:
        raise Refused(done.stderr)
    assert done.stderr == ""
    return Objects(thing for thing in yaml.safe_load_all(done.stdout) if thing)


def container(objects: Objects, component: str) -> Thing:
    """The program's own container in a Deployment of server or client."""
    deployment = next(
        thing
        for thing in objects.of("Deployment")
        if thing["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )
    return next(each for each in deployment["spec"]["template"]["spec"]["containers"] if each["name"] == component)


def environment(objects: Objects, component: str) -> dict[str, str]:
    """What that container's program finds in its environment, without what comes from Secrets and fields."""
    return {each["name"]: each["value"] for each in container(objects, component)["env"] if "value" in each}
