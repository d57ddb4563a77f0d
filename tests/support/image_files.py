"""What is in a container image: its files as a container sees them, and its layers as they are pushed."""

import hashlib
import json
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from tests.support.services import succeed


@dataclass(frozen=True, slots=True)
class File:
    """All that two images must agree on."""

    kind: bytes
    mode: int
    owner: tuple[int, int]
    link: str
    digest: str

    @property
    def is_regular(self) -> bool:
        return self.kind == tarfile.REGTYPE

    @property
    def is_folder(self) -> bool:
        return self.kind == tarfile.DIRTYPE


def read_files(image: str) -> dict[str, File]:
    """Every path in a new container of the image."""
    container = succeed("docker", "create", "--label", "sokken.test=files", image).strip()
    try:
        with (
            subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export,
            tarfile.open(fileobj=export.stdout, mode="r|", bufsize=1 << 20) as archive,
        ):
            return {_path(member): _file(archive, member) for member in archive}
    finally:
        succeed("docker", "rm", "--force", container)


def _path(member: tarfile.TarInfo) -> str:
    return "/" + member.name.removeprefix("./").strip("/")


def _file(archive: tarfile.TarFile, member: tarfile.TarInfo) -> File:
    content = archive.extractfile(member) if member.isreg() else None
    digest = hashlib.file_digest(content, "sha256").hexdigest() if content else ""  # type: ignore[arg-type]
    return File(member.type, member.mode, (member.uid, member.gid), member.linkname, digest)


@dataclass(frozen=True, slots=True)
class Layers:
    """Bytes in the layers above the base: in their files, and as a registry keeps them."""

    unpacked: int
    compressed: int


def measure_layers(image: str, base: str) -> Layers:
    """Measure what an image adds to its base; the image must stand on it."""
    below = json.loads(succeed("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", base))
    mine = json.loads(succeed("docker", "image", "inspect", "--format", "{{json .RootFS.Layers}}", image))
    assert mine[: len(below)] == below, f"{image} does not stand on {base} as it is here"
    with tempfile.TemporaryFile() as saved:
        subprocess.run(["docker", "save", image], check=True, stdout=saved)
        saved.seek(0)
        with tarfile.open(fileobj=saved) as archive:
            names = json.load(_open(archive, "manifest.json"))[0]["Layers"][len(below) :]
            sizes = [_measure(archive, name) for name in names]
    return Layers(sum(unpacked for unpacked, _ in sizes), sum(compressed for _, compressed in sizes))


def _measure(archive: tarfile.TarFile, name: str) -> tuple[int, int]:
    with tarfile.open(fileobj=_open(archive, name), mode="r:*") as layer:
        unpacked = sum(member.size for member in layer)
    return unpacked, sum(map(len, _compressed(_open(archive, name))))


def _compressed(layer: IO[bytes]) -> Iterator[bytes]:
    """As gzip does it by default, unless the engine has it so already."""
    if layer.peek(2)[:2] == b"\x1f\x8b":  # type: ignore[attr-defined]
        yield from iter(lambda: layer.read(1 << 20), b"")
        return
    pack = zlib.compressobj(6, wbits=31)
    for part in iter(lambda: layer.read(1 << 20), b""):
        yield pack.compress(part)
    yield pack.flush()


def _open(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    assert file
    return file
