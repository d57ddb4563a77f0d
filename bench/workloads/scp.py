"""`scp` of a big file, up and down: one stream of bytes, with OpenSSH's own work at both ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.workloads import sshd
from bench.workloads.site import MIB, Site, find
from bench.workloads.tunnels import through
from bench.workloads.work import Entry, Measure, Opened, Sample, Workload

COPY_SECONDS = 120.0


@contextmanager
def _open(site: Site) -> Iterator[Opened]:
    source = site.random_file("source", site.scale.big_bytes)
    copy = site.folder / "copy"
    with sshd.sshd(site) as far:

        def scp(entry: Entry, *, up: bool) -> Sample:
            copy.unlink(missing_ok=True)
            there = f"{far.user}@{entry.host}:"
            ways = (source.path, f"{there}{copy}") if up else (f"{there}{source.path}", copy)
            seconds = site.timed(find("scp"), "-q", "-P", entry.port, *far.options, *ways, seconds=COPY_SECONDS)
            source.expect_in(copy)
            return Sample(source.size / MIB, seconds)

        size = f"{source.size // MIB} MiB"
        measures = [
            Measure(f"{size} up", "MiB", lambda entry: scp(entry, up=True)),
            Measure(f"{size} down", "MiB", lambda entry: scp(entry, up=False)),
        ]
        yield Opened(measures, through(site, far.port))


WORKLOAD = Workload("scp", (*sshd.PROGRAMS, "scp"), _open, seconds=420)
