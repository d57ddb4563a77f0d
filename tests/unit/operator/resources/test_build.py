"""The objects that a Tunnel stands for: which there are, and what users would notice of them."""

import json
from dataclasses import replace
from pathlib import Path

import kubernetes_validate
import pytest
from hypothesis import HealthCheck, given, settings

from sokken.operator.model import decode_tunnel
from sokken.operator.resources import CHILD_KINDS, TUNNEL_LABEL, Annotation, Defaults, build, child_name, label_value
from sokken.operator.resources.environment import literal_settings
from sokken.settings import ClientSettings
from sokken.settings.catalogue import settings_of
from tests.support.golden_manifests import DEFAULTS
from tests.support.pod_security import violations
from tests.support.tunnel_specs import tunnel_documents
from tests.support.tunnels import LARGE, SMALL, UID, changed, forward, tunnel

SUPPORTED = ("1.29", "1.34", "1.37")
OLDEST = changed(LARGE, "service.trafficDistribution", None)  # Kubernetes 1.30 has it first
SCHEMALESS = {"PodMonitor"}


def built(spec=SMALL, defaults=DEFAULTS, **metadata):
    return {each["kind"]: each for each in build(tunnel(spec, **metadata), defaults)}


def pod_of(children):
    return children["Deployment"]["spec"]["template"]["spec"]


def container_of(children):
    [container] = pod_of(children)["containers"]
    return container


def env_of(children):
    return {each["name"]: each.get("value") for each in container_of(children)["env"]}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(tunnel_documents())
def test_whatever_is_admitted_becomes_valid_restricted_objects(document):
    decoded = decode_tunnel(document)
    manifests = build(decoded, DEFAULTS)
    assert json.dumps(manifests) == json.dumps(build(decode_tunnel(document), DEFAULTS))
    for manifest in manifests:
        if manifest["kind"] not in SCHEMALESS:
            kubernetes_validate.validate(manifest, SUPPORTED[1], strict=True)
        assert len(manifest["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in manifest["metadata"]["labels"].values())
        assert "null" not in json.dumps(manifest)
    pod = next(each for each in manifests if each["kind"] == "Deployment")["spec"]["template"]
    assert violations(pod["spec"]) == []
    names = [each["name"] for each in pod["spec"]["containers"][0]["env"]]
    assert len(names) == len(set(names))
    ports = pod["spec"]["containers"][0]["ports"]
    assert len({each["name"] for each in ports}) == len({each["containerPort"] for each in ports}) == len(ports)


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize("spec", [SMALL, LARGE], ids=["small", "large"])
def test_they_are_valid_in_each_supported_version(spec, version):
    for kind, manifest in built(OLDEST if spec is LARGE and version == SUPPORTED[0] else spec).items():
        if kind not in SCHEMALESS:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_what_a_small_tunnel_has():
    assert list(built()) == ["ServiceAccount", "Deployment", "Service"]


def test_what_a_large_tunnel_has():
    assert list(built(LARGE)) == ["NetworkPolicy", "Deployment", "Service", "PodDisruptionBudget", "PodMonitor"]


def test_every_kind_is_known_to_whoever_watches_them():
    known = {(each.api_version, each.kind) for each in CHILD_KINDS}
    whole = [*built().values(), *built(LARGE).values()]
    assert {(each["apiVersion"], each["kind"]) for each in whole} == known


def test_each_is_owned_by_the_tunnel_alone():
    for manifest in [*built().values(), *built(LARGE).values()]:
        assert manifest["metadata"]["ownerReferences"] == [
            {
                "apiVersion": "sokken.dev/v1alpha1",
                "kind": "Tunnel",
                "name": "db",
                "uid": UID,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
        assert "finalizers" not in manifest["metadata"]


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        ("service", {"type": "None"}, "Service"),
        ("replicas", 1, "PodDisruptionBudget"),
        ("networkPolicy", None, "NetworkPolicy"),
        ("monitoring", None, "PodMonitor"),
    ],
)
def test_what_is_not_asked_for_is_not_there(path, value, kind):
    assert kind in built(LARGE)
    assert kind not in built(changed(LARGE, path, value))


def test_what_the_cluster_cannot_do_is_left_out():
    assert "PodMonitor" not in built(LARGE, replace(DEFAULTS, has_pod_monitors=False))
    assert "NetworkPolicy" not in built(LARGE, replace(DEFAULTS, has_network_policies=False))


def test_a_suspended_tunnel_keeps_its_service():
    children = built(changed(SMALL, "replicas", 0))
    assert children["Deployment"]["spec"]["replicas"] == 0
    assert "Service" in children
    assert "PodDisruptionBudget" not in children


def test_the_service_leads_to_the_pods():
    children = built(changed(SMALL, "forwards", [*SMALL["forwards"], forward(servicePort=80)]))
    service = children["Service"]["spec"]
    assert service["selector"].items() <= children["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert [(each["name"], each["port"], each["targetPort"]) for each in service["ports"]] == [
        ("pg", 5432, "pg"),
        ("web", 80, "web"),
    ]
    containers = {each["name"]: each["containerPort"] for each in container_of(children)["ports"]}
    assert (containers["pg"], containers["web"]) == (5432, 8080)


def test_a_selector_is_made_of_the_name_alone():
    """It can never be changed."""
    selectors = {json.dumps(built(spec)["Deployment"]["spec"]["selector"]) for spec in (SMALL, LARGE)}
    assert selectors == {json.dumps({"matchLabels": {TUNNEL_LABEL: "db"}})}


def test_users_labels_never_replace_those_that_select():
    labels = {"app.kubernetes.io/name": "mine", "team": "shop"}
    spec = changed(SMALL, "podTemplate", {"labels": labels})
    found = built(spec)["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert (found["app.kubernetes.io/name"], found["team"]) == ("sokken", "shop")


@pytest.mark.parametrize(("drain", "grace"), [(0, 20), (300, 320), (86400, 86420)])
def test_a_pod_has_time_for_its_drain(drain, grace):
    children = built(changed(SMALL, "drainTimeoutSeconds", drain))
    env = env_of(children)
    assert pod_of(children)["terminationGracePeriodSeconds"] == grace
    assert int(env["SOKKEN_ENDPOINT_DELAY_SECONDS"]) + int(env["SOKKEN_DRAIN_TIMEOUT_SECONDS"]) + 15 == grace


@pytest.mark.parametrize(("replicas", "surge"), [(0, 1), (1, 1), (4, 1), (5, "25%"), (100, "25%")])
def test_a_working_pod_goes_only_when_a_new_one_is_ready(replicas, surge):
    strategy = built(changed(SMALL, "replicas", replicas))["Deployment"]["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": surge}}


def test_no_probe_that_restarts_a_pod_depends_on_the_server():
    container = container_of(built())
    assert {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")} == {"/livez"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    port = next(each["containerPort"] for each in container["ports"] if each["name"] == "sokken-health")
    assert env_of(built())["SOKKEN_API_ADDR"] == f":{port}"
    assert {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe")} == {"sokken-health"}


def test_a_pod_starts_without_what_it_refers_to():
    """It says then what is missing, and goes on when it comes."""
    children = built(LARGE)
    [volume] = pod_of(children)["volumes"]
    sources = volume["projected"]["sources"]
    assert len(sources) == 4
    assert all(next(iter(each.values()))["optional"] for each in sources)
    [mount] = container_of(children)["volumeMounts"]
    assert "subPath" not in mount
    paths = {f"{mount['mountPath']}/{item['path']}" for each in sources for item in next(iter(each.values()))["items"]}
    files = {value for name, value in env_of(children).items() if name.endswith("_FILE")}
    assert files == paths


def test_only_the_keys_that_are_needed_come_into_a_pod():
    [volume] = pod_of(built(LARGE))["volumes"]
    authorities = volume["projected"]["sources"][2]["secret"]
    assert authorities["items"] == [{"key": "bundle.pem", "path": "ca.crt"}]


def test_a_token_of_the_service_account():
    children = built(changed(SMALL, "auth", {"serviceAccountToken": {"audience": "sokken"}}))
    [volume] = pod_of(children)["volumes"]
    token = {"audience": "sokken", "expirationSeconds": 3600, "path": "token"}
    assert volume["projected"]["sources"] == [{"serviceAccountToken": token}]
    assert env_of(children)["SOKKEN_TOKEN_FILE"] == "/etc/sokken/credentials/token"
    assert pod_of(children)["automountServiceAccountToken"] is False


def test_a_service_account_is_made_unless_one_is_named():
    secret = [{"name": "registry"}]
    children = built(changed(SMALL, "podTemplate", {"imagePullSecrets": secret}))
    assert children["ServiceAccount"]["imagePullSecrets"] == [{"name": "operators"}, *secret]
    assert pod_of(children)["serviceAccountName"] == children["ServiceAccount"]["metadata"]["name"]
    assert "imagePullSecrets" not in pod_of(children)
    named = built(changed(SMALL, "podTemplate", {"imagePullSecrets": secret, "serviceAccountName": "mine"}))
    assert "ServiceAccount" not in named
    assert pod_of(named)["serviceAccountName"] == "mine"
    assert pod_of(named)["imagePullSecrets"] == [{"name": "operators"}, *secret]


@pytest.mark.parametrize(
    ("image", "default", "expected"),
    [
        ({}, "r.example:5000/a/sokken:1", "r.example:5000/a/sokken:1"),
        ({}, "sokken", "sokken"),
        ({"tag": "2"}, "r.example:5000/a/sokken:1", "r.example:5000/a/sokken:2"),
        ({"tag": "2"}, "r.example:5000/sokken", "r.example:5000/sokken:2"),
        ({"repository": "m/x"}, "r.example:5000/a/sokken:1", "m/x:1"),
        ({"repository": "m/x"}, f"sokken@sha256:{'1' * 64}", f"m/x@sha256:{'1' * 64}"),
        ({"digest": f"sha256:{'0' * 64}"}, "r:5000/sokken:1", f"r:5000/sokken@sha256:{'0' * 64}"),
        ({"digest": f"sha256:{'0' * 64}"}, f"r:5000/a:1@sha256:{'1' * 64}", f"r:5000/a@sha256:{'0' * 64}"),
        ({"tag": "2"}, f"a:1@sha256:{'1' * 64}", "a:2"),
    ],
)
def test_the_image_is_the_tunnels_own_as_far_as_it_says(image, default, expected):
    children = built(changed(SMALL, "image", image), Defaults(image=default))
    assert container_of(children)["image"] == expected


def test_what_a_user_writes_is_a_literal():
    """Kubernetes takes $(NAME) in a variable's value for another variable's."""
    spec = changed(SMALL, "server.headers", [{"name": "X-Route", "value": "$(POD_NAME) $$ $"}])
    assert env_of(built(spec))["SOKKEN_HEADERS"] == "X-Route: $$(POD_NAME) $$$$ $$"
    assert env_of(built(spec))["SOKKEN_CLIENT_ID"] == "shop/$(POD_NAME)"


def test_variables_of_ones_own_never_replace_what_the_operator_needs():
    env = [
        {"name": "POD_NAME", "value": "x"},
        {"name": "OTEL_SERVICE_NAME", "value": "mine"},
        {"name": "A", "value": ""},
    ]
    children = built(changed(LARGE, "podTemplate.env", env))
    assert container_of(children)["env"][0] == {
        "name": "POD_NAME",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
    }
    assert env_of(children)["OTEL_SERVICE_NAME"] == "mine"
    assert env_of(children)["A"] == ""


def test_telemetry_is_off_unless_it_is_asked_for():
    assert not any(name.startswith("OTEL_") for name in env_of(built()))
    only_endpoint = changed(SMALL, "telemetry", {"otlpEndpoint": "http://collector:4318"})
    assert not any(name.startswith("OTEL_") for name in env_of(built(only_endpoint)))


@pytest.mark.parametrize(
    ("asked", "traces", "metrics"),
    [
        ({"tracing": "Enabled"}, "otlp", "prometheus"),
        ({"metrics": "Pushed"}, "none", "prometheus,otlp"),
        ({"tracing": "Enabled", "metrics": "Pushed"}, "otlp", "prometheus,otlp"),
    ],
)
def test_what_is_sent_to_the_collector(asked, traces, metrics):
    env = env_of(built(changed(SMALL, "telemetry", {"otlpEndpoint": "http://collector:4318", **asked})))
    assert (env["OTEL_TRACES_EXPORTER"], env["OTEL_METRICS_EXPORTER"]) == (traces, metrics)
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicas", 3),
        ("service", {"type": "None"}),
        ("updatePolicy", "Manual"),
        ("networkPolicy", {"mode": "Managed"}),
        ("monitoring", {"podMonitor": {"enabled": True}}),
    ],
)
def test_pods_are_rolled_for_no_other_reason_than_themselves(path, value):
    before, after = built()["Deployment"], built(changed(SMALL, path, value))["Deployment"]
    assert before["spec"]["template"] == after["spec"]["template"]
    assert (
        before["metadata"]["annotations"][Annotation.TEMPLATE_HASH]
        == after["metadata"]["annotations"][Annotation.TEMPLATE_HASH]
    )


def test_hashes_say_what_has_changed():
    def annotations(spec=SMALL, image="a:1"):
        return built(spec, Defaults(image=image))["Deployment"]["metadata"]["annotations"]

    first, by_user, by_operator = (
        annotations(),
        annotations(changed(SMALL, "maxConnections", 5)),
        annotations(image="a:2"),
    )
    assert len({each[Annotation.TEMPLATE_HASH] for each in (first, by_user, by_operator)}) == 3
    assert first[Annotation.SPEC_HASH] == by_operator[Annotation.SPEC_HASH] != by_user[Annotation.SPEC_HASH]
    scaled = annotations(changed(SMALL, "replicas", 5))
    assert scaled[Annotation.SPEC_HASH] == first[Annotation.SPEC_HASH]
    assert scaled[Annotation.MANIFEST_HASH] != first[Annotation.MANIFEST_HASH]


def test_a_field_that_says_the_default_is_no_change():
    """So that a new field of a later version, filled in by the API server, rolls nobody."""
    said = changed(changed(SMALL, "maxConnections", 1000), "service", {"type": "ClusterIP"})
    assert built(said)["Deployment"] == built()["Deployment"]


@pytest.mark.parametrize("name", ["a", "a" * 56, "a" * 57, "a" * 253, "a" * 200 + "b"])
def test_names_have_room(name):
    assert len(child_name(name)) <= 63
    assert len(label_value(name)) <= 63
    assert child_name(name).endswith("-sokken")


def test_long_names_do_not_meet():
    assert child_name("a" * 100) != child_name("a" * 101)
    assert child_name("a" * 56) == "a" * 56 + "-sokken"


LEFT_OUT = {
    "admin_hosts": "the operator asks by address",
    "admin_token_file": "aborting connections is nothing that a Tunnel does",
    "https_proxy": "a variable of every program",
    "http_proxy": "as above",
    "no_proxy": "as above",
    "log_file": "a container logs to its output",
    "log_max_age_days": "as above",
    "log_max_rotated": "as above",
    "log_max_size_mb": "as above",
    "headers_file": "header fields that are secret are credentials: auth has them",
    "tls_insecure_skip_verify": "nobody should have to",
    "client_id": "the pod's name",
}


def test_every_setting_of_the_client_can_be_reached_or_is_left_out_for_a_reason():
    from sokken.operator.model.names import SETTINGS_IN_ENV

    rendered = set(literal_settings(tunnel(LARGE)))
    for name, setting in settings_of(ClientSettings).items():
        places = [setting.variable in rendered, setting.variable in SETTINGS_IN_ENV, name in LEFT_OUT]
        assert sum(places) == 1, name


def test_golden_files_hold_no_version_of_ours():
    from sokken import __version__

    for path in (Path(__file__).parent / "golden").glob("*.yaml"):
        assert f":{__version__}" not in path.read_text()
