"""The test's hand on the applications in the cluster (apps/applications.py): told what to do, asked what they saw."""

from typing import Any

from tests.e2e.namespace import Namespace, Thing, eventually
from tests.e2e.workloads import APPLICATIONS_PORT, add_applications

MIB = 1024 * 1024


class Applications:
    """Those in one namespace. ``to`` is HOST:PORT as pods see it, ``name`` the story's word for a group of them."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        add_applications(namespace)

    def hold(self, name: str, to: str, count: int, every: float = 1.0) -> None:
        """Connections that stay, once they are all open; each speaks every so many seconds."""
        self._tell("/hold", name=name, to=to, count=count, every=every)
        eventually(lambda: self.report(name)["open"] == count)

    def visit(self, name: str, to: str, every: float = 0.1) -> None:
        """A new connection every so many seconds, once the first have been."""
        self._tell("/visit", name=name, to=to, every=every)
        self.wait_for_more(name)

    def wait_for_more(self, name: str, count: int = 10) -> None:
        """Until so many more visits have been, whatever became of those before."""
        before = self.report(name)["done"]
        eventually(lambda: self.report(name)["done"] >= before + count)

    def finish(self, name: str, count: int | None = None) -> None:
        """End held connections in order, all of them unless told how many; or the visits."""
        self._tell("/finish", name=name, **({} if count is None else {"count": count}))

    def wait_finished(self, name: str, count: int) -> None:
        eventually(lambda: self.report(name)["finished"] == count)

    def exchange(self, to: str, size: int, seed: int) -> Thing:
        """Send and receive at once, and end: was every byte right?"""
        return self._tell("/exchange", to=to, bytes=size, seed=seed)

    def report(self, name: str) -> dict[str, Any]:
        return self._tell("/report")[name]

    def now(self) -> float:
        """Their clock."""
        return self._tell("/report")["now"]

    def _tell(self, path: str, **query: object) -> Thing:
        return self._namespace.ask("services/applications", APPLICATIONS_PORT, path, **query)
