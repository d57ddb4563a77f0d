"""An NFSv3 server for nfs.py and vpn.py: nfs-ganesha on a folder of the bench, apart from the machine's own NFS.

Needs root: the VFS back end opens files by handle.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import free_port
from bench.workloads import namespaces
from bench.workloads.namespaces import Namespace
from bench.workloads.site import Site, WorkloadError, find, wait_until_listening

PROGRAMS = (*namespaces.PROGRAMS, "ganesha.nfsd")
BACK_END = "/usr/lib/*/ganesha/libfsalvfs.so"
_CONFIGURATION = """\
NFS_CORE_PARAM {{
    Protocols = 3;
    Bind_addr = {host};
    NFS_Port = {nfs};
    MNT_Port = {mount};
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Enable_UDP = false;
}}
EXPORT {{
    Export_Id = 1;
    Path = {path};
    Pseudo = /bench;
    Protocols = 3;
    Transports = TCP;
    Access_Type = RW;
    Squash = No_Root_Squash;
    SecType = sys;
    FSAL {{ Name = VFS; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Export:
    """``folder`` is what is served; the ports are of NFS and of its mount protocol."""

    folder: Path
    ports: tuple[int, int]


@contextmanager
def ganesha(site: Site, namespace: Namespace, kinds: Sequence[str], host: str) -> Iterator[Export]:
    """Serve a folder at this address, in the namespaces of these kinds."""
    if not list(Path("/").glob(BACK_END.lstrip("/"))):
        raise WorkloadError("nfs-ganesha's VFS back end is not installed; `make bench-programs` installs it")
    export = Export(site.folder / "export", (free_port(), free_port()))
    export.folder.mkdir()
    nfs, mount = export.ports
    configuration = site.folder / "ganesha.conf"
    configuration.write_text(_CONFIGURATION.format(host=host, nfs=nfs, mount=mount, path=export.folder))
    server = (find("ganesha.nfsd"), "-F", "-f", configuration, "-L", "STDOUT", "-p", site.folder / "ganesha.pid")
    with site.serve("ganesha", *namespace.enter(*kinds), *server, port=nfs) as child:
        wait_until_listening(child, mount)
        yield export
