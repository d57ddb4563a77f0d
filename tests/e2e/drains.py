"""What pods of sokken that leave have to show: their logs, read to the end, say when they cut what, if anything."""

from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from tests.e2e.namespace import Follower, Namespace, Thing
from tests.e2e.release import PATIENT

DELAY = PATIENT["endpointDelaySeconds"]
DRAIN = PATIENT["drainTimeoutSeconds"]
CLOCK = 0.2  # seconds; a line's time is when it was told, an application's when it noticed


def follow(stack: ExitStack, namespace: Namespace, pods: Sequence[str], folder: Path) -> list[Follower]:
    """The logs of these pods from now to their ends."""
    return [stack.enter_context(namespace.following(pod, folder / f"{pod}.log")) for pod in pods]


def assert_nothing_was_cut_before_its_time(leaving: Sequence[Follower]) -> float:
    """Every connection ended by itself, until the first of the pods came to its deadline; when that was (epoch)."""
    first = min(_deadline(pod) for pod in leaving)
    for pod in leaving:
        for line in pod.events("connection_closed"):
            # Another pod's deadline is known here, too.
            allowed = {"completed", "drain_deadline"} if _moment(line) >= first - CLOCK else {"completed"}
            assert line["outcome"] in allowed, (pod.pod, line)
    return first


def _deadline(pod: Follower) -> float:
    """When it cut what was left; if that was nothing, when it ended."""
    last = pod.wait_for_end()[-1]
    assert last["event"] == "drained", (pod.pod, last)
    (leaving,), (draining,) = pod.events("leaving"), pod.events("draining")
    assert _moment(draining) - _moment(leaving) >= DELAY - CLOCK
    if cut := pod.events("drain_deadline"):
        assert _moment(cut[0]) - _moment(draining) >= DRAIN - CLOCK
        return _moment(cut[0])
    return _moment(last)


def _moment(line: Thing) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()
