"""pgbench against a private PostgreSQL: many small exchanges (select-only) and whole transactions (TPC-B).

The server writes without waiting for a disk, which is not what is measured.
"""

import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from bench.processes import LOOPBACK, free_port
from bench.workloads.site import Site, WorkloadError, find
from bench.workloads.tunnels import through
from bench.workloads.work import Entry, Measure, Opened, Sample, Workload

CLIENTS = (1, 16)
ACCOUNT = "postgres"  # PostgreSQL refuses to be run by root; Debian's package makes this one
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
_BALANCE = """\
select (select sum(abalance) from pgbench_accounts) = sum(delta)
   and (select sum(tbalance) from pgbench_tellers) = sum(delta)
   and (select sum(bbalance) from pgbench_branches) = sum(delta) and count(*) = {count} from pgbench_history"""
_CLEAR = "update pgbench_{table}s set {column}balance = 0 where {column}balance <> 0"


@contextmanager
def _open(site: Site) -> Iterator[Opened]:
    port, as_account = free_port(), _as_account(site)
    cluster = site.folder / "cluster" / "files"
    site.run(*as_account, find("initdb"), "-D", cluster, "-U", "bench", "-A", "trust", "-N", "--no-instructions")
    settings = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
    command = (*as_account, find("postgres"), "-D", cluster, "-p", port, *settings)
    with site.serve("postgres", *command, port=port, ending=signal.SIGINT):
        direct = Entry(LOOPBACK, (port,))
        _pgbench(site, direct, "--initialize", "--quiet", "--scale", site.scale.pgbench_scale)
        measures = [
            Measure(
                f"{name}, {clients} client{'s' * (clients > 1)}", "transactions", partial(take, site, direct, clients)
            )
            for name, take in (("select-only", _select_only), ("TPC-B", _tpc_b))
            for clients in CLIENTS
        ]
        yield Opened(measures, through(site, port))


def _as_account(site: Site) -> tuple[str, ...]:
    """The prefix of PostgreSQL's own programs, and a folder that they may write."""
    folder = site.folder / "cluster"
    folder.mkdir()
    if os.geteuid() != 0:
        return ()
    shutil.chown(folder, ACCOUNT)
    # Changing the user clears the signal that a child gets when the harness is gone: ask for it again. SIGQUIT is
    # PostgreSQL's immediate shutdown, which still frees its shared memory.
    return (find("setpriv"), f"--reuid={ACCOUNT}", f"--regid={ACCOUNT}", "--clear-groups", "--pdeathsig=QUIT")


def _select_only(site: Site, _: Entry, clients: int, entry: Entry) -> Sample:
    return _run(site, entry, clients, "--no-vacuum", "--select-only")


def _tpc_b(site: Site, direct: Entry, clients: int, entry: Entry) -> Sample:
    """Every transaction that pgbench counts must be there, and the four tables must agree."""
    for table in ("account", "teller", "branche"):
        _query(site, direct, _CLEAR.format(table=table, column=table[0]))
    sample = _run(site, entry, clients)  # empties the history itself
    if _query(site, direct, _BALANCE.format(count=int(sample.work))) != "t":
        raise WorkloadError("the transactions counted are not those in the tables")
    return sample


def _run(site: Site, entry: Entry, clients: int, *options: str) -> Sample:
    seconds = site.scale.seconds
    output = _pgbench(site, entry, "--client", clients, "--jobs", 1, "--time", seconds, *options, seconds=seconds + 20)
    rate = re.search(r"^tps = ([\d.]+)", output, re.MULTILINE)
    count = re.search(r"^number of transactions actually processed: (\d+)", output, re.MULTILINE)
    failed = re.search(r"^number of failed transactions: (\d+)", output, re.MULTILINE)
    if not rate or not count or float(rate[1]) == 0 or (failed and failed[1] != "0"):
        raise WorkloadError("pgbench has failed transactions, or none")
    return Sample(int(count[1]), int(count[1]) / float(rate[1]))


def _pgbench(site: Site, entry: Entry, *options: object, seconds: float = 60.0) -> str:
    where = ("--host", entry.host, "--port", entry.port, "--username", "bench")
    return site.run(find("pgbench"), *where, *options, "postgres", seconds=seconds, env={"PGSSLMODE": "disable"})


def _query(site: Site, entry: Entry, statement: str) -> str:
    where = ("--host", entry.host, "--port", entry.port, "--username", "bench")
    return site.run(find("psql"), "-XqtA", *where, "-c", statement, "postgres").strip()


WORKLOAD = Workload("pgbench", ("postgres", "initdb", "pgbench", "psql", "setpriv"), _open, seconds=480)
