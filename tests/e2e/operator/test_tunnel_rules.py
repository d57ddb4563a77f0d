"""What a Tunnel may not be the API server refuses, with the field and a sentence; samples it takes."""

import json

import pytest

from tests.e2e.operators import tunnel
from tests.e2e.tools import ROOT, refused

FORWARD = tunnel()["spec"]["forwards"][0]
BAD = {
    "a URL without its scheme": ({"server": {"url": "tunnel.example"}}, "spec.server.url", "wss://"),
    "a password in the URL": ({"server": {"url": "wss://me:secret@tunnel.example"}}, "spec.server.url", "password"),
    "a query in the URL": ({"server": {"url": "wss://tunnel.example?x=1"}}, "spec.server.url", "query"),
    "authorities for ws://": (
        {"server": {"url": "ws://a", "caBundleRef": {"name": "x"}}},
        "spec.server.caBundleRef",
        "wss://",
    ),
    "no forward": ({"forwards": []}, "spec.forwards", "at least 1"),
    "a port twice": ({"forwards": [FORWARD, {**FORWARD, "name": "other"}]}, "spec.forwards", "listenPort"),
    "a name twice": ({"forwards": [FORWARD, {**FORWARD, "listenPort": 7010}]}, "spec.forwards", "Duplicate"),
    "a reserved port": (
        {"forwards": [{**FORWARD, "listenPort": 19000}]},
        "spec.forwards[0].listenPort",
        "status and health",
    ),
    "a low port": ({"forwards": [{**FORWARD, "listenPort": 80}]}, "spec.forwards[0].listenPort", "1024"),
    "two credentials": (
        {
            "server": {"url": "wss://a"},
            "auth": {"tokenSecretRef": {"name": "x"}, "serviceAccountToken": {"audience": "y"}},
        },
        "spec.auth",
        "token",
    ),
    "tag and digest": ({"image": {"tag": "1", "digest": f"sha256:{'0' * 64}"}}, "spec.image", "digest"),
    "a setting that has a field": (
        {"podTemplate": {"env": [{"name": "SOKKEN_TOKEN_FILE", "value": "/x"}]}},
        "spec.podTemplate.env",
        "use its field in spec",
    ),
    "less than none": ({"replicas": -1}, "spec.replicas", "greater than or equal to 0"),
    "a ratio above one": ({"telemetry": {"samplingRatio": "2"}}, "spec.telemetry.samplingRatio", ""),
}


@pytest.mark.timeout(120)
def test_bad_specs_are_refused_and_samples_are_not(namespace):
    wrong = {}
    for what, (change, field, word) in BAD.items():
        thing = json.dumps(tunnel(**change))
        command = ("kubectl", "--namespace", namespace.name, "apply", "--dry-run=server", "--filename", "-")
        said = refused(*command, input=thing)
        if field not in said or word not in said:
            wrong[what] = said
    assert wrong == {}
    unknown = tunnel()
    unknown["spec"]["replcas"] = 3
    said = refused(
        *("kubectl", "--namespace", namespace.name, "apply", "--server-side", "--filename", "-"),
        input=json.dumps(unknown),
    )
    assert "replcas" in said
    for sample in sorted((ROOT / "k8s" / "samples").glob("*.yaml")):
        namespace.kubectl("apply", "--dry-run=server", "--filename", sample)
