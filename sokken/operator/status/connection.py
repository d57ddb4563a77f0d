"""What the pods' own checks say: ``Connected`` and ``ReferencesResolved``.

A client asks its servers regularly whether they would let it in, and follows the files of its credentials; both stand
in its /statusz. The operator reads nothing else, no Secret above all.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sokken.operator.model import Tunnel
from sokken.operator.model.names import ADMIN_PORT
from sokken.operator.resources.credentials import Reference, references
from sokken.operator.resources.environment import tunnel_url
from sokken.operator.status.conditions import Verdict, bad, good, unknown
from sokken.operator.status.facts import Pod
from sokken.operator.status.reasons import Reason
from sokken.protocol.address import AddressError, parse_server_url
from sokken.protocol.outcomes import ConnectOutcome, Outcome
from sokken.protocol.outcomes import Reason as Refused

STALE_SECONDS: Final = 60
"""Twice the interval between checks, and the longest that one may take."""

OUTCOMES: Final[Mapping[str, Reason]] = {
    Refused.UNAUTHENTICATED: Reason.AUTHENTICATION_FAILED,
    Refused.FORBIDDEN_TARGET: Reason.TARGET_FORBIDDEN,
    Refused.FORBIDDEN_ORIGIN: Reason.AUTHENTICATION_FAILED,
    Refused.NOT_FOUND: Reason.PATH_NOT_FOUND,
    Refused.BAD_REQUEST: Reason.PROTOCOL_ERROR,
    Refused.SERVER_FULL: Reason.SERVER_FULL,
    Refused.CLIENT_FULL: Reason.SERVER_FULL,
    Refused.TARGET_FULL: Reason.SERVER_FULL,
    Refused.RATE_LIMITED: Reason.RATE_LIMITED,
    Refused.DRAINING: Reason.SERVER_DRAINING,
    ConnectOutcome.SERVER_UNREACHABLE: Reason.SERVER_UNREACHABLE,
    ConnectOutcome.SERVER_DNS: Reason.SERVER_UNREACHABLE,
    ConnectOutcome.CONNECT_TIMEOUT: Reason.SERVER_UNREACHABLE,
    ConnectOutcome.SERVER_TLS: Reason.TLS_VERIFICATION_FAILED,
    ConnectOutcome.CREDENTIAL_UNAVAILABLE: Reason.REFERENCES_NOT_RESOLVED,
    Outcome.PROTOCOL_ERROR: Reason.PROTOCOL_ERROR,
    Outcome.INTERNAL_ERROR: Reason.CLIENT_FAULT,
}
"""What a check's outcome is called here. The others end connections, and no check: they would be a fault."""


def judge_connection(tunnel: Tunnel, pods: Sequence[Pod]) -> Verdict:
    """Whether the servers would let the ready pods in; where none is ready, what the others are told.

    ``pods`` are those of this spec. Where its server, credentials or targets have just been changed there is none yet,
    though old ones serve: it is not known then whether what is asked for now can be had.
    """
    if not pods:
        return _without_pods(tunnel)
    asked = [pod for pod in pods if pod.is_ready] or pods
    refusals = [refusal for pod in asked for refusal in _refusals(tunnel, pod)]
    if refusals:
        return bad(*refusals[0])
    silent = next(((pod, pod.answer.problem) for pod in asked if pod.answer and pod.answer.problem), None)
    if silent is not None:
        pod, problem = silent
        return unknown(
            Reason.STATUS_ENDPOINT_UNREACHABLE,
            f"pod {pod.name} cannot be asked how it is: {problem}; "
            f"the operator's namespace must reach port {ADMIN_PORT} of the pods",
        )
    checks = [check for pod in asked for check in pod.checks if check.asked_s_ago is not None]
    if any(check.asked_s_ago > STALE_SECONDS for check in checks if check.asked_s_ago is not None):
        return unknown(Reason.CHECK_STALE, "a pod has not asked its server for a minute: see its log")
    if not checks:
        return unknown(Reason.PENDING, "no pod has asked its server yet")
    return good(Reason.ADMITTED, "the server admits this client to every target")


def judge_references(tunnel: Tunnel, pods: Sequence[Pod]) -> Verdict:
    """Whether the files of all credentials are in the pods, and can be used."""
    wanted = references(tunnel.spec)
    if not wanted:
        return good(Reason.RESOLVED, "it refers to no Secret and no ConfigMap")
    for reference in wanted:
        for pod in pods:
            problem = _judge_file(tunnel, reference, pod)
            if problem is not None:
                return problem
    if any(pod.files for pod in pods):
        return good(Reason.RESOLVED, "all that it refers to is in its pods")
    return _without_pods(tunnel) if not pods else unknown(Reason.PENDING, "no pod has told yet what it found")


def _without_pods(tunnel: Tunnel) -> Verdict:
    if tunnel.spec.replicas == 0:
        return unknown(Reason.SUSPENDED, "there is no pod that could tell, because replicas is 0")
    return unknown(Reason.PENDING, "there is no pod of this spec yet that could tell")


def _refusals(tunnel: Tunnel, pod: Pod) -> Iterator[tuple[Reason, str]]:
    """The reason and the message for each server that does not admit a pod."""
    for check in pod.checks:
        if check.outcome:
            reason = OUTCOMES.get(check.outcome, Reason.CLIENT_FAULT)
            yield reason, f"{_forwards_of(tunnel, check.server)}: {check.problem} (pod {pod.name})"


def _forwards_of(tunnel: Tunnel, url: str) -> str:
    """Which forwards lead there."""
    names = [each.name for each in tunnel.spec.forwards if _normalised(tunnel_url(tunnel.spec, each)) == url]
    return f"forward {', '.join(names)}" if names else url


def _normalised(url: str) -> str:
    try:
        return str(parse_server_url(url))
    except AddressError:
        return url


def _judge_file(tunnel: Tunnel, reference: Reference, pod: Pod) -> Verdict | None:
    file = next((each for each in pod.files if each.setting in reference.files), None)
    if file is None or not file.problem:
        return None
    where = f"{reference.kind} {tunnel.namespace}/{reference.name} ({reference.field})"
    keys = " and ".join(key for key, _ in reference.files.values())
    after = "" if file.result == "unavailable" else "; pods that run keep what they had"
    look = f"kubectl -n {tunnel.namespace} describe {reference.kind.lower()} {reference.name}"
    if not file.missing:
        reason = Reason.CA_BUNDLE_INVALID if "SOKKEN_CA_FILE" in reference.files else Reason.SECRET_INVALID
        return bad(reason, f"{where} cannot be used: {_why(file.problem)}{after}")
    if file.missing < file.paths:
        return bad(Reason.KEY_NOT_FOUND, f"{where} has not both keys {keys}: {look}{after}")
    reason = Reason.SECRET_NOT_FOUND if reference.kind == "Secret" else Reason.CONFIG_MAP_NOT_FOUND
    return bad(reason, f"{where} is not there, or has no key {keys}: {look}{after}")


def _why(problem: str) -> str:
    """The client's own words, without the path in its pod."""
    return problem.rpartition(": ")[2]
