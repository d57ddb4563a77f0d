import json
from pathlib import Path

import pytest

from sokken.errors import ConfigurationError
from sokken.operator.cluster.access import open_access, open_service_account
from sokken.protocol.address import Address
from tests.support.certificates import Authority

SERVER = Address("10.96.0.1", 443)


def kubeconfig(folder, cluster=None, user=None):
    path = folder / "config"
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path.write_text(json.dumps(document))
    return path


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def mounted(tmp_path, authority):
    (tmp_path / "ca.crt").write_bytes(authority.file.read_bytes())
    (tmp_path / "token").write_text("s3cr3t\n")
    (tmp_path / "namespace").write_text("sokken-system")
    return tmp_path


def test_a_pod_is_its_service_account(mounted):
    access = open_service_account(SERVER, mounted)
    assert access.url == "https://10.96.0.1:443"
    assert access.headers() == {"Authorization": "Bearer s3cr3t"}
    assert access.namespace == "sokken-system"
    assert "s3cr3t" not in repr(access)


def test_authorities_that_are_replaced_are_followed(mounted, tmp_path):
    access = open_service_account(SERVER, mounted)
    before = access.tls.context()
    assert not access.look()
    (mounted / "ca.crt").write_bytes(Authority(tmp_path, "next").file.read_bytes())
    assert access.look()
    assert access.tls.context() is not before


def test_a_replaced_token_is_shown_after_ten_seconds_at_most(mounted, monkeypatch):
    access = open_service_account(SERVER, mounted)
    (mounted / "token").write_text("n3xt")
    now = access._looked_at
    monkeypatch.setattr("time.monotonic", lambda: now + 9)
    access.freshen()
    assert access.headers() == {"Authorization": "Bearer s3cr3t"}
    monkeypatch.setattr("time.monotonic", lambda: now + 10)
    access.freshen()
    assert access.headers() == {"Authorization": "Bearer n3xt"}


@pytest.mark.parametrize("missing", ["token", "ca.crt", "namespace"])
def test_what_is_not_mounted_is_told(mounted, missing):
    (mounted / missing).unlink()
    with pytest.raises(ConfigurationError) as caught:
        open_service_account(SERVER, mounted)
    assert missing in str(caught.value)


def test_certificates_in_the_kubeconfig_and_beside_it(tmp_path, authority):
    pair = authority.issue()
    user = {"client-certificate": str(pair.with_suffix(".crt")), "client-key": str(pair.with_suffix(".key"))}
    access = open_access(kubeconfig(tmp_path, {"certificate-authority": str(authority.file)}, user), SERVER)
    assert access.headers() == {}
    assert len(access.tls.files) == 2
    assert access.tls.context()


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ({"client-certificate": "me.crt"}, "belong together"),
        ({"client-certificate": "me.crt", "client-key": "me.key"}, "me.crt"),
        ({"token": "two words"}, "one token"),
        ({"tokenFile": "nowhere"}, "nowhere"),
    ],
)
def test_credentials_that_cannot_be_used_are_told(tmp_path, user, why):
    if user == {"client-certificate": "me.crt"}:
        (tmp_path / "me.crt").write_text("")
    with pytest.raises(ConfigurationError) as caught:
        open_access(kubeconfig(tmp_path, user=user), None)
    assert why in str(caught.value)
    assert "two words" not in str(caught.value)


def test_outside_a_cluster_there_is_the_home_folders_kubeconfig_or_none(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        open_access(None, None)
    assert str(caught.value) == "there is no API server: run it in a cluster, or name a file in KUBECONFIG"
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube")
    assert open_access(None, None).url == "https://10.0.0.1:6443"
