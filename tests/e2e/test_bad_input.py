"""A client that cannot work yet: its pod says why, in its log and on /statusz, does not restart, and heals."""

import pytest

from tests.e2e.namespace import eventually, is_ready, was_restarted
from tests.e2e.release import (
    EXCHANGE,
    WITH_IMAGE,
    client_values,
    install,
    pod_names,
    pods_of,
    server_values,
    start_applications,
    values,
)
from tests.e2e.workloads import secret

TOKEN = "the-token-of-this-story"
LETS_IN = secret("server-tokens", {"tokens": f"here:{TOKEN}\n"})
SHOWS = {
    "token": {"existingSecret": "client-token"},
    "settings": {"SOKKEN_ALLOW_PLAINTEXT_CREDENTIALS": True},  # this is about the Secret, not about TLS
}


def complaint(namespace, outcome):
    """The client's pod, once /statusz and its log say of every server what is wrong; and how they say it."""
    (pod,) = eventually(lambda: pods_of(namespace, "client"))
    name = pod["metadata"]["name"]
    namespace.wait_for_start(name)

    def says_so():
        servers = namespace.status(name)["servers"]
        return servers if all(server["outcome"] == outcome for server in servers) else None

    servers = eventually(says_so)
    logged = [line for line in namespace.lines(name) if line["event"] == "server_check_failed"]
    details = {line["detail"] for line in logged if line["outcome"] == outcome}
    assert details >= {server["problem"] for server in servers}
    assert namespace.status(name)["ready"] is False
    assert not is_ready(namespace.get(f"pod/{name}"))
    return name, details


def assert_healed(namespace, applications, pod):
    """The same pod, never restarted, now works."""
    namespace.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=150s")
    assert not was_restarted(namespace.get(f"pod/{pod}"))
    assert pod_names(namespace, "client") == [pod]
    namespace.wait_for_rollout("sokken-client")
    assert applications.exchange(EXCHANGE, 1000, 1)["right"]


@pytest.mark.parametrize("there", [None, {"tokn": TOKEN}], ids=["no Secret", "wrong key"])
def test_a_client_without_its_token(namespace, there):
    applications = start_applications(namespace)
    namespace.apply(LETS_IN, *([secret("client-token", there)] if there else []))
    wanted = values(server={"tokens": {"existingSecret": "server-tokens"}}, client=SHOWS)
    install(namespace, wanted, wait=False)
    pod, details = complaint(namespace, "credential_unavailable")
    assert all("SOKKEN_TOKEN_FILE" in detail for detail in details)
    namespace.apply(secret("client-token", {"token": TOKEN}))
    eventually(lambda: namespace.sync(pod) or is_ready(namespace.get(f"pod/{pod}")), every=2)
    assert_healed(namespace, applications, pod)


def test_a_client_with_a_wrong_token(namespace):
    applications = start_applications(namespace)
    namespace.apply(LETS_IN, secret("client-token", {"token": "no-token-of-this-story"}))
    wanted = values(server={"tokens": {"existingSecret": "server-tokens"}}, client=SHOWS)
    install(namespace, wanted, wait=False)
    pod, _ = complaint(namespace, "unauthenticated")
    namespace.apply(secret("client-token", {"token": TOKEN}))
    eventually(lambda: namespace.sync(pod) or is_ready(namespace.get(f"pod/{pod}")), every=2)
    assert_healed(namespace, applications, pod)


def test_a_client_before_its_server(namespace):
    applications = start_applications(namespace)
    client = client_values("ws://far-sokken-server")
    install(namespace, {**WITH_IMAGE, "server": {"enabled": False}, "client": client}, wait=False)
    pod, details = complaint(namespace, "server_dns")
    assert all("far-sokken-server" in detail for detail in details)
    install(namespace, {**WITH_IMAGE, "server": server_values(replicas=0)}, release="far")
    complaint(namespace, "server_unreachable")
    namespace.kubectl("scale", "deployment/far-sokken-server", "--replicas=1")
    assert_healed(namespace, applications, pod)
