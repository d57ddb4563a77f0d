"""The test's hand on the applications in the cluster (apps/applications.py): told what to do, asked what they saw."""

from typing import Any

from tests.e2e.namespace import Namespace, Thing, eventually
from tests.e2e.workloads import APPLICATIONS_PORT, add_applications

MIB = 1024 * 1024
STAY, VISIT = "applications", "visitors"


class Applications:
    """Those in one namespace. ``to`` is HOST:PORT as pods see it, ``name`` the story's word for a group of them.

    Those that stay and those that visit are different pods. Who is reset has its port back at once, and for 10 s the
    kernel leads the next connection from there to the pod that was its last one's (nf_conntrack_tcp_timeout_close),
    which may listen no more: with many visits that happens.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._pod_of: dict[str, str] = {}
        for pod in (STAY, VISIT):
            add_applications(namespace, pod)
        namespace.wait_for_rollout(STAY, VISIT)

    def hold(self, name: str, to: str, count: int, every: float = 1.0) -> None:
        """Connections that stay, once they are all open; each speaks every so many seconds."""
        self._pod_of[name] = STAY
        self._tell(STAY, "/hold", name=name, to=to, count=count, every=every)
        eventually(lambda: self.report(name)["open"] == count)

    def visit(self, name: str, to: str, every: float = 0.1) -> None:
        """A new connection every so many seconds, once the first have been."""
        self._pod_of[name] = VISIT
        self._tell(VISIT, "/visit", name=name, to=to, every=every)
        self.wait_for_more(name)

    def wait_for_more(self, name: str, count: int = 10) -> None:
        """Until so many more visits have been, whatever became of those before."""
        before = self.report(name)["done"]
        eventually(lambda: self.report(name)["done"] >= before + count)

    def finish(self, name: str, count: int | None = None) -> None:
        """End held connections in order, all of them unless told how many; or the visits."""
        self._tell(self._pod_of[name], "/finish", name=name, **({} if count is None else {"count": count}))

    def wait_finished(self, name: str, count: int) -> None:
        eventually(lambda: self.report(name)["finished"] == count)

    def exchange(self, to: str, size: int, seed: int) -> Thing:
        """Send and receive at once, and end: was every byte right?"""
        return self._tell(STAY, "/exchange", to=to, bytes=size, seed=seed)

    def report(self, name: str) -> dict[str, Any]:
        return self._tell(self._pod_of[name], "/report")[name]

    def now(self) -> float:
        """Their clock."""
        return self._tell(STAY, "/report")["now"]

    def _tell(self, pod: str, path: str, **query: object) -> Thing:
        return self._namespace.ask(f"services/{pod}", APPLICATIONS_PORT, path, **query)
