"""An sshd for scp.py and clone.py: run by whoever runs the bench, on a loopback port, with keys of its own."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import LOOPBACK, free_port
from bench.workloads.site import Site, find

PROGRAMS = ("sshd", "ssh", "ssh-keygen")
_CONFIGURATION = """\
ListenAddress {host}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
PidFile none
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True, slots=True)
class Sshd:
    """``options`` make ssh and scp trust this server alone, and read no configuration of the machine."""

    port: int
    user: str
    options: tuple[str, ...]


@contextmanager
def sshd(site: Site) -> Iterator[Sshd]:
    """Have one."""
    for key in ("host_key", "key"):
        site.run(find("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", key)
    port, configuration = free_port(), site.folder / "sshd.conf"
    configuration.write_text(_CONFIGURATION.format(host=LOOPBACK, port=port, folder=site.folder))
    (site.folder / "known_hosts").write_text("bench " + (site.folder / "host_key.pub").read_text())
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it leaves its privileges
    with site.serve("sshd", find("sshd"), "-D", "-e", "-f", configuration, port=port):
        yield Sshd(port, pwd.getpwuid(os.geteuid()).pw_name, _client_options(site.folder))


def _client_options(folder: Path) -> tuple[str, ...]:
    options = {
        "IdentityFile": folder / "key",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": folder / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": "bench",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "20",
    }
    return ("-F", "none", *(part for name, value in options.items() for part in ("-o", f"{name}={value}")))
