"""A newer definition of Tunnels comes while there are Tunnels: they stay what they are, and may say more."""

import json

import pytest
import yaml

from sokken.operator.crd import format_crd
from tests.e2e import tools
from tests.e2e.cluster import apply_definition
from tests.e2e.namespace import eventually
from tests.e2e.operators import install_operator, merge, reason, tunnel
from tests.e2e.tools import refused


@pytest.mark.timeout(180)
def test_an_upgrade_of_the_definition(namespace):
    install_operator(namespace)
    older = yaml.safe_load(format_crd())
    spec = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    del spec["service"]["properties"]["trafficDistribution"]
    try:
        tools.kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", input=json.dumps(older))
        namespace.apply(tunnel(replicas=0))
        eventually(lambda: reason(namespace) == ("False", "Suspended"))
        before = namespace.get("tunnel/web")["metadata"]["uid"]
        change = {"spec": {"service": {"trafficDistribution": "PreferClose"}}}
        said = refused(
            *("kubectl", "--namespace", namespace.name, "apply", "--server-side", "--filename", "-"),
            input=json.dumps(tunnel(replicas=0, **change["spec"])),
        )
        assert "trafficDistribution" in said
    finally:
        apply_definition()
    eventually(lambda: not _refuses(namespace, change))
    found = namespace.get("tunnel/web")
    assert found["metadata"]["uid"] == before
    eventually(lambda: namespace.get("service/web-sokken")["spec"].get("trafficDistribution") == "PreferClose")


def _refuses(namespace, change):
    merge(namespace, change)
    return "trafficDistribution" not in namespace.get("tunnel/web")["spec"].get("service", {})
