"""The operator in the chart: its rights, its definition, and what the program is told."""

import pytest
import yaml

from sokken.operator.crd import build_crd
from sokken.operator.resources import Defaults
from tests.support.charts import CHART, OPERATOR, ROOT, TARGETS, environment, found, merged, render, render_case
from tests.support.services import run

CHILDREN = {"get", "list", "watch", "create", "patch", "delete"}
WANTED = {
    "tunnels": {"get", "list", "watch"},
    "tunnels/status": {"patch"},
    "tunnels/finalizers": {"update"},
    "deployments": CHILDREN,
    "services": CHILDREN,
    "serviceaccounts": CHILDREN,
    "poddisruptionbudgets": CHILDREN,
    "networkpolicies": CHILDREN,
    "podmonitors": CHILDREN,
    "pods": {"list"},
    "events": {"create", "patch"},
}
LEASE = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": ["sokken-operator"],
        "verbs": ["get", "update"],
    },
]


def rights(role):
    return {resource: set(rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]}


def test_whatever_it_is_called_the_policies_of_tunnels_let_it_in():
    operator = render(OPERATOR, {"nameOverride": "other"}).one("Deployment")
    labels = operator["spec"]["template"]["metadata"]["labels"]
    assert labels.items() >= Defaults(image="").operator_labels.items()


def test_in_the_whole_cluster_it_has_these_rights_and_no_others():
    objects = render(OPERATOR, namespace="home")
    role = objects.one("ClusterRole", "home-sokken-operator")
    assert rights(role) == WANTED
    assert all(rule["apiGroups"] != ["*"] for rule in role["rules"])
    binding = objects.one("ClusterRoleBinding")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "sokken-operator", "namespace": "home"}]
    lease = objects.one("Role")
    assert (lease["metadata"]["namespace"], lease["rules"]) == ("home", LEASE)
    assert environment(objects, "operator")["SOKKEN_OPERATOR_LEASE_NAME"] == "sokken-operator"


def test_in_some_namespaces_it_has_them_there_and_nothing_in_the_cluster():
    values = {"operator": {"watchNamespaces": ["shop", "lab"]}}
    objects = render(OPERATOR, values, namespace="home")
    assert objects.of("ClusterRole") == objects.of("ClusterRoleBinding") == []
    roles = {role["metadata"]["namespace"]: rights(role) for role in objects.of("Role")}
    assert roles == {"shop": WANTED, "lab": WANTED, "home": {"leases": {"get", "update"}}}
    assert {binding["metadata"]["namespace"] for binding in objects.of("RoleBinding")} == {"shop", "lab", "home"}
    assert environment(objects, "operator")["SOKKEN_OPERATOR_WATCH_NAMESPACES"] == "shop,lab"


@pytest.mark.parametrize(
    ("value", "variable", "resource"),
    [
        ("networkPolicies", "SOKKEN_OPERATOR_NETWORK_POLICIES", "networkpolicies"),
        ("podMonitors", "SOKKEN_OPERATOR_POD_MONITORS", "podmonitors"),
    ],
)
def test_a_right_that_it_does_not_get_it_is_told_of(value, variable, resource):
    objects = render(OPERATOR, {"operator": {"rbac": {value: False, "aggregate": False}}})
    assert rights(objects.one("ClusterRole")) == {name: verbs for name, verbs in WANTED.items() if name != resource}
    assert environment(objects, "operator")[variable] == "false"


def test_nobody_gets_a_right_to_secrets():
    for case in ("operator", "namespaces", "everything"):
        objects = render_case(case)
        for role in [*objects.of("ClusterRole"), *objects.of("Role")]:
            assert "secrets" not in rights(role)
            assert "*" not in str(role["rules"])


def test_who_may_view_or_edit_a_namespace_may_view_or_edit_its_tunnels():
    objects = render(OPERATOR, namespace="home")
    view = objects.one("ClusterRole", "home-sokken-operator-tunnel-view")
    edit = objects.one("ClusterRole", "home-sokken-operator-tunnel-edit")
    assert rights(view) == {"tunnels": {"get", "list", "watch"}, "tunnels/status": {"get", "list", "watch"}}
    assert rights(edit)["tunnels"] == {"create", "update", "patch", "delete", "deletecollection"}
    assert set(rights(edit)) == {"tunnels", "tunnels/scale"}

    def aggregated(role):
        prefix = "rbac.authorization.k8s.io/aggregate-to-"
        return {name.removeprefix(prefix) for name in role["metadata"]["labels"] if name.startswith(prefix)}

    assert (aggregated(view), aggregated(edit)) == ({"view", "edit", "admin"}, {"edit", "admin"})


def test_rights_of_somebody_elses_making():
    values = {"operator": {"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "mine"}}}
    objects = render(OPERATOR, values)
    assert [thing for thing in objects if "rbac" in thing["apiVersion"] or thing["kind"] == "ServiceAccount"] == []
    assert objects.one("Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "mine"


def test_the_definition_is_the_models_and_is_kept():
    definition = render(OPERATOR).one("CustomResourceDefinition")
    assert definition["spec"] == build_crd()["spec"]
    assert definition["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert definition["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"
    assert "annotations" not in render(OPERATOR, {"crds": {"keep": False}}).one("CustomResourceDefinition")["metadata"]
    assert render(OPERATOR, {"crds": {"install": False}}).of("CustomResourceDefinition") == []
    assert render(TARGETS).of("CustomResourceDefinition") == []


def test_a_cluster_that_does_not_know_the_definitions_rules_is_refused():
    values = ["--set", "server.enabled=false,operator.enabled=true"]
    told = run(found("helm"), "template", "sokken", CHART, *values, "--kube-version", "1.27.0")
    assert told.returncode
    assert "operator.enabled needs Kubernetes 1.28 or newer" in told.stderr


def test_the_definition_exists_once():
    copies = [CHART / "files/tunnels.sokken.dev.yaml", ROOT / "k8s/crds/tunnels.sokken.dev.yaml"]
    assert len({path.read_bytes() for path in copies}) == 1
    assert yaml.safe_load(copies[0].read_text()) == build_crd()


def test_clients_get_the_charts_image_and_how_it_is_pulled():
    values = {
        "image": {"repository": "tools/sokken", "tag": "9", "pullPolicy": "Always"},
        "global": {"imageRegistry": "registry.example", "imagePullSecrets": [{"name": "one"}, {"name": "two"}]},
    }
    told = environment(render(OPERATOR, values), "operator")
    assert told["SOKKEN_OPERATOR_IMAGE"] == "registry.example/tools/sokken:9"
    assert told["SOKKEN_OPERATOR_IMAGE_PULL_POLICY"] == "Always"
    assert told["SOKKEN_OPERATOR_IMAGE_PULL_SECRETS"] == "one,two"


def test_its_token_is_in_its_own_container_alone_and_expires():
    extra = {"operator": {"extraContainers": [{"name": "other", "image": "other:1"}]}}
    pod = render(merged(OPERATOR, extra)).one("Deployment")["spec"]["template"]["spec"]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "api-access"]
    assert volume["projected"]["sources"][0]["serviceAccountToken"] == {"path": "token", "expirationSeconds": 3607}
    mounts = {container["name"]: str(container.get("volumeMounts")) for container in pod["containers"]}
    assert "/var/run/secrets/kubernetes.io/serviceaccount" in mounts["operator"]
    assert "serviceaccount" not in mounts["other"]


def test_two_stand_by_each_other_and_are_replaced_one_by_one():
    objects = render(OPERATOR)
    deployment = objects.one("Deployment")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 35
    assert objects.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["operator"]
    assert container["livenessProbe"]["httpGet"] == {"port": "health", "scheme": "HTTP", "path": "/livez"}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
