"""What the chart makes of the values of a server."""

import pytest
import yaml

from tests.support.charts import TARGETS, container, environment, merged, render, render_case

PEER = {"podSelector": {"matchLabels": {"a": "b"}}}


def server(*layers):
    return render(TARGETS, *({"server": layer} for layer in layers))


def spec(objects):
    return objects.one("Deployment")["spec"]["template"]["spec"]


def volumes(objects):
    return {volume["name"]: volume for volume in spec(objects)["volumes"]}


def test_names_and_labels():
    objects = render(TARGETS, {"commonLabels": {"team": "platform"}}, release="edge", namespace="tunnels")
    deployment = objects.one("Deployment")
    assert deployment["metadata"]["name"] == "edge-sokken-server"
    assert deployment["metadata"]["namespace"] == "tunnels"
    labels = deployment["metadata"]["labels"]
    assert (
        labels.items()
        >= {
            "app.kubernetes.io/name": "sokken",
            "app.kubernetes.io/instance": "edge",
            "app.kubernetes.io/component": "server",
            "app.kubernetes.io/part-of": "sokken",
            "app.kubernetes.io/managed-by": "Helm",
            "team": "platform",
        }.items()
    )
    assert labels["helm.sh/chart"].startswith("sokken-")
    assert labels["app.kubernetes.io/version"]
    pod = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= pod.items()
    assert objects.one("Service")["spec"]["selector"].items() <= pod.items()


def test_a_new_chart_alone_rolls_no_pod():
    """What a version changes is no part of the pod, nor of the selector, which can never be changed."""
    deployment = server().one("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert {"helm.sh/chart", "app.kubernetes.io/version"}.isdisjoint(labels)
    assert "annotations" not in deployment["spec"]["template"]["metadata"]


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({}, "sokken"),
        ({"nameOverride": "tunnel"}, "sokken-tunnel"),
        ({"fullnameOverride": "x" * 60}, "x" * 46),
    ],
)
def test_names_can_be_chosen(values, name):
    assert render(TARGETS, values).one("Deployment")["metadata"]["name"] == f"{name}-server"


@pytest.mark.parametrize(
    ("image", "shown"),
    [
        ({}, "sokken:0.1.0"),
        ({"repository": "team/sokken", "tag": "1.2"}, "team/sokken:1.2"),
        ({"registry": "r.example:5000/", "digest": "sha256:" + "0" * 64}, f"r.example:5000/sokken@sha256:{'0' * 64}"),
    ],
)
def test_image(image, shown):
    assert container(render(TARGETS, {"image": image}), "server")["image"] == shown


def test_the_registry_of_all_charts_is_used_where_no_other_is_named():
    of_all = {"global": {"imageRegistry": "mirror.example", "imagePullSecrets": [{"name": "pull"}], "other": 1}}
    objects = render(TARGETS, of_all)
    assert container(objects, "server")["image"] == "mirror.example/sokken:0.1.0"
    assert spec(objects)["imagePullSecrets"] == [{"name": "pull"}]
    named = render(TARGETS, of_all, {"image": {"registry": "own.example"}})
    assert container(named, "server")["image"] == "own.example/sokken:0.1.0"


@pytest.mark.parametrize(("delay", "drain", "grace"), [(5, 300, 320), (0, 0, 15), (10, 3600, 3625)])
def test_the_grace_period_follows_from_the_drain(delay, drain, grace):
    objects = server({"endpointDelaySeconds": delay, "drainTimeoutSeconds": drain})
    assert spec(objects)["terminationGracePeriodSeconds"] == grace
    env = environment(objects, "server")
    assert env["SOKKEN_ENDPOINT_DELAY_SECONDS"] == str(delay)
    assert env["SOKKEN_DRAIN_TIMEOUT_SECONDS"] == str(drain)


def test_a_rollout_takes_no_pod_before_another_is_ready():
    deployment = server().one("Deployment")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": "25%"}
    assert deployment["minReadySeconds"] == 5


def test_what_asks_for_liveness_does_not_ask_for_readiness():
    own = container(server(), "server")
    paths = {name: own[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}


@pytest.mark.parametrize(
    ("more", "port", "scheme"),
    [
        ({}, "http", "HTTP"),
        ({"tls": {"existingSecret": "tls"}}, "https", "HTTPS"),
        (
            {"settings": {"SOKKEN_PROXY_PROTOCOL": "required", "SOKKEN_TRUSTED_PROXIES": ["10.0.0.0/8"]}},
            "admin",
            "HTTP",
        ),
        ({"settings": {"SOKKEN_HANDSHAKE_RATE_PER_ADDRESS": 1}}, "http", "HTTP"),
        ({"tls": {"existingSecret": "tls"}, "settings": {"SOKKEN_HANDSHAKE_RATE_PER_ADDRESS": 1}}, "admin", "HTTP"),
    ],
)
def test_probes_ask_where_the_kubelet_is_answered(more, port, scheme):
    own = container(server(more), "server")
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert (own[name]["httpGet"]["port"], own[name]["httpGet"]["scheme"]) == (port, scheme)
    assert port in {each["name"] for each in own["ports"]}


@pytest.mark.parametrize(
    ("more", "port", "name", "protocol"),
    [
        ({}, 80, "http", "kubernetes.io/ws"),
        ({"tls": {"existingSecret": "tls"}}, 443, "https", "kubernetes.io/wss"),
        ({"service": {"port": 8000, "appProtocol": "http"}}, 8000, "http", "http"),
        ({"service": {"appProtocol": "none"}}, 80, "http", None),
    ],
)
def test_service(more, port, name, protocol):
    (only,) = server(more).one("Service")["spec"]["ports"]
    assert (only["port"], only["name"], only["targetPort"]) == (port, name, name)
    assert only.get("appProtocol") == protocol


def test_targets_are_listed():
    objects = server({"targets": ["db.internal:5432", "[fd00::1]:22"]})
    assert environment(objects, "server")["SOKKEN_TARGETS"] == "db.internal:5432,[fd00::1]:22"
    assert objects.of("ConfigMap") == [objects.one("ConfigMap", "sokken-test")]


RULES = {
    "rules": [
        {
            "action": "allow",
            "identities": ["*"],
            "targets": ["10.0.0.0/8:1-1023"],
            "limits": {"connections_per_target": 1000000, "lifetime_seconds": 31536000},
        }
    ]
}


def test_a_policy_is_a_file_that_is_followed_without_a_restart():
    def rendered(rules):
        return render({"server": {"policy": rules}})

    objects = rendered(RULES)
    text = objects.one("ConfigMap", "sokken-server-policy")["data"]["policy.yaml"]
    assert yaml.safe_load(text) == RULES
    assert "1000000" in text  # and not 1e+06
    assert volumes(objects)["policy"]["configMap"]["name"] == "sokken-server-policy"
    env = environment(objects, "server")
    assert env["SOKKEN_POLICY_FILE"] == "/etc/sokken/policy/policy.yaml"
    assert "SOKKEN_TARGETS" not in env
    other = rendered({"rules": [{"action": "deny", "identities": ["*"], "targets": ["a.example:1"]}]})
    assert other.one("Deployment") == objects.one("Deployment")


def test_files_come_as_whole_folders_and_a_missing_one_keeps_the_pod_from_starting():
    """A file that is mounted alone (subPath) would never change; a server without what protects it must not run."""
    objects = render_case("secrets")
    env = environment(objects, "server")
    mounts = {mount["name"]: mount for mount in container(objects, "server")["volumeMounts"]}
    deployment = objects.one("Deployment", "sokken-server")
    wanted = {
        "policy": ("rules.yaml", "SOKKEN_POLICY_FILE"),
        "tls": ("tls.crt", "SOKKEN_TLS_CERT_FILE"),
        "tokens": ("list", "SOKKEN_TOKENS_FILE"),
        "client-ca": ("bundle.pem", "SOKKEN_CLIENT_CA_FILE"),
        "jwks": ("jwks.json", "SOKKEN_JWT_JWKS_FILE"),
        "admin-token": ("token", "SOKKEN_ADMIN_TOKEN_FILE"),
    }
    found = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    for name, (key, variable) in wanted.items():
        source = found[name].get("secret") or found[name]["configMap"]
        assert "optional" not in source
        items = {item["key"]: item["path"] for item in source["items"]}
        assert "subPath" not in mounts[name]
        assert f"{mounts[name]['mountPath']}/{items[key]}" == env[variable]
    assert env["SOKKEN_TLS_KEY_FILE"] == "/etc/sokken/tls/tls.key"


def test_the_clusters_own_keys_are_asked_for_with_a_token_for_that_alone():
    objects = render_case("serviceaccounts")
    env = environment(objects, "server")
    assert env["SOKKEN_JWT_JWKS_TOKEN_FILE"] == "/etc/sokken/cluster/token"
    assert env["SOKKEN_JWT_JWKS_CA_FILE"] == "/etc/sokken/cluster/ca.crt"
    pod = objects.one("Deployment", "sokken-server")["spec"]["template"]["spec"]
    (cluster,) = [volume for volume in pod["volumes"] if volume["name"] == "cluster"]
    kinds = [next(iter(source)) for source in cluster["projected"]["sources"]]
    assert kinds == ["serviceAccountToken", "configMap"]
    elsewhere = render_case("issuer")
    assert environment(elsewhere, "server")["SOKKEN_JWT_JWKS_TOKEN_FILE"] == "/etc/sokken/jwks-token/token"
    assert "cluster" not in volumes(elsewhere)


@pytest.mark.parametrize(
    ("more", "least"),
    [
        ({}, True),
        ({"replicas": 1}, False),
        ({"podDisruptionBudget": {"enabled": False}}, False),
        ({"replicas": 1, "autoscaling": {"enabled": True, "minReplicas": 2}}, True),
        ({"replicas": 5, "autoscaling": {"enabled": True, "minReplicas": 1}}, False),
    ],
)
def test_a_disruption_budget_only_where_it_keeps_no_node_from_being_drained(more, least):
    budgets = server(more).of("PodDisruptionBudget")
    assert len(budgets) == least
    for budget in budgets:
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_an_autoscaler_alone_says_how_many():
    objects = server({"autoscaling": {"enabled": True, "maxReplicas": 7}})
    assert "replicas" not in objects.one("Deployment")["spec"]
    scaler = objects.one("HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 7)
    assert scaler["scaleTargetRef"]["name"] == "sokken-server"
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 600


def test_pods_are_spread_over_nodes_where_that_is_possible():
    (spread,) = spec(server())["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    own = [{"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]
    assert spec(server({"topologySpreadConstraints": own}))["topologySpreadConstraints"] == own


def test_a_network_policy_lets_in_who_is_named_and_helm_test():
    policy = {"networkPolicy": {"enabled": True, "from": [PEER], "adminFrom": [PEER]}}
    tunnels, admin = server(policy).one("NetworkPolicy")["spec"]["ingress"]
    assert [port["port"] for port in tunnels["ports"]] == ["http"]
    assert tunnels["from"][0] == PEER
    assert tunnels["from"][1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "test"
    assert [port["port"] for port in admin["ports"]] == ["admin"]
    assert admin["from"] == [PEER]


def test_a_network_policy_leaves_the_tunnels_open_and_the_admin_address_closed():
    (only,) = server({"networkPolicy": {"enabled": True}}).one("NetworkPolicy")["spec"]["ingress"]
    assert only == {"ports": [{"port": "http", "protocol": "TCP"}]}


def test_egress_that_is_limited_still_resolves_names():
    rule = {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}
    policy = server({"networkPolicy": {"enabled": True, "egress": [rule]}}).one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for port in policy["egress"][0]["ports"]] == [53, 53]
    assert policy["egress"][1] == rule
    assert "egress" not in server({"networkPolicy": {"enabled": True}}).one("NetworkPolicy")["spec"]


def test_the_echo_can_be_reached_where_egress_is_limited():
    rules = render_case("everything").one("NetworkPolicy", "sokken-tunnel-server")["spec"]["egress"]
    chosen = [rule["to"][0]["podSelector"]["matchLabels"] for rule in rules if "podSelector" in rule.get("to", [{}])[0]]
    assert [labels["app.kubernetes.io/component"] for labels in chosen] == ["echo"]


def test_service_accounts():
    assert server().one("ServiceAccount")["automountServiceAccountToken"] is False
    assert spec(server())["serviceAccountName"] == "sokken-server"
    mine = server({"serviceAccount": {"create": False, "name": "mine"}})
    assert (mine.of("ServiceAccount"), spec(mine)["serviceAccountName"]) == ([], "mine")
    none = server({"serviceAccount": {"create": False}})
    assert spec(none)["serviceAccountName"] == "default"


def test_the_admin_address_is_in_no_service_that_could_be_public():
    case = render_case("everything")
    for service in case.of("Service"):
        ports = [port["port"] for port in service["spec"]["ports"]]
        assert (19000 in ports) == (service["metadata"]["name"] == "sokken-tunnel-server-metrics")
    metrics = case.one("Service", "sokken-tunnel-server-metrics")
    assert metrics["spec"]["clusterIP"] == "None"
    monitor = case.one("ServiceMonitor")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= metrics["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_prometheus_shows_the_token_of_the_admin_address():
    (endpoint,) = render_case("secrets").one("ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["authorization"] == {"credentials": {"name": "admin", "key": "token"}}


def test_everything_that_a_pod_may_have_reaches_it():
    pod = render_case("everything").one("Deployment", "sokken-tunnel-server")["spec"]["template"]
    assert pod["metadata"]["labels"]["a"] == pod["metadata"]["annotations"]["a"] == "b"
    assert {
        "nodeSelector",
        "tolerations",
        "affinity",
        "priorityClassName",
        "runtimeClassName",
        "hostAliases",
        "dnsPolicy",
        "dnsConfig",
        "topologySpreadConstraints",
    } <= set(pod["spec"])
    own, sidecar = pod["spec"]["containers"]
    assert sidecar["name"] == "sidecar"
    assert own["envFrom"] == [{"configMapRef": {"name": "more", "optional": True}}]
    assert own["lifecycle"]["preStop"]
    assert {"name": "TZ", "value": "UTC"} in own["env"]
    assert {"name": "logs", "mountPath": "/logs"} in own["volumeMounts"]
    assert "logs" in {volume["name"] for volume in pod["spec"]["volumes"]}


def test_the_echo_of_helm_test_is_allowed_only_where_it_was_asked_for():
    client = {"client": {"enabled": True, "server": {"url": "ws://sokken-server"}}}
    forward = {"name": "db", "listenPort": 5432, "target": {"host": "db.internal", "port": 5432}}
    plain = merged(TARGETS, client, {"client": {"forwards": [forward]}})
    objects = render(plain)
    assert environment(objects, "server")["SOKKEN_TARGETS"] == "db.internal:5432"
    assert [thing["metadata"]["name"] for thing in objects.of("Deployment")] == ["sokken-client", "sokken-server"]
    echo = {"helmTest": {"echo": {"enabled": True}}}
    objects = render(plain, echo)
    assert environment(objects, "server")["SOKKEN_TARGETS"] == "db.internal:5432,sokken-echo.default.svc:7"
    by_rules = render(plain, echo, {"server": {"targets": [], "policy": RULES}})
    text = by_rules.one("ConfigMap", "sokken-server-policy")["data"]["policy.yaml"]
    first, second = yaml.safe_load(text)["rules"]
    assert first["targets"] == ["sokken-echo.default.svc:7"]
    assert second == RULES["rules"][0]
