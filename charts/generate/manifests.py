"""Renders the chart into k8s/, for ``kubectl apply -k k8s/``: what is there needs neither helm nor the chart.

Called by ``make manifests``. It needs helm on PATH.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any, Final

from charts.generate.values import CHART

FOLDER: Final = CHART.parents[1] / "k8s"
NAMESPACE: Final = "sokken"

_MADE: Final = "# Made from charts/sokken by `make manifests`.\n"
_KUSTOMIZATION: Final = """\
# kubectl apply -k k8s/: a server in a namespace of its own. Say in policy.yaml what tunnels may lead to.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: sokken
resources:
  - namespace.yaml
  - server.yaml
configMapGenerator:
  - name: sokken-server-policy
    files: [policy.yaml]
generatorOptions:
  # The name stays, because the server sees a change by itself: nothing is restarted for it.
  disableNameSuffixHash: true
# Where the image really is:
# images:
#   - name: sokken
#     newName: registry.example/sokken
"""
_NAMESPACE: Final = """\
apiVersion: v1
kind: Namespace
metadata:
  name: sokken
  labels:
    # What all pods of sokken fulfil.
    pod-security.kubernetes.io/enforce: restricted
"""
_POLICY: Final = """\
# What tunnels may lead to, and who may use them: docs/policy.md. Nothing yet: replace this rule, for example by
#
#   - action: allow
#     identities: ["*"]
#     targets: ["db.internal:5432"]
rules:
  - name: nothing yet
    action: deny
    identities: ["*"]
    targets: ["nothing.invalid:1"]
"""
_CLIENT: Final = """\
# An example: a client that makes db.internal:5432, which a server elsewhere reaches, the Service sokken-client:5432.
# Change SOKKEN_FORWARDS, put the token into a Secret, and apply it:
#
#   kubectl -n sokken create secret generic sokken-client-token --from-file=token
#   kubectl -n sokken apply -f k8s/client-example.yaml
"""
_SERVER_VALUES: Final = {"server": {"existingPolicyConfigMap": {"name": "sokken-server-policy"}}}
_CLIENT_VALUES: Final = {
    "server": {"enabled": False},
    "client": {
        "enabled": True,
        "server": {"url": "wss://tunnel.example"},
        "token": {"existingSecret": "sokken-client-token"},
        "forwards": [{"name": "db", "listenPort": 5432, "target": {"host": "db.internal", "port": 5432}}],
    },
}
# Labels of a release of Helm, which this is none of; and Helm's remarks on where an object is from.
_OF_HELM = re.compile(r"^ +(app\.kubernetes\.io/managed-by: Helm|helm\.sh/chart: .*)\n|^# Source: .*\n", re.MULTILINE)


def manifests(helm: str = "helm") -> dict[Path, str]:
    """Return the text of each file."""
    return {
        FOLDER / "kustomization.yaml": _MADE + _KUSTOMIZATION,
        FOLDER / "namespace.yaml": _MADE + _NAMESPACE,
        FOLDER / "policy.yaml": _POLICY,
        FOLDER / "server.yaml": _MADE + _render(helm, _SERVER_VALUES),
        FOLDER / "client-example.yaml": _MADE + _CLIENT + _render(helm, _CLIENT_VALUES),
    }


def _render(helm: str, values: dict[str, Any]) -> str:
    command = [helm, "template", "sokken", str(CHART), "--namespace", NAMESPACE, "--values", "-"]
    command += ["--kube-version", "1.34.0"]  # nothing depends on it, and some builds of helm think of none we support
    given = json.dumps({**values, "helmTest": {"enabled": False}})
    rendered = subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout
    return re.sub(r"\n\n+", "\n", _OF_HELM.sub("", rendered))
