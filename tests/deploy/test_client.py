"""What the chart makes of the values of a client."""

import pytest

from tests.support.charts import CLIENT, FORWARD, container, environment, render, render_case


def client(*layers):
    return render(CLIENT, *({"client": layer} for layer in layers))


def forward(**more):
    return {**FORWARD, **more}


def test_forwards_are_what_the_client_listens_on_and_what_the_service_offers():
    forwards = [
        forward(),
        forward(name="web", listenPort=8443, servicePort=443, target={"host": "fd00::7", "port": 443}),
    ]
    objects = client({"forwards": forwards, "server": {"url": "wss://tunnel.example:8443/sokken/"}})
    base = "wss://tunnel.example:8443/sokken/tunnel"
    expected = f"db=:5432={base}/db.internal:5432,web=:8443={base}/[fd00::7]:443"
    assert environment(objects, "client")["SOKKEN_FORWARDS"] == expected
    ports = objects.one("Service")["spec"]["ports"]
    assert [(port["name"], port["port"], port["targetPort"]) for port in ports] == [
        ("db", 5432, "db"),
        ("web", 443, "web"),
    ]
    listens = {port["name"]: port["containerPort"] for port in container(objects, "client")["ports"]}
    assert listens == {"health": 8000, "db": 5432, "web": 8443, "admin": 19000}


def test_probes_ask_its_health_address():
    own = container(client(), "client")
    asked = [own[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert [(each["port"], each["path"]) for each in asked] == [
        ("health", "/livez"),
        ("health", "/livez"),
        ("health", "/readyz"),
    ]


def test_a_missing_secret_does_not_keep_it_from_starting():
    """It says itself what is missing, and goes on as soon as that is there."""
    objects = render_case("secrets")
    env = environment(objects, "client")
    pod = objects.one("Deployment", "sokken-client")["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    wanted = {
        "token": ("secret", "SOKKEN_TOKEN_FILE", "token"),
        "ca": ("ca.crt", "SOKKEN_CA_FILE", "ca.crt"),
        "certificate": ("tls.crt", "SOKKEN_CLIENT_CERT_FILE", "tls.crt"),
        "headers": ("headers", "SOKKEN_HEADERS_FILE", "headers"),
    }
    for name, (key, variable, file) in wanted.items():
        assert volumes[name]["secret"]["optional"] is True
        assert {item["key"]: item["path"] for item in volumes[name]["secret"]["items"]}[key] == file
        assert env[variable] == f"/etc/sokken/{name}/{file}"
    assert env["SOKKEN_CLIENT_KEY_FILE"] == "/etc/sokken/certificate/tls.key"
    assert all("subPath" not in mount for mount in container(objects, "client")["volumeMounts"])


def test_a_token_of_its_service_account():
    objects = render_case("serviceaccounts")
    pod = objects.one("Deployment", "sokken-client")["spec"]["template"]["spec"]
    (token,) = [volume for volume in pod["volumes"] if volume["name"] == "token"]
    (source,) = token["projected"]["sources"]
    assert source == {"serviceAccountToken": {"path": "token", "audience": "sokken", "expirationSeconds": 3600}}
    assert environment(objects, "client")["SOKKEN_TOKEN_FILE"] == "/etc/sokken/token/token"


@pytest.mark.parametrize("readiness", ["server", "listener"])
def test_readiness(readiness):
    assert environment(client({"readiness": readiness}), "client")["SOKKEN_READINESS"] == readiness


def test_a_secret_setting_comes_from_a_secret():
    objects = client({"secretSettings": {"SOKKEN_PROXY": {"name": "proxy", "key": "url"}}})
    (proxy,) = [each for each in container(objects, "client")["env"] if each["name"] == "SOKKEN_PROXY"]
    assert proxy["valueFrom"] == {"secretKeyRef": {"name": "proxy", "key": "url"}}


def test_credentials_over_ws_where_that_is_meant():
    more = {"settings": {"SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS": True}, "token": {"existingSecret": "token"}}
    objects = client(more, {"server": {"url": "ws://sokken-server"}})
    assert environment(objects, "client")["SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS"] == "true"


def test_a_network_policy_is_about_its_forwards():
    objects = client({"networkPolicy": {"enabled": True}, "forwards": [forward(), forward(name="x", listenPort=1024)]})
    (only,) = objects.one("NetworkPolicy")["spec"]["ingress"]
    assert [port["port"] for port in only["ports"]] == ["db", "x"]


def test_prometheus_finds_its_pods():
    objects = render_case("secrets")
    monitor = objects.one("PodMonitor")["spec"]
    pod = objects.one("Deployment", "sokken-client")["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= pod.items()
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("admin", "/metrics")
    assert endpoint["authorization"]["credentials"] == {"name": "admin", "key": "token"}


def test_it_has_no_rights_in_the_cluster():
    objects = client()
    assert {thing["kind"] for thing in objects} == {
        "ConfigMap",
        "Deployment",
        "Pod",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }
