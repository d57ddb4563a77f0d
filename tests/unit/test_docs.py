"""What the documents promise is there: links, settings, make targets. And nothing about one machine."""

import re
import subprocess
from pathlib import Path
from urllib.parse import unquote

import pytest

from charts.generate.__main__ import documents as chart_documents
from sokken.protocol.outcomes import ConnectOutcome, Outcome, Reason
from sokken.settings.catalogue import all_settings

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"")
# Names that Kubernetes sets for a Service called sokken; the documents say that they are left alone.
NOT_SETTINGS = re.compile(r"SOKKEN_(SERVICE_HOST|SERVICE_PORT\w*|PORT|PORT_\d+_\w+)")


def committed() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


DOCUMENTS = [path for path in committed() if path.suffix == ".md"]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(document: Path) -> set[str]:
    """The names that a page gives to its headings, as the usual renderers of Markdown make them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def setting_names() -> set[str]:
    return {setting.variable for setting in all_settings().values()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_links_lead_somewhere(document):
    for match in LINK.finditer(document.read_text()):
        link = unquote(match[1] or match[2])
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        page = (document.parent / name) if name else document
        assert page.exists(), link
        assert not anchor or anchor in anchors(page), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_settings_that_are_named_exist(document):
    named = set(re.findall(r"SOKKEN_[A-Z0-9_]*[A-Z0-9]\b(?!_?[*…])", document.read_text()))
    assert {name for name in named if not NOT_SETTINGS.fullmatch(name)} <= setting_names()


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_make_targets_that_are_named_exist(document):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z0-9-]+)", document.read_text())) <= targets
    assert set(re.findall(r"^ *make ([a-z0-9-]+)", document.read_text(), re.MULTILINE)) <= targets


@pytest.mark.parametrize("document", chart_documents(), ids=relative)
def test_what_is_made_from_the_charts_values_is_current(document):
    assert document.read_text() == chart_documents()[document], "run: make docs"


def test_the_protocol_page_names_every_outcome():
    page = (ROOT / "docs/protocol.md").read_text()
    assert [word for word in [*Reason, *Outcome, *ConnectOutcome] if f"`{word}`" not in page] == []


def test_the_readme_links_every_page_in_docs():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in readme] == []


def test_no_file_names_a_machine_or_a_registry():
    private = re.compile(
        "|".join(["/wo" + "rk/", r"/ro" + r"ot/", "pypi" + r"\.org", "files.python" + "hosted", "index" + "-url"])
    )
    found = []
    for path in committed():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue  # a picture
        found += [f"{relative(path)}: {match[0]}" for match in private.finditer(text)]
    assert found == []
