"""NFSv3: a big file and thousands of small ones, written and read by libnfs; nfs-ganesha serves them.

The figures of vpn.py are these, too.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.processes import LOOPBACK
from bench.workloads import ganesha, libnfs_files, namespaces
from bench.workloads.ganesha import Export
from bench.workloads.site import MIB, RandomFile, Site, WorkloadError, find
from bench.workloads.tunnels import through
from bench.workloads.work import Entry, Measure, Opened, Sample, Workload

PROGRAMS = (*ganesha.PROGRAMS, "nfs-cp")
COPY_SECONDS = 120.0
_SCRIPT = libnfs_files.__file__


@contextmanager
def _open(site: Site) -> Iterator[Opened]:
    # Only /run is ganesha's own here: it listens on the machine's loopback interface.
    with namespaces.with_rpcbind(site) as beside, ganesha.ganesha(site, beside, ["mount"], LOOPBACK) as export:
        yield Opened(measures(site, export), through(site, *export.ports))


def measures(site: Site, export: Export) -> Sequence[Measure]:
    """What is done with the export, through whatever leads to it."""
    share = Share(site, export, site.random_file("source", site.scale.big_bytes))
    share.fill()
    size = f"{site.scale.big_bytes // MIB} MiB"
    files = f"{site.scale.small_files} files of {site.scale.small_bytes >> 10} KiB"
    return [
        Measure(f"write {size}", "MiB", share.write),
        Measure(f"read {size}", "MiB", share.read),
        Measure(f"write {files}", "files", share.write_small),
        Measure(f"read {files}", "files", share.read_small),
    ]


@dataclass(frozen=True, slots=True)
class Share:
    """The export, from both sides. The server caches: what it knows of is removed through it only."""

    site: Site
    export: Export
    source: RandomFile

    def fill(self) -> None:
        """Make what is read."""
        (self.export.folder / "served").hardlink_to(self.source.path)
        for number, expected in self._small_contents():
            (self.export.folder / f"served-{number}").write_bytes(expected)

    def write(self, entry: Entry) -> Sample:
        """Write the big file."""
        arrived = self.export.folder / "written"
        self._run_script(entry, "remove", "written")  # nfs-cp overwrites nothing
        seconds = self._copy(entry, self.source.path, self._url(entry, "written"))
        self.source.expect_in(arrived)
        return Sample(self.source.size / MIB, seconds)

    def read(self, entry: Entry) -> Sample:
        """Read the big file."""
        copy = self.site.folder / "copy"
        copy.unlink(missing_ok=True)
        seconds = self._copy(entry, self._url(entry, "served"), copy)
        self.source.expect_in(copy)
        copy.unlink()
        return Sample(self.source.size / MIB, seconds)

    def write_small(self, entry: Entry) -> Sample:
        """Write the small files."""
        sample = self._run_small(entry, "write")
        for number, expected in self._small_contents():
            if (self.export.folder / f"written-{number}").read_bytes() != expected:
                raise WorkloadError("what was written is not what is served")
        return sample

    def read_small(self, entry: Entry) -> Sample:
        """Read the small files, which compares them."""
        return self._run_small(entry, "read")

    def _copy(self, entry: Entry, *ways: object) -> float:
        return self.site.timed(*entry.prefix, find("nfs-cp"), *ways, seconds=COPY_SECONDS)

    def _url(self, entry: Entry, file: str = "") -> str:
        nfs, mount = entry.ports
        return f"nfs://{entry.host}{self.export.folder}/{file}?version=3&nfsport={nfs}&mountport={mount}"

    def _small_contents(self) -> Iterator[tuple[int, bytes]]:
        scale = self.site.scale
        return ((number, libnfs_files.content(number, scale.small_bytes)) for number in range(scale.small_files))

    def _run_small(self, entry: Entry, what: str) -> Sample:
        count = self.site.scale.small_files
        return Sample(count, float(self._run_script(entry, what, count, self.site.scale.small_bytes)))

    def _run_script(self, entry: Entry, what: str, *arguments: object) -> str:
        return self.site.run(*entry.prefix, sys.executable, _SCRIPT, what, self._url(entry), *arguments)


WORKLOAD = Workload("NFSv3", PROGRAMS, _open, seconds=420, root_for="nfs-ganesha's VFS back end")
