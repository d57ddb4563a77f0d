"""`git clone` over ssh of a repository with thousands of small files: short questions, then one big answer."""

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.workloads import sshd
from bench.workloads.site import MIB, Scale, Site, WorkloadError, find
from bench.workloads.tunnels import through
from bench.workloads.work import Entry, Measure, Opened, Sample, Workload

CLONE_SECONDS = 90.0
_ISOLATED = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}


@contextmanager
def _open(site: Site) -> Iterator[Opened]:
    git, copy = find("git"), site.folder / "copy"
    repository = _make_repository(site, git)
    tree = site.run(git, "-C", repository, "rev-parse", "main^{tree}", env=_ISOLATED)
    size = site.scale.repository_files * site.scale.repository_file_bytes / MIB
    with sshd.sshd(site) as far:

        def clone(entry: Entry) -> Sample:
            shutil.rmtree(copy, ignore_errors=True)
            env = {**_ISOLATED, "GIT_SSH_COMMAND": shlex.join([find("ssh"), *far.options])}
            url = f"ssh://{far.user}@{entry.host}:{entry.port}{repository}"
            seconds = site.timed(git, "clone", "--quiet", url, copy, seconds=CLONE_SECONDS, env=env)
            # git compares every object with its hash on arrival; this compares what was checked out.
            site.run(git, "-C", copy, "add", "--renormalize", ".", env=_ISOLATED)
            if site.run(git, "-C", copy, "write-tree", env=_ISOLATED) != tree:
                raise WorkloadError("the clone is not what was cloned")
            return Sample(size, seconds)

        name = f"{site.scale.repository_files} files, {size:.0f} MiB"
        yield Opened([Measure(name, "MiB", clone)], through(site, far.port))


def _make_repository(site: Site, git: str) -> Path:
    repository, history = site.folder / "repository.git", site.folder / "history"
    site.run(git, "init", "--quiet", "--bare", "--initial-branch=main", repository, env=_ISOLATED)
    _write_history(history, site.scale)
    site.run(git, "-C", repository, "fast-import", "--quiet", env=_ISOLATED, stdin=history)
    history.unlink()
    return repository


def _write_history(path: Path, scale: Scale) -> None:
    """One commit of random files, a hundred to a folder, as git-fast-import(1) reads it."""
    with path.open("wb") as file:
        file.write(b"commit refs/heads/main\ncommitter bench <bench> 0 +0000\ndata 0\n")
        for number in range(scale.repository_files):
            file.write(b"M 100644 inline %d/%d\n" % (number // 100, number))
            file.write(b"data %d\n%b\n" % (scale.repository_file_bytes, os.urandom(scale.repository_file_bytes)))


WORKLOAD = Workload("git clone", (*sshd.PROGRAMS, "git"), _open, seconds=300)
