"""What is in the image: all of sokken, ready to run, and nothing that helps an intruder."""

import ast
import hashlib
import json
import re
import stat
import subprocess
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

import pytest

from sokken import __version__
from tests.support.docker import Docker

ROOT = Path(__file__).parents[2]
# Whoever has an image has what it is built on, too; what else a program may not bring.
TOOLS = re.compile(r"(pip|uv|cc|[cg]\+\+|gcc|clang|tcc|as|ld|strip|make|cargo|rustc|go)(-?[\d.]+)?")
HOME = "/opt/sokken"
UNCHECKED_HASH = 0b01  # in the flags of a .pyc (PEP 552)


def committed(folder):
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return {name for name in names.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="session")
def site(files):
    """The folder of packages."""
    (init,) = [path for path in files if path.endswith("/site-packages/sokken/__init__.py")]
    return PurePosixPath(init).parents[1]


def test_every_file_of_sokken_is_in_it_and_no_other(files, site):
    ours = {path.removeprefix(f"{site}/"): file for path, file in files.items() if path.startswith(f"{site}/sokken/")}
    found = {name: file.digest for name, file in ours.items() if file.is_regular and "__pycache__" not in name}
    assert found == {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in committed("sokken")}


def test_every_module_of_sokken_has_bytecode_of_its_source_that_needs_no_look_at_it(docker, site):
    found = docker.python(
        "import importlib.util, json, pathlib\n"
        f"for path in pathlib.Path('{site}/sokken').rglob('*.py'):\n"
        "    bytecode = pathlib.Path(importlib.util.cache_from_source(path)).read_bytes()\n"
        "    source = importlib.util.source_hash(path.read_bytes())\n"
        "    print(path, int.from_bytes(bytecode[4:8], 'little'), bytecode[8:16] == source)"
    )
    modules = {name for name in committed("sokken") if name.endswith(".py")}
    assert set(found.splitlines()) == {f"{site / name} {UNCHECKED_HASH} True" for name in modules}


def test_whatever_is_imported_comes_from_bytecode(docker):
    """Python's own library, too, and all that sokken imports at any time: nobody can write it later."""
    wanted = set()
    for name in committed("sokken"):
        if name.endswith(".py"):
            wanted.add(name.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
            for node in ast.walk(ast.parse((ROOT / name).read_text())):
                match node:
                    case ast.Import(names=names):
                        wanted |= {alias.name for alias in names}
                    case ast.ImportFrom(module=module):
                        wanted.add(module)
    script = f"import importlib\nfor name in {sorted(wanted - {'sokken.__main__'})}: importlib.import_module(name)"
    done = docker.finish("-v", "-c", script, options=["--entrypoint", "python", "--network", "none"])
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.findall(r"^# code object from '(.*\.pyc)'$", done.stderr, re.MULTILINE)
    assert re.findall(r"^# code object from '?(.*\.py)'?$", done.stderr, re.MULTILINE) == []


@pytest.mark.parametrize("python", ["python", "/usr/local/bin/python3"])
@pytest.mark.parametrize("module", ["pip", "ensurepip"])
def test_nothing_can_be_installed(docker, python, module):
    done = docker.finish("-m", module, "--version", options=["--entrypoint", python])
    assert done.returncode == 1
    assert f"No module named {module}" in done.stderr


def test_there_is_no_compiler_and_no_installer(files):
    programs = {path for path in files if PurePosixPath(path).parent.name in {"bin", "sbin"}}
    assert {path for path in programs if TOOLS.fullmatch(PurePosixPath(path).name)} == set()
    assert {path for path in files if re.search(r"/(pip|setuptools|wheel|uv)-[^/]*(\.whl|-info)$", path)} == set()


def test_what_it_adds_to_its_base_runs_without_a_shell(docker, files):
    programs = {path for path, file in files.items() if path.startswith(f"{HOME}/bin/") and file.is_regular}
    assert programs == {f"{HOME}/bin/sokken"}
    first = docker.python(f"print(open('{HOME}/bin/sokken').readline())")
    assert first.strip() == f"#!{HOME}/bin/python"


def test_nobody_can_become_somebody_else(files):
    special = stat.S_ISUID | stat.S_ISGID
    assert {path for path, file in files.items() if file.is_regular and file.mode & special} == set()


def test_no_file_belongs_to_the_user_or_is_writable_by_everybody(files):
    assert {path for path, file in files.items() if 65532 in file.owner} == set()
    # Of a link the mode means nothing, and to a device it gives no more than the engine lets it.
    content = {path: file for path, file in files.items() if file.is_regular or file.is_folder}
    writable = {path for path, file in content.items() if file.mode & stat.S_IWOTH}
    assert writable <= {"/tmp", "/var/tmp", "/run/lock"}
    assert all(files[path].mode & stat.S_ISVTX for path in writable)


def test_the_user_can_write_nowhere(docker):
    script = (
        "import os\n"
        "for folder, folders, names in os.walk('/'):\n"
        "    if folder == '/': folders[:] = set(folders) - {'proc', 'sys', 'dev'}\n"
        "    paths = [os.path.join(folder, name) for name in ['', *names]]\n"
        "    print(*[path for path in paths if os.access(path, os.W_OK)], end='')"
    )
    assert docker.python(script) == ""


@pytest.fixture(scope="module")
def packages(files, site, image):
    """What each package says of itself, by the folder where it stands."""
    paths = [path for path in sorted(files) if re.fullmatch(rf"{site}/[^/]+\.dist-info/METADATA", path)]
    engine = Docker(image)
    texts = engine.python(f"import json; print(json.dumps([open(path).read() for path in {paths}]))")
    heads = map(HeaderParser().parsestr, json.loads(texts))
    return {str(PurePosixPath(path).parent): head for path, head in zip(paths, heads, strict=True)}


def test_the_packages_are_those_that_are_locked(packages):
    lock = (ROOT / "requirements/runtime.txt").read_text()
    locked = {f"{name}=={version}" for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE)}
    found = {f"{canonical(head['Name'])}=={head['Version']}" for head in packages.values()}
    assert found - {f"sokken=={__version__}"} <= locked
    assert {"aiohttp", "sokken", "uvloop"} <= {name.partition("==")[0] for name in found}


def canonical(name):
    """The one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_package_brings_its_licence(packages, files):
    for folder, head in packages.items():
        for name in head.get_all("License-File", []):
            assert {f"{folder}/licenses/{name}", f"{folder}/{name}"} & files.keys(), f"{folder}: {name}"
