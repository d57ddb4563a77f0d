"""What the Deployment and its pods say: ``Available`` and ``Progressing``."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sokken.operator.model import Tunnel
from sokken.operator.reconcile import Hold, is_rolled_out
from sokken.operator.resources import Manifest
from sokken.operator.status.conditions import FALSE, TRUE, Verdict, bad, good, unknown
from sokken.operator.status.facts import Failure, Observed, Pod, find_condition, is_draining
from sokken.operator.status.reasons import ConditionType, Reason

_PULLING: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_FORBIDDEN: Final = 403
_UNPROCESSABLE: Final = frozenset({400, 422, 500})
"""500 is what the API server says of a duplicate key or an unknown field in what is applied."""
_REMEMBERED: Final = timedelta(minutes=10)
"""How long it is told that somebody else sets the replicas: he does so again and again, and the operator, too."""

_HELD: Final = {
    Hold.MANUAL: good(
        Reason.UPDATE_HELD,
        "this version of the operator would change the pods; updatePolicy is Manual, so it waits for a change of spec",
    ),
    Hold.TURN: good(
        Reason.AWAITING_TURN, "this version of the operator changes the pods; other Tunnels are rolled first"
    ),
    Hold.DISCONNECTED: good(
        Reason.AWAITING_CONNECTION,
        "this version of the operator changes the pods; that waits until the server admits them (see Connected)",
    ),
    Hold.DRAIN_BACKLOG: bad(
        Reason.DRAIN_BACKLOG,
        "too many old pods still drain; the new ones are made when they are fewer, or with the annotation "
        "sokken.dev/ignore-drain-backlog=true",
    ),
}


def is_invalid(failure: Failure) -> bool:
    """Whether it is the spec's fault that an object was refused."""
    return failure.verb == "apply" and failure.code in _UNPROCESSABLE


def judge_availability(tunnel: Tunnel, observed: Observed, pods: Sequence[Pod]) -> Verdict:
    """Whether at least one pod serves."""
    deployment = observed.child("Deployment")
    if deployment is None:
        return unknown(Reason.PENDING, "there is no Deployment yet")
    if tunnel.spec.replicas == 0:
        return bad(Reason.SUSPENDED, "replicas is 0, so there are no pods")
    available = deployment.get("status", {}).get("availableReplicas", 0)
    if available:
        return good(Reason.PODS_AVAILABLE, f"{available} of {tunnel.spec.replicas} pods are available")
    refused = find_condition(deployment, "ReplicaFailure")
    if refused.get("status") == TRUE:
        return bad(Reason.PODS_REFUSED, f"pods cannot be made: {refused.get('message')}")
    return explain_pods(pods) or bad(Reason.PODS_NOT_READY, "no pod is available yet")


def explain_pods(pods: Sequence[Pod]) -> Verdict | None:
    """Why pods do not serve: the first that tells more than that it is not ready; None if all do."""
    found = [verdict for pod in pods for verdict in _explain(pod)]
    return min(found, key=lambda verdict: verdict.reason is Reason.PODS_NOT_READY, default=None)


def judge_progress(tunnel: Tunnel, observed: Observed, pods: Sequence[Pod], now: datetime) -> Verdict:
    """Whether pods become, or are, what the spec wants."""
    plan, deployment = observed.plan, observed.child("Deployment")
    for failure in observed.failures:
        if not is_invalid(failure):
            return _refused(failure)
    if plan.waits_for:
        return good(Reason.AWAITING_DELETION, f"{plan.waits_for[0]} is being deleted, and is made anew when it is gone")
    if plan.hold:
        return _HELD[plan.hold]
    contested = _contested(tunnel, plan.scaler) if plan.scaler else _remembered(tunnel, now)
    if contested is not None:
        return contested
    if deployment is None:
        return unknown(Reason.PENDING, "there is no Deployment yet")
    return _judge_rollout(deployment, observed, pods)


def _judge_rollout(deployment: Manifest, observed: Observed, pods: Sequence[Pod]) -> Verdict:
    why = _explain_delay(deployment, pods)
    if find_condition(deployment, "Progressing").get("status") == FALSE:
        return bad(Reason.ROLLOUT_STUCK, f"new pods have not become ready{why}")
    if not is_rolled_out(deployment):
        return good(Reason.ROLLING_OUT, f"pods are being made as the spec wants them{why}")
    leaving = sorted(pod["metadata"]["deletionTimestamp"] for pod in observed.pods if is_draining(pod))
    if leaving:
        return good(Reason.DRAINING, f"{len(leaving)} old pods drain, the oldest until {leaving[0]} at most")
    return good(Reason.ROLLOUT_COMPLETE, "all pods are as the spec wants them")


def _explain_delay(deployment: Manifest, pods: Sequence[Pod]) -> str:
    """What stops new pods, if anything does."""
    refused = find_condition(deployment, "ReplicaFailure")
    if refused.get("status") == TRUE:
        return f": they cannot be made: {refused.get('message')}"
    new = explain_pods([pod for pod in pods if not pod.is_ready])
    return f": {new.message}" if new else ""


def _refused(failure: Failure) -> Verdict:
    reason = Reason.RBAC_DENIED if failure.code == _FORBIDDEN else Reason.APPLY_FAILED
    return bad(reason, f"to {failure.verb} {failure.ref} was refused: {failure.message}")


def _contested(tunnel: Tunnel, scaler: str) -> Verdict:
    return bad(
        Reason.REPLICAS_CONTESTED,
        f"{scaler} sets the Deployment's replicas, too: let it scale the Tunnel instead "
        f"(kubectl -n {tunnel.namespace} scale tunnel {tunnel.name}; an autoscaler's scaleTargetRef with kind: Tunnel)",
    )


def _remembered(tunnel: Tunnel, now: datetime) -> Verdict | None:
    conditions = tunnel.status.get("conditions", ())
    before = next((each for each in conditions if each["type"] == ConditionType.PROGRESSING), None)
    if before is None or before["reason"] != Reason.REPLICAS_CONTESTED:
        return None
    since = datetime.fromisoformat(before["lastTransitionTime"])
    return (
        Verdict(before["status"], Reason.REPLICAS_CONTESTED, before["message"]) if now - since < _REMEMBERED else None
    )


def _explain(pod: Pod) -> Iterator[Verdict]:
    scheduled = find_condition(pod.manifest, "PodScheduled")
    if scheduled.get("status") == FALSE:
        yield bad(Reason.UNSCHEDULABLE, f"pod {pod.name}: {scheduled.get('message')}")
    for container in pod.manifest.get("status", {}).get("containerStatuses", ()):
        yield from _explain_container(pod, container)
    if not pod.is_ready:
        why = pod.answer.not_ready if pod.answer else ""
        yield bad(Reason.PODS_NOT_READY, f"pod {pod.name} is not ready" + (f": {why}" if why else ""))


def _explain_container(pod: Pod, container: Mapping[str, Any]) -> Iterator[Verdict]:
    waiting = container.get("state", {}).get("waiting", {})
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _PULLING:
        yield bad(Reason.IMAGE_PULL_FAILED, f"pod {pod.name}: {reason}: {message or container.get('image')}")
    elif reason == "CrashLoopBackOff":
        ended = container.get("lastState", {}).get("terminated", {})
        yield bad(Reason.PODS_CRASHING, f"pod {pod.name} ends by itself, with exit code {ended.get('exitCode')}")
    elif reason not in ("", "ContainerCreating", "PodInitializing"):
        yield bad(Reason.PODS_REFUSED, f"pod {pod.name}: {reason}: {message}")
