"""What the README and docs/kubernetes.md say of the chart: their commands and their values are ones that it takes."""

import re
import shlex

import pytest
import yaml

from sokken.operator.acceptance import accept_tunnel
from sokken.operator.crd import build_crd
from sokken.operator.resources import build
from tests.support.api_server import admit
from tests.support.charts import CHART, CLIENT, ROOT, TARGETS, environment, found, render
from tests.support.golden_manifests import DEFAULTS
from tests.support.services import succeed

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
OF_THE_CHART = [block for block in BLOCKS if set(yaml.safe_load(block)) <= set(VALUES)]
POLICIES = ("policy", "existingPolicyConfigMap", "targets")


def section():
    text = (ROOT / "README.md").read_text()
    return re.search(r"^## Kubernetes$(.*?)^## ", text, re.MULTILINE | re.DOTALL)[1]


def commands(text):
    """Commands of a page, each with what it reads from a here-document."""
    indented = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    lines = iter(indented.replace("\\\n", " ").splitlines())
    for line in lines:
        command, mark, _ = line.partition(" <<END")
        body = "\n".join(iter(lines.__next__, "END")) if mark else ""
        yield shlex.split(command, comments=True), body


def test_the_readmes_commands_are_ones_that_helm_takes():
    rendered = []
    for words, body in commands(section()):
        if words[0] == "kubectl":
            continue
        if words[1] != "install":
            assert words == ["helm", "test", "sokken", "--namespace", "tunnels"]
            continue
        options = [word for word in words[2:] if word not in {"--wait", "--create-namespace"}]
        command = [found("helm"), "template", *options, "--kube-version", "1.34.0"]
        text = succeed(*command, cwd=ROOT, **({"input": body} if body else {}))
        rendered.append([thing for thing in yaml.safe_load_all(text) if thing])
    server, client = rendered
    services = {thing["metadata"]["name"]: thing for thing in [*server, *client] if thing["kind"] == "Service"}
    assert services["sokken-server"]["metadata"]["namespace"] == "tunnels"
    assert services["remote-sokken-client"]["spec"]["ports"][0]["port"] == 5432
    (deployment,) = [thing for thing in client if thing["kind"] == "Deployment"]
    env = {each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["SOKKEN_FORWARDS"] == "db=:5432=ws://sokken-server.tunnels/tunnel/db.internal:5432"


def test_the_readmes_tunnel_becomes_the_service_that_it_says():
    manifests, applied, wait = [(words, body) for words, body in commands(section()) if words[0] == "kubectl"]
    assert manifests == (["kubectl", "apply", "-k", "k8s/"], "")
    assert applied[0] == ["kubectl", "apply", "--namespace", "shop", "--filename", "-"]
    tunnel = admit(build_crd(), yaml.safe_load(applied[1]))
    assert wait[0][:5] == ["kubectl", "wait", "--namespace", "shop", "--for=condition=Ready"]
    assert wait[0][5] == f"tunnel/{tunnel['metadata']['name']}"
    tunnel["metadata"] |= {"namespace": "shop", "uid": "u", "generation": 1}
    (service,) = [thing for thing in build(accept_tunnel(tunnel), DEFAULTS) if thing["kind"] == "Service"]
    assert f"the Service `{service['metadata']['name']}`" in section()


@pytest.mark.parametrize("block", OF_THE_CHART, ids=lambda block: block.split("\n")[1].strip()[:30])
def test_the_pages_values_are_ones_that_the_chart_takes(block):
    values = yaml.safe_load(block)
    is_client = "client" in values
    has_policy = any(values.get("server", {}).get(key) for key in POLICIES)
    objects = render(*([CLIENT] if is_client else []), *([] if is_client or has_policy else [TARGETS]), values)
    assert environment(objects, "client" if is_client else "server")


def test_most_of_the_pages_blocks_are_values():
    assert (len(BLOCKS), len(OF_THE_CHART)) == (9, 8)


def test_the_pages_commands_name_files_that_it_shows():
    named = [word for words, _ in commands(PAGE) if words[:2] == ["helm", "install"] for word in words]
    assert {"server.yaml", "client.yaml", "charts/sokken"} <= set(named)
