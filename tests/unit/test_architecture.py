"""What import-linter's contracts in pyproject.toml cannot say, read from the source."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "sokken"
MODULES = sorted(PACKAGE.rglob("*.py"))
# The standard library has input, output, clocks and chance, too: this is what the protocol may use of it.
PURE = {
    "base64",
    "binascii",
    "bisect",
    "codecs",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "hmac",
    "http",
    "ipaddress",
    "itertools",
    "json",
    "re",
    "string",
    "struct",
    "types",
    "typing",
    "unicodedata",
    "urllib",
    "uuid",
}
PYDANTIC = {"pydantic", "pydantic_core", "pydantic_settings"}
AIOHTTP = {"aiohttp", "aiohappyeyeballs", "multidict"}  # the last two are what the first one stands on
MEDDLING = {"http.client", "http.server", "urllib.request"}
# What takes time to load stands in the one module that is imported only when it is configured.
COSTLY = {
    "sokken/server/signed_tokens.py": ["jwt"],
    "sokken/server/policy_file.py": ["yaml"],
    "sokken/cli/top.py": ["rich", "aiohttp"],
}
TELEMETRY = {"opentelemetry", "prometheus_client", "requests", "structlog"}
# Words that say nothing, and two that have another name here.
UNWANTED_NAMES = {"util", "utils", "helper", "helpers", "manager", "common", "misc", "base", "data", "info"}


def relative(module: Path) -> str:
    return str(module.relative_to(ROOT))


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute, so that each says which floor it goes to"
            yield node.module or ""


def environment_reads(tree: ast.AST) -> Iterator[int]:
    """The lines that read it, but for NO_COLOR: that one belongs to the terminal (https://no-color.org)."""
    terminal = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Attribute() as environ), args=[ast.Constant("NO_COLOR")]):
                terminal.add(environ)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute() if node in terminal:
                continue
            case ast.Attribute(attr="environ" | "environb" | "getenv"):
                yield node.lineno
            case ast.ImportFrom(module="os", names=names):
                yield from (node.lineno for alias in names if alias.name in {"environ", "environb", "getenv"})


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_imports_are_allowed_where_they_stand(module):
    tree = ast.parse(module.read_text())
    found = set(imports(tree))
    inside = module.relative_to(PACKAGE).parts
    roots = {name.partition(".")[0] for name in found}
    if inside[0] == "protocol":
        ours = {name for name in found if name.startswith("sokken")}
        assert all(name.startswith(("sokken.protocol", "sokken.errors")) for name in ours)
        assert roots - {"sokken"} <= PURE
        assert not found & MEDDLING
    if inside[0] != "telemetry":
        assert not roots & TELEMETRY
    if inside[0] != "settings" and inside[:2] != ("operator", "model"):
        assert not roots & PYDANTIC
    assert roots <= sys.stdlib_module_names | PYDANTIC | TELEMETRY | {
        "sokken",
        "aiohappyeyeballs",
        "aiohttp",
        "cryptography",
        "jwt",
        "kopf",
        "rich",
        "uvloop",
        "yaml",
    }


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_only_the_settings_read_the_environment(module):
    if module.is_relative_to(PACKAGE / "settings"):
        return
    assert list(environment_reads(ast.parse(module.read_text()))) == []


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_every_module_says_what_it_is_for_under_a_name_that_says_something(module):
    assert ast.get_docstring(ast.parse(module.read_text()))
    assert module.stem not in UNWANTED_NAMES


def test_each_protocol_module_has_its_own_test_file():
    modules = {module.stem for module in (PACKAGE / "protocol").glob("*.py")} - {"__init__"}
    tests = {test.stem.removeprefix("test_") for test in (ROOT / "tests/unit/protocol").glob("test_*.py")}
    assert modules <= tests
