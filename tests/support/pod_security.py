"""What a pod does that the profile "restricted" of the Pod Security Standards forbids.

The rules: kubernetes.io/docs/concepts/security/pod-security-standards.
"""

from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t"}


def violations(pod: dict[str, Any]) -> list[str]:
    """Of a pod's spec."""
    whole = pod.get("securityContext", {})
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    found += [f"sysctl {each['name']}" for each in whole.get("sysctls", [])]
    for volume in pod.get("volumes", []):
        found += [f"volume {name}" for name in set(volume) - {"name"} - VOLUMES]
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        found += _of_container(container, whole)
    return found


def _of_container(container: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    own = {**whole, **container.get("securityContext", {})}
    capabilities, selinux = own.get("capabilities", {}), own.get("seLinuxOptions", {})
    checks = {
        "seccompProfile": own.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
        "runAsNonRoot": own.get("runAsNonRoot") is True,
        "runAsUser": own.get("runAsUser") != 0,
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "privileged": not own.get("privileged"),
        "capabilities": capabilities.get("drop") == ["ALL"] and not capabilities.get("add"),
        "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
        "procMount": own.get("procMount", "Default") == "Default",
        "seLinuxOptions": selinux.get("type") in SELINUX and not selinux.get("user") and not selinux.get("role"),
    }
    return [name for name, is_kept in checks.items() if not is_kept]
