"""A Tunnel without any secret: its pods show a token of their own ServiceAccount, and the server knows whose it is."""

import json

from tests.e2e.operators import EXCHANGE, begin_with_operator, tunnel, wait_ready
from tests.e2e.release import pod_names
from tests.e2e.tools import kubectl
from tests.e2e.workloads import config_map, tls_secret
from tests.support.certificates import Authority


def test_a_projected_token_lets_it_in(namespace, tmp_path):
    authority = Authority(tmp_path)
    namespace.apply(
        tls_secret("server-tls", authority.issue("DNS:sokken-server")),
        config_map("authority", {"ca.crt": authority.file.read_text()}),
    )
    issuer = json.loads(kubectl("get", "--raw", "/.well-known/openid-configuration"))["issuer"]
    jwt = {
        "issuer": issuer,
        "audience": "sokken",
        "jwksURL": "https://kubernetes.default.svc/openid/v1/jwks",
    }
    applications = begin_with_operator(namespace, {"tls": {"existingSecret": "server-tls"}, "jwt": jwt})
    server = {"url": "wss://sokken-server", "caBundleRef": {"name": "authority"}}
    namespace.apply(tunnel(server=server, auth={"serviceAccountToken": {"audience": "sokken"}}))
    wait_ready(namespace)
    assert applications.exchange(EXCHANGE, 10_000, 1)["right"]
    (pod,) = pod_names(namespace, "server")
    known = {line.get("identity") for line in namespace.lines(pod) if line["event"] == "connection_closed"}
    assert known == {f"system:serviceaccount:{namespace.name}:web-sokken"}
