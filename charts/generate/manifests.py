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
# kubectl apply --server-side -k k8s/: a server and the operator in a namespace of their own, and the definition of
# Tunnels. Say in policy.yaml what tunnels may lead to; leave out what you do not need: with operator.yaml go the
# replacements.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: sokken
resources:
  - namespace.yaml
  - server.yaml
  - crds/tunnels.sokken.dev.yaml
  - operator.yaml
configMapGenerator:
  - name: sokken-server-policy
    files: [policy.yaml]
generatorOptions:
  # The name stays, because the server sees a change by itself: nothing is restarted for it.
  disableNameSuffixHash: true
# What the operator is told is what it is itself: Tunnels get its image, and its Lease is where it is.
replacements:
  - source:
      kind: Deployment
      name: sokken-operator
      fieldPath: spec.template.spec.containers.[name=operator].image
    targets:
      - select: {kind: Deployment, name: sokken-operator}
        fieldPaths: ["spec.template.spec.containers.[name=operator].env.[name=^SOKKEN_OPERATOR_IMAGE$].value"]
  - source:
      kind: Deployment
      name: sokken-operator
      fieldPath: metadata.namespace
    targets:
      - select: {kind: Deployment, name: sokken-operator}
        fieldPaths: ["spec.template.spec.containers.[name=operator].env.[name=^SOKKEN_OPERATOR_LEASE_NAMESPACE$].value"]
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
# The definition is in crds/: it exists once.
_OPERATOR_VALUES: Final = {"server": {"enabled": False}, "operator": {"enabled": True}, "crds": {"install": False}}
# Labels of a release of Helm, which this is none of; and Helm's remarks on where an object is from.
_OF_HELM = re.compile(r"^ +(app\.kubernetes\.io/managed-by: Helm|helm\.sh/chart: .*)\n|^# Source: .*\n", re.MULTILINE)


def manifests(helm: str = "helm") -> dict[Path, str]:
    """Return the text of each file."""
    return {
        FOLDER / "kustomization.yaml": _MADE + _KUSTOMIZATION,
        FOLDER / "namespace.yaml": _MADE + _NAMESPACE,
        FOLDER / "policy.yaml": _POLICY,
        FOLDER / "server.yaml": _MADE + _render(helm, _SERVER_VALUES),
        FOLDER / "operator.yaml": _MADE + _render(helm, _OPERATOR_VALUES),
        FOLDER / "client-example.yaml": _MADE + _CLIENT + _render(helm, _CLIENT_VALUES),
    }


def _render(helm: str, values: dict[str, Any]) -> str:
    command = [helm, "template", "sokken", str(CHART), "--namespace", NAMESPACE, "--values", "-"]
    command += ["--kube-version", "1.34.0"]  # nothing depends on it, and some builds of helm think of none we support
    given = json.dumps({**values, "helmTest": {"enabled": False}})
    rendered = subprocess.run(command, input=given, check=True, capture_output=True, text=True).stdout
    return re.sub(r"\n\n+", "\n", _OF_HELM.sub("", rendered))
