"""The status of a Tunnel, and what is told when it changes: facts in, a document and Events out.

Called after each reconcile. It is written only if something is different: what changes with every look (times,
counters) must not be in it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sokken.operator.model import InvalidTunnel, Tunnel
from sokken.operator.resources import Annotation, Defaults, Manifest, selector_labels
from sokken.operator.resources.naming import format_selector
from sokken.operator.status.conditions import FALSE, TRUE, Verdict, bad, good, unknown
from sokken.operator.status.connection import judge_connection, judge_references
from sokken.operator.status.facts import Observed, Pod, serving_pods
from sokken.operator.status.reasons import ConditionType, Reason
from sokken.operator.status.rollout import is_invalid, judge_availability, judge_progress

Verdicts = dict[ConditionType, Verdict]


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell once, on the Tunnel."""

    type: str
    """``Normal`` or ``Warning``."""
    reason: str
    message: str
    action: str


@dataclass(frozen=True, slots=True)
class Report:
    """The whole status, whether it is another than the one that stands there, and what to tell."""

    status: Manifest
    events: tuple[Event, ...]
    has_changed: bool


def describe(tunnel: Tunnel, observed: Observed, defaults: Defaults, now: datetime) -> Report:
    """The status of a Tunnel whose plan was carried out."""
    pods = serving_pods(tunnel, observed, now)
    current = [pod for pod in pods if pod.is_current]
    verdicts: Verdicts = {
        ConditionType.ACCEPTED: _judge_acceptance(tunnel, observed, defaults),
        ConditionType.REFERENCES_RESOLVED: _as_known(
            tunnel, ConditionType.REFERENCES_RESOLVED, judge_references, current
        ),
        ConditionType.AVAILABLE: judge_availability(tunnel, observed, pods),
        ConditionType.PROGRESSING: judge_progress(tunnel, observed, pods, now),
        ConditionType.CONNECTED: _as_known(tunnel, ConditionType.CONNECTED, judge_connection, current),
    }
    verdicts[ConditionType.READY] = _sum_up(tunnel, verdicts)
    status = {"observedGeneration": tunnel.generation, **_describe_children(tunnel, observed)}
    return _report(tunnel.status, status, verdicts, tunnel.generation, now)


def describe_invalid(document: Mapping[str, Any], problem: InvalidTunnel, now: datetime) -> Report:
    """The status of what is no Tunnel: what runs goes on, and is as it was."""
    before, generation = document.get("status") or {}, document["metadata"].get("generation", 0)
    refused = bad(Reason.INVALID_SPEC, str(problem))
    status = {**before, "observedGeneration": generation}
    return _report(before, status, {ConditionType.ACCEPTED: refused, ConditionType.READY: refused}, generation, now)


def _as_known(
    tunnel: Tunnel,
    kind: ConditionType,
    judge: Callable[[Tunnel, Sequence[Pod]], Verdict],
    pods: Sequence[Pod],
) -> Verdict:
    """What the pods of this spec say; while some are ready and none has been asked yet, what was known before.

    After a start of the operator nobody has been asked, and new pods are asked only after a while: neither is news.
    """
    verdict = judge(tunnel, pods)
    before = next((each for each in tunnel.status.get("conditions", ()) if each["type"] == kind), None)
    if (
        verdict.reason is not Reason.PENDING
        or not any(pod.is_ready for pod in pods)
        or before is None
        or before["reason"] not in set(Reason)
    ):
        return verdict
    return Verdict(before["status"], Reason(before["reason"]), before["message"])


def _judge_acceptance(tunnel: Tunnel, observed: Observed, defaults: Defaults) -> Verdict:
    if observed.plan.conflicts:
        ref = observed.plan.conflicts[0]
        look = f"kubectl -n {ref.namespace} get {ref.kind.lower()} {ref.name} -o yaml"
        return bad(
            Reason.NAME_CONFLICT,
            f"{ref} is not this Tunnel's and is not touched: delete it, or name the Tunnel otherwise ({look})",
        )
    for failure in observed.failures:
        if is_invalid(failure):
            return bad(Reason.INVALID_SPEC, f"{failure.ref}: {failure.message}")
    return good(Reason.ACCEPTED, "; ".join(["the spec can be used", *_left_out(tunnel, defaults)]))


def _left_out(tunnel: Tunnel, defaults: Defaults) -> Iterator[str]:
    if tunnel.spec.monitoring.pod_monitor.enabled and not defaults.has_pod_monitors:
        yield "no PodMonitor is made, because this cluster has no PodMonitors, or the operator may not write them"
    if tunnel.spec.network_policy.mode == "Managed" and not defaults.has_network_policies:
        yield "no NetworkPolicy is made, because the operator may not write them"


_CAUSES_FIRST: Final = (
    ConditionType.ACCEPTED,
    ConditionType.REFERENCES_RESOLVED,
    ConditionType.CONNECTED,
    ConditionType.AVAILABLE,
)
"""Where several are not as they should be, the first of these is why the others are not."""
_NOT_APPLIED: Final = frozenset({Reason.RBAC_DENIED, Reason.APPLY_FAILED})


def _sum_up(tunnel: Tunnel, verdicts: Verdicts) -> Verdict:
    progress = verdicts[ConditionType.PROGRESSING]
    decisive = [verdicts[kind] for kind in _CAUSES_FIRST]
    if verdicts[ConditionType.ACCEPTED].status == TRUE and progress.reason in _NOT_APPLIED:
        return progress
    if tunnel.spec.replicas == 0 and verdicts[ConditionType.ACCEPTED].status == TRUE:
        return bad(Reason.SUSPENDED, "replicas is 0: the Tunnel is suspended")
    for status in (FALSE, "Unknown"):
        found = next((verdict for verdict in decisive if verdict.status == status), None)
        if found is not None:
            return found
    return good(Reason.READY, "the server admits this client to every target")


def _describe_children(tunnel: Tunnel, observed: Observed) -> dict[str, Any]:
    deployment, service = observed.child("Deployment"), observed.child("Service")
    status: dict[str, Any] = {"replicas": 0, "selector": format_selector(selector_labels(tunnel))}
    if deployment is not None:
        counts = deployment.get("status", {})
        status |= {name: counts.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")}
        status["image"] = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        status["templateHash"] = deployment["metadata"].get("annotations", {}).get(Annotation.TEMPLATE_HASH.value, "")
    if service is not None:
        status["serviceName"] = service["metadata"]["name"]
        status["addresses"] = list(_addresses(tunnel, service))
    return status


def _addresses(tunnel: Tunnel, service: Manifest) -> Iterator[dict[str, Any]]:
    name = service["metadata"]["name"]
    ingress = service.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    outside = [each.get("hostname") or each.get("ip") for each in ingress]
    for forward in tunnel.spec.forwards:
        for host in (f"{name}.{tunnel.namespace}.svc", *filter(None, outside)):
            yield {"forward": forward.name, "host": host, "port": forward.exposed_port}


def _report(before: Mapping[str, Any], status: Manifest, verdicts: Verdicts, generation: int, now: datetime) -> Report:
    known = {each["type"]: each for each in before.get("conditions", ())}
    written = {
        kind.value: verdicts[kind].format(kind, generation, known.get(kind), now)
        for kind in ConditionType
        if kind in verdicts
    }
    for kind in ConditionType:
        if kind.value not in written:
            written[kind.value] = known.get(kind) or unknown(Reason.PENDING, "not known yet").format(
                kind, generation, None, now
            )
    status = {**status, "conditions": [written[kind.value] for kind in ConditionType]}
    return Report(status, tuple(_events(known, written)), has_changed=status != before)


_TOLD: Final = (ConditionType.READY, ConditionType.PROGRESSING)
"""What Events are of: one tells whether it works, the other what happens to pods."""
_NOT_TOLD: Final = frozenset(
    {
        Reason.PENDING,
        Reason.SUSPENDED,
        Reason.DRAINING,
        Reason.AWAITING_DELETION,
        Reason.AWAITING_TURN,
        Reason.AWAITING_CONNECTION,
        Reason.UPDATE_HELD,
    }
)
"""What passes by itself, or was asked for."""


def _events(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Event]:
    for kind in _TOLD:
        old, new = before.get(kind, {}), after[kind]
        if (old.get("status"), old.get("reason")) == (new["status"], new["reason"]) or new["reason"] in _NOT_TOLD:
            continue
        if new["status"] == "Unknown" or (not old and new["reason"] == Reason.ROLLOUT_COMPLETE):
            continue
        if new["reason"] == Reason.PODS_NOT_READY and old.get("status") != TRUE:
            continue  # pods that have only begun to start
        type_ = "Warning" if new["status"] == FALSE else "Normal"
        yield Event(type_, new["reason"], new["message"], "Reconcile")
