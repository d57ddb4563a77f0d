"""The commands of README.md for Kubernetes, as they stand there; and the documents' way to be rid of it all again."""

import re
import textwrap

from tests.e2e.namespace import eventually
from tests.e2e.release import SERVER
from tests.e2e.tools import PATIENCE, ROOT, kubectl
from tests.support.services import succeed

LABELS = "app.kubernetes.io/name=sokken"


def play(document, heading):
    """Run what is indented under a heading, block by block."""
    page = (ROOT / document).read_text()
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[1]
    blocks = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    assert blocks
    for block in blocks:
        succeed("bash", "-euo", "pipefail", "-c", textwrap.dedent(block), cwd=ROOT, seconds=PATIENCE)


def test_what_the_readme_says_works(add_namespace):
    tunnels, shop = add_namespace("tunnels"), add_namespace("shop")
    try:
        play("README.md", "Kubernetes")
        tunnels.wait_for_rollout(SERVER)
        shop.wait_for_rollout("remote-sokken-client")
        kubectl("--namespace", "sokken", "rollout", "status", "deployment/sokken-server", f"--timeout={PATIENCE:.0f}s")
        assert [port["port"] for port in shop.get("service/remote-sokken-client")["spec"]["ports"]] == [5432]
        assert [port["port"] for port in shop.get("service/db-sokken")["spec"]["ports"]] == [5432]
        play("docs/kubernetes.md", "Uninstalling")
        eventually(lambda: tunnels.get("all", "--selector", LABELS)["items"] == [])
    finally:
        kubectl("delete", "-k", "k8s/", "--ignore-not-found", cwd=ROOT)
    assert kubectl("get", "namespace", "sokken", "--ignore-not-found") == ""
