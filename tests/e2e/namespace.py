"""A namespace of the cluster, in which one story happens: what is applied to it, asked of it and waited for in it.

Every pod in it must keep to the restricted Pod Security Standard, or is not let in.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from tests.e2e import tools
from tests.e2e.tools import PATIENCE
from tests.support.services import end, run

T = TypeVar("T")
Thing = dict[str, Any]

ADMIN_PORT = 19000


class Namespace:
    """One that exists. ``kubectl`` and ``helm`` stand in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}})

    def __repr__(self) -> str:
        return f"<Namespace {self.name}>"

    def kubectl(self, *words: object, **options: Any) -> str:
        return tools.kubectl("--namespace", self.name, *words, **options)

    def helm(self, *words: object, **options: Any) -> str:
        return tools.helm("--namespace", self.name, *words, **options)

    def apply(self, *things: Thing) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": things}
        self.kubectl("apply", "--filename", "-", input=json.dumps(listed))

    def delete(self) -> None:
        """Ask for its end; the pods in it may take their time."""
        tools.kubectl("delete", "namespace", self.name, "--wait=false", "--ignore-not-found")

    def get(self, *words: object) -> Thing:
        """``kind/name`` as it is now; of a whole kind, a list of them in ``items``."""
        return json.loads(self.kubectl("get", *words, "--output", "json"))

    def pods(self, labels: Mapping[str, str]) -> list[Thing]:
        """Those that are not on their way out."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found = self.get("pods", "--selector", selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def wait_for_rollout(self, *deployments: str) -> None:
        for deployment in deployments:
            self.kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={PATIENCE:.0f}s")

    def wait_for_start(self, pod: str) -> None:
        """Until its container has passed its startup probe, ready or not."""
        started = "jsonpath={.status.containerStatuses[0].started}=true"
        self.kubectl("wait", f"--for={started}", f"pod/{pod}", f"--timeout={PATIENCE:.0f}s")

    def ask(self, what: str, port: int, path: str, **query: object) -> Thing:
        """The JSON document of a pod (``pods/NAME``) or Service (``services/NAME``), through the API server."""
        url = f"/api/v1/namespaces/{self.name}/{what}:{port}/proxy{path}"
        return json.loads(tools.kubectl("get", "--raw", f"{url}?{urlencode(query)}" if query else url))

    def status(self, pod: str) -> Thing:
        """The `/statusz` of a pod of sokken."""
        return self.ask(f"pods/{pod}", ADMIN_PORT, "/statusz")

    def lines(self, pod: str) -> list[Thing]:
        """What a pod of sokken has logged so far."""
        return parse_lines(self.kubectl("logs", pod))

    @contextmanager
    def following(self, pod: str, log: Path) -> Iterator["Follower"]:
        """The log of a pod up to its end, which nobody can ask for afterwards."""
        with log.open("w") as output:
            process = subprocess.Popen(
                ["kubectl", "--namespace", self.name, "logs", "--follow", pod],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            yield Follower(pod, log, process)
        finally:
            end(process)

    def sync(self, *pods: str) -> None:
        """Let the kubelet look at once, rather than within 90 s, whether a mounted Secret or ConfigMap has changed."""
        for pod in pods:
            self.kubectl("annotate", "--overwrite", f"pod/{pod}", f"e2e/synced-at={time.time()}")


class Follower:
    """The log of one pod while it goes on."""

    def __init__(self, pod: str, log: Path, process: "subprocess.Popen[bytes]") -> None:
        self.pod = pod
        self._log = log
        self._process = process

    @property
    def lines(self) -> list[Thing]:
        return parse_lines(self._log.read_text())

    def events(self, event: str) -> list[Thing]:
        return [line for line in self.lines if line.get("event") == event]

    def wait_for_end(self) -> list[Thing]:
        self._process.wait(PATIENCE)
        return self.lines


def parse_lines(text: str) -> list[Thing]:
    """JSON objects, a line each; what is none is shown as it is."""
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append({"event": "no JSON", "text": line})
    return found


def eventually(condition: Callable[[], T], seconds: float = PATIENCE, every: float = 0.5) -> T:
    """What ``condition`` gives, once that is true."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{condition} did not become true within {seconds:g} s"
        time.sleep(every)
    return result


def was_restarted(pod: Thing) -> bool:
    return any(container["restartCount"] for container in pod["status"].get("containerStatuses", ()))


def is_ready(pod: Thing) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def exists(name: str) -> bool:
    return run("kubectl", "get", "namespace", name).returncode == 0
