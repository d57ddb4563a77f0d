"""What the operator may have seen of a Tunnel: children, pods and what these said, as small as tests need it."""

from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sokken.operator.model import Tunnel
from sokken.operator.reconcile import Plan
from sokken.operator.resources import Annotation, Defaults, build
from sokken.operator.resources.environment import connection_hash
from sokken.operator.status import Answer, Failure, Observed, Report, describe
from sokken.operator.status.answers import Check, File
from tests.support.golden_manifests import DEFAULTS
from tests.support.tunnels import tunnel

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)
URL = "wss://tunnel.example.com/tunnel/db.internal:5432"
TOKEN_FILE = "/etc/sokken/credentials/token"


def pod(
    name: str = "db-sokken-1", *, ready: bool = True, draining: str = "", of: Tunnel | None = None, **status: Any
) -> dict[str, Any]:
    """A pod as the API server gives it; ``of`` is the Tunnel as it was when it was made, if not the scene's."""
    metadata: dict[str, Any] = {"name": name, "uid": f"uid-of-{name}"}
    if draining:
        metadata["deletionTimestamp"] = draining
    if of is not None:
        metadata["annotations"] = {Annotation.CONNECTION_HASH.value: connection_hash(of.spec)}
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "metadata": metadata,
        "status": {"phase": "Running", "podIP": "10.0.0.5", "conditions": [condition], **status},
    }


def waiting(reason: str, message: str = "", **state: Any) -> dict[str, Any]:
    """The status of a pod whose container waits."""
    return {
        "containerStatuses": [{"image": "a:1", "state": {"waiting": {"reason": reason, "message": message}}, **state}]
    }


def passed(server: str = URL, ago: float = 3) -> Check:
    return Check(server, "", "", ago)


def refused(outcome: str, problem: str = "the server says no", server: str = URL) -> Check:
    return Check(server, outcome, problem, 3)


def answer(*checks: Check, files: tuple[File, ...] = (), not_ready: str = "", at: datetime = NOW) -> Answer:
    return Answer(at, "", not_ready, checks, files)


def deployment_status(available: int = 1, replicas: int = 1, **status: Any) -> dict[str, Any]:
    """Of a Deployment that is rolled out."""
    return {
        "observedGeneration": 1,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": available,
        "availableReplicas": available,
        "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
        **status,
    }


@dataclass
class Scene:
    """A Tunnel and everything that is known of it; at first all is well."""

    tunnel: Tunnel = field(default_factory=tunnel)
    defaults: Defaults = DEFAULTS
    deployment: dict[str, Any] | None = field(default_factory=deployment_status)
    service: dict[str, Any] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=lambda: [pod()])
    answers: dict[str, Answer] = field(default_factory=lambda: {"db-sokken-1": answer(passed())})
    plan: Plan = field(default_factory=Plan)
    failures: list[Failure] = field(default_factory=list)

    def observed(self, now: datetime = NOW) -> Observed:
        children = deepcopy(list(build(self.tunnel, self.defaults)))
        kept = []
        for child in children:
            child["metadata"]["generation"] = 1
            if child["kind"] == "Deployment":
                if self.deployment is None:
                    continue
                child["status"] = self.deployment
            if child["kind"] == "Service":
                child["status"] = self.service
            kept.append(child)
        answers = {
            f"uid-of-{name}": replace(each, asked_at=now) if each.asked_at == NOW else each
            for name, each in self.answers.items()
        }
        annotations = {Annotation.CONNECTION_HASH.value: connection_hash(self.tunnel.spec)}
        pods = [{**each, "metadata": {"annotations": annotations, **each["metadata"]}} for each in self.pods]
        return Observed(kept, pods, answers, self.plan, self.failures)

    def report(self, now: datetime = NOW) -> Report:
        return describe(self.tunnel, self.observed(now), self.defaults, now)

    def conditions(self) -> dict[str, dict[str, Any]]:
        return {each["type"]: each for each in self.report().status["conditions"]}

    def said(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        condition = self.conditions()[kind]
        return condition["status"], condition["reason"]
