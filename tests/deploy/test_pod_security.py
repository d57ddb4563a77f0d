"""Every pod fulfils the profile "restricted" of the Pod Security Standards, and a little more.

The rules: kubernetes.io/docs/concepts/security/pod-security-standards, for Kubernetes 1.27 and newer.
"""

import pytest

from tests.support.charts import CASES, Thing, render_case

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
# Whoever gives pods their users by the namespace (OpenShift) has none in the values.
WITHOUT_USER = {"small"}


def containers_of(pod: Thing) -> list[Thing]:
    return [*pod.get("initContainers", []), *pod["containers"], *pod.get("ephemeralContainers", [])]


def violations(pod: Thing) -> list[str]:
    """What a pod does that "restricted" forbids."""
    whole = pod.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    found += [f"sysctl {each['name']}" for each in whole.get("sysctls", [])]
    for volume in pod.get("volumes", []):
        found += [f"volume {name}" for name in set(volume) - {"name"} - VOLUMES]
    for container in containers_of(pod):
        own = container.get("securityContext", {})
        seccomp = own.get("seccompProfile", whole.get("seccompProfile", {}))
        if seccomp.get("type") not in {"RuntimeDefault", "Localhost"}:
            found.append("seccompProfile")
        if own.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
            found.append("runAsNonRoot")
        if own.get("runAsUser", whole.get("runAsUser")) == 0:
            found.append("runAsUser")
        if own.get("allowPrivilegeEscalation") is not False:
            found.append("allowPrivilegeEscalation")
        if own.get("privileged"):
            found.append("privileged")
        capabilities = own.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            found.append("capabilities")
        found += [f"hostPort {port}" for port in container.get("ports", []) if port.get("hostPort")]
        found += ["procMount"] if own.get("procMount", "Default") != "Default" else []
    return found


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_restricted(case):
    assert {name: found for name, pod in render_case(case).pod_specs() if (found := violations(pod))} == {}


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_as_bare_as_it_can_be(case):
    for name, pod in render_case(case).pod_specs():
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["enableServiceLinks"] is False, name
        if case not in WITHOUT_USER:
            assert (pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]) == (65532, 65532), name
        for container in containers_of(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        for volume in pod["volumes"]:
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": ""}), name


@pytest.mark.parametrize("case", sorted(set(CASES) - {"small"}))
def test_every_pod_says_what_it_needs_and_is_not_throttled(case):
    for name, pod in render_case(case).pod_specs():
        own = pod["containers"][0]["resources"]
        assert set(own["requests"]) == {"cpu", "memory"}, name
        assert set(own["limits"]) == {"memory"}, name


def test_a_pod_that_is_not_restricted_is_noticed():
    bare = {"containers": [{"name": "a", "ports": [{"hostPort": 1}]}], "volumes": [{"name": "v", "hostPath": {}}]}
    assert len(violations({**bare, "hostNetwork": True})) == 7
