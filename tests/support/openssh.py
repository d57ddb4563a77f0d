"""An sshd of our own, run as whoever runs the tests, and how to be its client."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.services import free_port, installed, service, succeed

_CONFIG = """
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


@dataclass(frozen=True)
class Sshd:
    """``options`` make ssh and scp trust this server alone, and no configuration of the machine."""

    where: tuple[str, int]
    options: tuple[str, ...]
    user: str
    log: Path


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """On a free loopback port, until the end; its keys are in ``folder``."""
    for key in ("host_key", "key"):
        succeed(installed("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", folder / key)
    where = ("127.0.0.1", free_port())
    config = folder / "sshd.conf"
    config.write_text(_CONFIG.format(host=where[0], port=where[1], folder=folder))
    known = folder / "known_hosts"
    known.write_text("tunnelled " + (folder / "host_key.pub").read_text())
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it leaves its privileges
    options = {
        "IdentityFile": folder / "key",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known,
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": "tunnelled",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "20",
    }
    flags = ["-F", "none", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
    log = folder / "sshd.log"
    with service(installed("sshd"), "-D", "-e", "-f", config, where=where, log=log):
        yield Sshd(where, tuple(flags), getpass.getuser(), log)
