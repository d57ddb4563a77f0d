"""What is left of a story that failed: logs (also of containers before these), events, what the API server knows, and
what the applications saw.

One folder of files for each of its namespaces, written by conftest.py before the namespace is deleted.
"""

from pathlib import Path

from tests.e2e.applications import STAY, VISIT
from tests.e2e.workloads import APPLICATIONS_PORT
from tests.support.services import run

_KINDS = "all,configmaps,serviceaccounts,endpointslices,poddisruptionbudgets,networkpolicies,horizontalpodautoscalers"


def save(namespace: str, folder: Path) -> None:
    """Whatever can be had; nothing here may hide why the story failed."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "events.txt", namespace, "get", "events", "--sort-by=.lastTimestamp", "--output=wide")
    _write(folder / "all.txt", namespace, "get", _KINDS, "--output=wide")
    _write(folder / "describe.txt", namespace, "describe", _KINDS)
    for applications in (STAY, VISIT):
        report = f"/api/v1/namespaces/{namespace}/services/{applications}:{APPLICATIONS_PORT}/proxy/report"
        _write(folder / f"{applications}.json", namespace, "get", "--raw", report)
    listed = "jsonpath={range .items[*]}{.metadata.name}{' '}{.spec.containers[*].name}{'\\n'}{end}"
    for line in run("kubectl", "--namespace", namespace, "get", "pods", "--output", listed).stdout.splitlines():
        pod, *containers = line.split()
        for container in containers:
            _write(folder / f"{pod}.{container}.log", namespace, "logs", pod, f"--container={container}")
            _write(
                folder / f"{pod}.{container}.previous.log",
                namespace,
                "logs",
                pod,
                f"--container={container}",
                "--previous",
            )


def _write(file: Path, namespace: str, *words: str) -> None:
    done = run("kubectl", "--namespace", namespace, *words)
    if done.stdout:
        file.write_text(done.stdout + done.stderr)
