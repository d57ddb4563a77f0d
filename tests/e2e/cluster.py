"""The cluster of the suite, with the images in it: made by kind before the first story, gone after the last.

E2E_KUBECONFIG names a running one instead; E2E_KEEP=1 leaves ours; E2E_CLUSTER is its name, for two suites on one
machine. Called by conftest.py, in one process only.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sokken import __version__
from tests.e2e.namespace import eventually
from tests.e2e.tools import ROOT, kubectl
from tests.support.services import run, succeed

IMAGE = os.environ.get("IMAGE") or f"sokken:{__version__}"
PROXY_IMAGE = "sokken-e2e-proxy:local"
NAME = os.environ.get("E2E_CLUSTER") or "sokken-e2e"
MINUTES = 60.0
KUBECONFIG = Path(__file__).parent / ".kubeconfig"

Say = Callable[[str], object]


def prepare(say: Say) -> None:
    """A cluster that has the images. KUBECONFIG leads to it from here on, in programs that are started, too."""
    given = os.environ.get("E2E_KUBECONFIG")
    os.environ["KUBECONFIG"] = str(Path(given).absolute() if given else KUBECONFIG)
    with ThreadPoolExecutor() as pool:
        tasks = [pool.submit(_build_image, say), pool.submit(_build_proxy, say)]
        if given is None:
            tasks.append(pool.submit(_create, say))
    for task in tasks:
        task.result()
    _load(say)
    say("Installing the definition of Tunnels")
    apply_definition()


def apply_definition() -> None:
    """As the image prints it; it belongs to the whole cluster."""
    printed = succeed("docker", "run", "--rm", IMAGE, "operator", "crds")
    kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", input=printed)
    eventually(_knows_tunnels)


def _knows_tunnels() -> bool:
    """Not by `kubectl wait`, which stumbles over a definition that has no conditions yet."""
    status = json.loads(kubectl("get", "crd", "tunnels.sokken.dev", "--output=json")).get("status", {})
    return any((each["type"], each["status"]) == ("Established", "True") for each in status.get("conditions") or ())


def restart_api_server() -> None:
    """Kill it, and wait until the one that the kubelet starts instead is ready. The cluster must be one of kind's."""
    node = f"{_context().removeprefix('kind-')}-control-plane"
    was = succeed("docker", "exec", node, "pidof", "kube-apiserver")
    succeed("docker", "exec", node, "kill", "-KILL", was.strip())
    eventually(lambda: run("docker", "exec", node, "pidof", "kube-apiserver").stdout not in {"", was})
    eventually(lambda: run("kubectl", "get", "--raw", "/readyz").returncode == 0)


def remove(say: Say) -> None:
    """The end of the cluster, if it is ours and nobody wants to look into it."""
    if "E2E_KUBECONFIG" in os.environ:
        return
    if os.environ.get("E2E_KEEP"):
        say(f"The cluster {NAME} is kept: E2E_KUBECONFIG={KUBECONFIG} make e2e uses it again.")
        return
    run("kind", "delete", "cluster", "--name", NAME, seconds=2 * MINUTES)


def _create(say: Say) -> None:
    say(f"Creating the cluster {NAME}")
    run("kind", "delete", "cluster", "--name", NAME, seconds=2 * MINUTES)  # left by a run that was killed
    node = os.environ.get("KIND_NODE_IMAGE")
    image = ["--image", node] if node else []
    succeed("kind", "create", "cluster", "--name", NAME, *image, "--wait", "180s", seconds=10 * MINUTES)


def _build_image(say: Say) -> None:
    say(f"Building {IMAGE}")
    succeed("make", "-C", ROOT, "--no-print-directory", "image", f"IMAGE={IMAGE}", seconds=10 * MINUTES)


def _build_proxy(say: Say) -> None:
    say(f"Building {PROXY_IMAGE}")
    succeed("docker", "build", "--tag", PROXY_IMAGE, Path(__file__).parent / "proxy", seconds=10 * MINUTES)


def _load(say: Say) -> None:
    """Into a cluster of kind; another one is expected to have the images, or to pull them."""
    context = _context()
    if context.startswith("kind-"):
        say("Loading the images into the cluster")
        name = context.removeprefix("kind-")
        succeed("kind", "load", "docker-image", IMAGE, PROXY_IMAGE, "--name", name, seconds=5 * MINUTES)


def _context() -> str:
    return kubectl("config", "current-context").strip()
