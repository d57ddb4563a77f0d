"""A Tunnel that cannot work says why, each time in its own words and within a minute; and it heals by itself."""

from tests.e2e.namespace import eventually
from tests.e2e.operators import EXCHANGE, begin_with_operator, client_pods, merge, tunnel, wait_ready, wait_reason
from tests.e2e.workloads import config_map, secret, tls_secret
from tests.support.certificates import Authority

TOKEN = "the-token-of-this-story"
SERVER_TLS = "wss://sokken-server"


def sync(namespace):
    namespace.sync(*[pod["metadata"]["name"] for pod in client_pods(namespace)])


def test_each_trouble_has_its_own_reason_and_heals(namespace, tmp_path):
    authority, stranger = Authority(tmp_path, "authority"), Authority(tmp_path, "stranger")
    namespace.apply(
        tls_secret("server-tls", authority.issue("DNS:sokken-server")),
        secret("server-tokens", {"tokens": f"here:{TOKEN}\n"}),
        config_map("authority", {"ca.crt": stranger.file.read_text()}),
    )
    server = {"tls": {"existingSecret": "server-tls"}, "tokens": {"existingSecret": "server-tokens"}}
    applications = begin_with_operator(namespace, server)
    trusted = {"url": SERVER_TLS, "caBundleRef": {"name": "authority"}}
    shown = {"tokenSecretRef": {"name": "client-token"}}
    namespace.apply(tunnel(server=trusted, auth=shown))

    missing = wait_reason(namespace, "ReferencesResolved", "SecretNotFound")
    assert "client-token" in missing["message"]

    namespace.apply(secret("client-token", {"token": "another-token-of-no-use"}))
    eventually(lambda: sync(namespace) or _has(namespace, "Connected", "TLSVerificationFailed"), every=2)

    namespace.apply(config_map("authority", {"ca.crt": authority.file.read_text()}))
    eventually(lambda: sync(namespace) or _has(namespace, "Connected", "AuthenticationFailed"), every=2)
    assert wait_reason(namespace, "Ready", "AuthenticationFailed")["status"] == "False"

    namespace.apply(secret("client-token", {"token": TOKEN}))
    eventually(lambda: sync(namespace) or _has(namespace, "Ready", "Ready"), every=2)
    assert applications.exchange(EXCHANGE, 10_000, 1)["right"]
    (pod,) = client_pods(namespace)
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0

    namespace.kubectl("scale", "deployment/sokken-server", "--replicas=0")
    wait_reason(namespace, "Connected", "ServerUnreachable", 90)
    (still,) = client_pods(namespace)
    assert still["metadata"]["uid"] == pod["metadata"]["uid"]
    namespace.kubectl("scale", "deployment/sokken-server", "--replicas=1")
    wait_ready(namespace)
    events = namespace.get("events", "--field-selector=involvedObject.kind=Tunnel")["items"]
    assert {"AuthenticationFailed", "ServerUnreachable", "Ready"} <= {event["reason"] for event in events}


def _has(namespace, kind, reason):
    try:
        return wait_reason(namespace, kind, reason, 4)
    except AssertionError:
        return None


def test_a_wrong_target_replaces_nothing_that_works(namespace):
    applications = begin_with_operator(namespace)
    namespace.apply(tunnel())
    wait_ready(namespace)
    applications.visit("new", EXCHANGE.replace("7009", "7007"))
    (works,) = client_pods(namespace)
    wrong = {"name": "wrong", "listenPort": 7010, "target": {"host": "elsewhere", "port": 1}}
    spec = tunnel()["spec"]
    merge(namespace, {"spec": {"forwards": [*spec["forwards"], wrong]}})
    told = wait_reason(namespace, "Connected", "TargetForbidden", 90)
    assert "wrong" in told["message"]
    names = {pod["metadata"]["name"] for pod in client_pods(namespace)}
    assert works["metadata"]["name"] in names
    assert len(names) == 2
    applications.wait_for_more("new", 20)
    assert applications.report("new")["failed"] == []
    merge(namespace, {"spec": {"forwards": spec["forwards"]}})
    wait_ready(namespace)
    eventually(lambda: [pod["metadata"]["name"] for pod in client_pods(namespace)] == [works["metadata"]["name"]])
