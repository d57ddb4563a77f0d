"""A PostgreSQL cluster of our own. It refuses to run as root, and then runs as Debian's user for it."""

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.services import free_port, installed, service, succeed

_BINARIES = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)  # Debian keeps them off PATH
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "shared_buffers": "32MB",
    "client_connection_check_interval": "100ms",  # so that a query ends when its client has gone
}
SUPERUSER = "postgres"


@contextmanager
def postgresql() -> Iterator[tuple[str, int]]:
    """On a free loopback port, trusting everybody there, with an empty database ``postgres``."""
    initdb, postgres = installed("initdb", _BINARIES), installed("postgres", _BINARIES)
    folder = Path(tempfile.mkdtemp(prefix="sokken-postgresql-"))  # not below pytest's: others may not look in there
    user: dict[str, object] = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam(SUPERUSER)
        os.chown(folder, account.pw_uid, account.pw_gid)
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    cluster, where = folder / "cluster", ("127.0.0.1", free_port())
    options = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--username", SUPERUSER)
    settings = {**_SETTINGS, "port": where[1], "unix_socket_directories": folder}
    flags = [f"--{name}={value}" for name, value in settings.items()]
    try:
        succeed(initdb, *options, "--pgdata", cluster, cwd=folder, **user)
        log = folder / "log"
        with service(postgres, "-D", cluster, *flags, where=where, log=log, ending=signal.SIGINT, cwd=folder, **user):
            yield where
    finally:
        shutil.rmtree(folder)
