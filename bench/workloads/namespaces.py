"""Network namespaces of the bench's own, for ganesha.py and vpn.py.

They are not named (`ip netns add` is a name in a file): each belongs to a process that holds it and ends with the
harness, and so nothing of it is left behind, however the harness ends. Needs root.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Child, family
from bench.workloads.site import Site, find, wait_until

PROGRAMS = ("unshare", "nsenter", "ip", "rpcbind")
# NFS servers register with rpcbind through a socket in /run: in a mount namespace, that is a /run of its own.
_RPCBIND = "mount -t tmpfs none /run && ip link set lo up && rpcbind -f; exit 1"


@dataclass(frozen=True, slots=True)
class Namespace:
    """Of the process ``holder``."""

    holder: int

    def enter(self, *kinds: str) -> tuple[str, ...]:
        """The prefix of a command that is to run inside, in the namespaces of these kinds: net, mount."""
        return (find("nsenter"), f"--target={self.holder}", *(f"--{kind}" for kind in kinds), "--")


@contextmanager
def with_rpcbind(site: Site) -> Iterator[Namespace]:
    """A network and a mount namespace with an rpcbind inside, which no other program can see."""
    # rpcbind changes its user, which clears the signal for when the harness is gone. It ends with the first process
    # of a process namespace instead: the shell, which ends with unshare.
    unshare = (find("unshare"), "--net", "--mount", "--pid", "--fork", "--kill-child")
    with site.serve("rpcbind", *unshare, "sh", "-c", _RPCBIND) as child:
        try:
            wait_until(lambda: _has_socket(child), "the start of rpcbind")
            yield Namespace(family(child.process.pid)[1])
        finally:
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                for pid in family(child.process.pid)[1:2]:  # the shell, and so all the others
                    os.kill(pid, signal.SIGKILL)
                child.process.wait(10)  # unshare waits for the shell


def _has_socket(child: Child) -> bool:
    child.check()
    return any(Path("/proc", str(pid), "root", "run", "rpcbind.sock").exists() for pid in family(child.process.pid)[1:])


@contextmanager
def empty(site: Site) -> Iterator[Namespace]:
    """A network namespace with nothing but the loopback interface."""
    with site.serve("namespace", find("unshare"), "--net", "sleep", "infinity") as child:
        wait_until(lambda: _is_apart(child), "a network namespace")
        namespace = Namespace(child.process.pid)
        site.run(*namespace.enter("net"), "ip", "link", "set", "lo", "up")
        yield namespace


def _is_apart(child: Child) -> bool:
    child.check()
    theirs, ours = (Path(f"/proc/{pid}/ns/net").readlink() for pid in (child.process.pid, os.getpid()))
    return theirs != ours


def connect(site: Site, far: Namespace, near: Namespace, far_address: str, near_address: str) -> None:
    """Lay a cable (veth) between two namespaces. The addresses are of one network of 256."""
    ends = ("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", str(near.holder))
    site.run(*far.enter("net"), *ends)
    for namespace, address in ((far, far_address), (near, near_address)):
        site.run(*namespace.enter("net"), "ip", "address", "add", f"{address}/24", "dev", "cable")
        site.run(*namespace.enter("net"), "ip", "link", "set", "cable", "up")
