"""The CustomResourceDefinition: what it refuses and with which words, and that it can be had and kept."""

import json
import re
from pathlib import Path

import pytest
import yaml

from sokken.operator.crd import build_crd, format_crd
from sokken.operator.model import decode_tunnel
from sokken.operator.model.names import SETTINGS_IN_ENV
from tests.support.api_server import RULES, Refused, admit, rules_of, schema_of
from tests.support.tunnels import LARGE, REFUSED, REFUSED_NAMES, SMALL, changed, document, refused_spec

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "k8s" / "crds" / "tunnels.sokken.dev.yaml"
CRD = build_crd()


def nodes(schema, path=""):
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in schema:
            yield from nodes(schema[key], f"{path}[{key}]")


def test_the_committed_file_is_current():
    assert COMMITTED.read_text() == format_crd(), "run: make crd"


def test_it_is_small_enough_for_an_annotation_of_kubectl_and_has_room():
    assert len(json.dumps(CRD)) < 60_000
    assert len(format_crd()) < 60_000


def test_the_yaml_is_the_object():
    assert yaml.safe_load(format_crd()) == CRD
    assert "&id" not in format_crd()


@pytest.mark.parametrize("spec", [SMALL, LARGE], ids=["small", "large"])
def test_a_good_tunnel_is_admitted_and_can_be_decoded(spec):
    admitted = admit(CRD, document(spec))
    assert decode_tunnel(admitted).spec == decode_tunnel(document(spec)).spec


def test_the_defaults_of_the_schema_are_those_of_the_model():
    admitted = admit(CRD, document())["spec"]
    assert (admitted["replicas"], admitted["maxConnections"], admitted["drainTimeoutSeconds"]) == (1, 1000, 300)
    assert admitted["service"] == {"type": "ClusterIP"}
    assert "podTemplate" not in admitted
    assert "auth" not in admitted


@pytest.mark.parametrize(("path", "value", "field", "said"), REFUSED, ids=[f"{row[0]}-{row[3]}" for row in REFUSED])
def test_a_bad_spec_is_refused_with_a_sentence_that_names_the_field(path, value, field, said):
    with pytest.raises(Refused) as caught:
        admit(CRD, document(refused_spec(path, value)))
    assert any(field in problem.partition(": ")[0] and said in problem for problem in caught.value.problems)


@pytest.mark.parametrize("name", REFUSED_NAMES)
def test_a_name_that_no_service_can_have(name):
    with pytest.raises(Refused, match="its Service is called after it"):
        admit(CRD, document(name=name))


def test_every_rule_has_a_spec_that_breaks_it():
    """A rule that nothing breaks may never have been read."""
    broken = set()
    bad = [document(refused_spec(path, value)) for path, value, _, _ in REFUSED]
    for each in [*bad, *(document(name=name) for name in REFUSED_NAMES)]:
        with pytest.raises(Refused) as caught:
            admit(CRD, each)
        broken |= {problem.partition(": ")[2] for problem in caught.value.problems}
    messages = {rule["message"] for _, rule in rules_of(schema_of(CRD))}
    assert messages - broken == set()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("server.url", "ws://server"),
        ("server.url", "wss://[fd00::1]:8443/a/b%20c,d"),
        ("server.url", "wss://10.0.0.1"),
        ("server.url", "wss://under_score.example."),
        ("forwards.0.target.host", "fd00::1"),
        ("forwards.0.target.host", "under_score"),
        ("forwards.0.target.host", "10.0.0.1"),
        ("forwards.0.target.host", "3com.example"),
        ("forwards.0.name", "p5-a"),
        ("replicas", 0),
        ("telemetry", {"samplingRatio": "1.000"}),
        ("telemetry", {"samplingRatio": "0"}),
        ("podTemplate", {"resources": {"limits": {"cpu": 2, "memory": "1.5Gi"}}}),
        ("podTemplate", {"env": [{"name": "OTEL_SDK_DISABLED", "value": "true"}]}),
        ("image", {"repository": "localhost:5000/a/b_c", "tag": "v1.2_3-x"}),
    ],
)
def test_what_is_unusual_and_good(path, value):
    admit(CRD, document(changed(SMALL, path, value)))


def test_credentials_without_tls_if_somebody_insists():
    env = [{"name": "SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS", "value": "true"}]
    spec = changed(changed(SMALL, "server.url", "ws://server:8000"), "auth", {"tokenSecretRef": {"name": "a"}})
    admit(CRD, document(changed(spec, "podTemplate", {"env": env})))


@pytest.mark.parametrize("name", SETTINGS_IN_ENV)
def test_settings_without_a_field_may_be_variables(name):
    admit(CRD, document(changed(SMALL, "podTemplate", {"env": [{"name": name, "value": "1"}]})))


def test_whatever_may_grow_has_a_bound():
    """The API server estimates what rules cost, and refuses those without bounds."""
    for path, schema in nodes(schema_of(CRD)):
        kind = schema.get("type")
        if kind == "array":
            assert "maxItems" in schema, path
            assert schema["x-kubernetes-list-type"] in ("atomic", "map"), path
        elif kind == "string" and path not in (".apiVersion", ".kind"):
            assert "maxLength" in schema or "enum" in schema or schema.get("format") == "date-time", path
        elif kind == "object" and "additionalProperties" in schema:
            assert "maxProperties" in schema, path
        elif kind == "integer":
            assert {"minimum", "maximum", "format"} <= schema.keys(), path


def test_it_is_structural():
    for path, schema in nodes(schema_of(CRD)):
        assert "$ref" not in schema, path
        assert "title" not in schema, path
        assert ("anyOf" in schema) == ("x-kubernetes-int-or-string" in schema), path
        assert "type" in schema or "x-kubernetes-int-or-string" in schema, path
        assert not (isinstance(schema.get("properties"), dict) and "additionalProperties" in schema), path


def test_the_keys_of_lists_are_required():
    for path, schema in nodes(schema_of(CRD)):
        keys = schema.get("x-kubernetes-list-map-keys", [])
        assert set(keys) <= set(schema["items"]["required"]) if keys else True, path


def test_every_field_of_a_spec_says_what_it_is_for():
    bare = (
        "affinity",
        "tolerations",
        "topologySpread",
        "dnsConfig",
        "resources",
        "securityContext",
        "hostAliases",
        "env",
    )
    for path, schema in nodes(schema_of(CRD)["properties"]["spec"]):
        if not any(f".podTemplate.{name}" in path for name in bare) and "[" not in path.rpartition(".")[2]:
            assert schema.get("description"), path


def test_no_place_has_a_rule_twice():
    """They are a list with keys: kubectl create takes it, and a server-side apply refuses it."""
    written = [(path, rule["rule"]) for path, rule in rules_of(schema_of(CRD))]
    assert len(written) == len(set(written))


def test_messages_are_sentences_without_values():
    for path, rule in rules_of(schema_of(CRD)):
        assert len(rule["message"]) < 200, path
        assert re.match(r"[a-zA-Z]", rule["message"]), path
        assert set(rule) <= {"rule", "message", "fieldPath"}, path


def test_an_hpa_can_scale_it():
    [version] = CRD["spec"]["versions"]
    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }


def test_how_it_is_listed():
    [version] = CRD["spec"]["versions"]
    names = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert names == ["Ready", "Reason", "Connected", "Replicas", "Server", "Age"]
    assert CRD["spec"]["names"]["shortNames"] == ["skt"]
    assert CRD["spec"]["names"]["categories"] == ["sokken"]
    assert RULES not in version
