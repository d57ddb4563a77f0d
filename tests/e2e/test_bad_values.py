"""Values that are wrong: helm refuses them in a sentence that names the key, and installs nothing."""

import json

import pytest

from tests.e2e.release import CHART
from tests.e2e.tools import refused

WRONG = {
    "an unknown key": ({"server": {"replicaz": 2}}, "replicaz"),
    "an unknown component": ({"servr": {"enabled": True}}, "servr"),
    "a number as a word": ({"server": {"replicas": "two"}}, "replicas"),
    "a list as a word": ({"server": {"targets": "target:7007"}}, "targets"),
    "a forward without a target": (
        {"client": {"enabled": True, "server": {"url": "ws://far"}, "forwards": [{"name": "a", "listenPort": 7007}]}},
        "target",
    ),
    "two sources of one policy": (
        {"server": {"targets": ["target:7007"], "existingPolicyConfigMap": {"name": "policy"}}},
        "existingPolicyConfigMap",
    ),
    "a client that leads nowhere": ({"client": {"enabled": True, "server": {"url": "ws://far"}}}, "client.forwards"),
    "a password in a URL": ({"client": {"enabled": True, "server": {"url": "ws://me:secret@far"}}}, "url"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_helm_refuses_and_names_the_key(namespace, wrong):
    values, key = WRONG[wrong]
    command = ("helm", "--namespace", namespace.name, "install", "sokken", CHART, "--values", "-")
    assert key in refused(*command, input=json.dumps(values))
    assert namespace.get("secrets,deployments,services")["items"] == []
