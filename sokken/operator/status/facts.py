"""What a Tunnel's status is made of, as the reconciler gives it: objects, pods, what they answered, what failed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sokken.operator.model import Tunnel
from sokken.operator.reconcile import Plan, Ref
from sokken.operator.resources import Annotation, Manifest
from sokken.operator.resources.environment import connection_hash
from sokken.operator.status.answers import Answer, Check, File

_FRESH: Final = timedelta(seconds=120)


@dataclass(frozen=True, slots=True)
class Failure:
    """A write that the API server has refused, and would refuse again. ``code`` is its HTTP status."""

    verb: str
    ref: Ref
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that is known of a Tunnel after its plan was carried out."""

    children: Sequence[Manifest]
    """As they are now."""
    pods: Sequence[Manifest]
    """All of the Tunnel's, also those that drain."""
    answers: Mapping[str, Answer]
    """By the pod's uid."""
    plan: Plan
    failures: Sequence[Failure] = ()

    def child(self, kind: str) -> Manifest | None:
        """The child of this kind, unless it is not ours."""
        strangers = {*self.plan.conflicts, *self.plan.waits_for}
        found = (each for each in self.children if each["kind"] == kind and Ref.of(each) not in strangers)
        return next(found, None)


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that is to serve, and what it says of itself, if it is known."""

    name: str
    is_ready: bool
    is_current: bool
    """What it says of its server is about this spec."""
    answer: Answer | None
    manifest: Manifest

    @property
    def checks(self) -> Sequence[Check]:
        """What its servers told it."""
        return self.answer.checks if self.answer else ()

    @property
    def files(self) -> Sequence[File]:
        """The files that it follows."""
        return self.answer.files if self.answer else ()


def serving_pods(tunnel: Tunnel, observed: Observed, now: datetime) -> tuple[Pod, ...]:
    """Those that do not drain, by name. What a pod said long ago is not known any more."""
    return tuple(sorted(_serving(connection_hash(tunnel.spec), observed, now), key=lambda pod: pod.name))


def _serving(wanted: str, observed: Observed, now: datetime) -> Iterator[Pod]:
    for manifest in observed.pods:
        metadata = manifest["metadata"]
        if is_draining(manifest) or manifest.get("status", {}).get("phase") in ("Failed", "Succeeded"):
            continue
        answer = observed.answers.get(metadata["uid"])
        if answer is not None and now - answer.asked_at > _FRESH:
            answer = None
        is_current = metadata.get("annotations", {}).get(Annotation.CONNECTION_HASH.value) == wanted
        yield Pod(metadata["name"], _is_ready(manifest), is_current, answer, manifest)


def wants_answer(pod: Manifest) -> bool:
    """Whether a pod is worth asking for /statusz."""
    status = pod.get("status", {})
    return bool(status.get("podIP")) and status.get("phase") == "Running" and not is_draining(pod)


def is_draining(pod: Manifest) -> bool:
    """Whether it is on its way out."""
    return "deletionTimestamp" in pod["metadata"]


def _is_ready(pod: Manifest) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def find_condition(manifest: Manifest, kind: str) -> Mapping[str, Any]:
    """A condition of an object; empty if it has none of that type."""
    conditions = manifest.get("status", {}).get("conditions", ())
    return next((each for each in conditions if each["type"] == kind), {})
