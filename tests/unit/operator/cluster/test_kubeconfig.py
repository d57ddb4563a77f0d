import base64
from pathlib import Path

import pytest
import yaml

from sokken.operator.cluster.kubeconfig import parse_kubeconfig

FOLDER = Path("/home/me/.kube")
CLUSTER = {"server": "https://10.0.0.1:6443/"}


def config(cluster=CLUSTER, user=None, context=None, **others):
    return yaml.safe_dump(
        {
            "current-context": "here",
            "contexts": [
                {"name": "there", "context": {"cluster": "other"}},
                {"name": "here", "context": {"cluster": "kind", "user": "me", **(context or {})}},
            ],
            "clusters": [{"name": "kind", "cluster": cluster}],
            "users": [{"name": "me", "user": user or {}}],
            **others,
        }
    ).encode()


def refused(content):
    with pytest.raises(ValueError) as caught:
        parse_kubeconfig(content, FOLDER)
    return str(caught.value)


def test_what_stands_in_the_file():
    data = base64.b64encode(b"PEM").decode()
    cluster = {**CLUSTER, "certificate-authority-data": data, "tls-server-name": "kubernetes"}
    user = {"client-certificate-data": data, "client-key-data": data, "token": "t"}
    found = parse_kubeconfig(config(cluster, user, {"namespace": "team"}), FOLDER)
    assert (found.server, found.namespace, found.server_name) == ("https://10.0.0.1:6443", "team", "kubernetes")
    assert (found.authorities, found.certificate, found.key, found.token) == (b"PEM", b"PEM", b"PEM", b"t")


def test_what_it_names_is_relative_to_its_folder():
    cluster = {**CLUSTER, "certificate-authority": "ca.crt"}
    user = {"client-certificate": "/abs/me.crt", "client-key": "me.key", "tokenFile": "token", "token": "older"}
    found = parse_kubeconfig(config(cluster, user), FOLDER)
    assert (found.authorities, found.certificate) == (FOLDER / "ca.crt", Path("/abs/me.crt"))
    assert (found.key, found.token) == (FOLDER / "me.key", FOLDER / "token")
    assert found.namespace == "default"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "it is no kubeconfig in YAML"),
        (b"- a", "it is no kubeconfig in YAML"),
        (b"\xff\xfe\xff", "it is no kubeconfig in YAML"),
        (b"apiVersion: v1", "it names no current-context"),
        (config(**{"current-context": "nowhere"}), "it has no context 'nowhere'"),
        (config(clusters=None), "it has no cluster 'kind'"),
        (config(users=[]), "it has no user 'me'"),
        (config({"server": "http://10.0.0.1"}), "its server is no https:// URL"),
        (config({}), "its server is no https:// URL"),
        (
            config({**CLUSTER, "insecure-skip-tls-verify": True}),
            "insecure-skip-tls-verify is set: give the cluster's certificate-authority-data instead",
        ),
        (
            config({**CLUSTER, "proxy-url": "http://p"}),
            "proxy-url is not supported: the API server is asked directly",
        ),
        (
            config(user={"exec": {"command": "aws"}}),
            "its user has exec, which is not supported: give a token or a client certificate",
        ),
        (config({**CLUSTER, "certificate-authority-data": "s3cr3t!"}), "certificate-authority-data is no base64"),
    ],
)
def test_what_cannot_be_used_is_told_in_a_line_that_quotes_no_secret(content, why):
    assert refused(content) == why
