"""HTTP/1.1 requests for a small file on connections that stay open: wrk asks, nginx answers."""

import http.client
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from bench.processes import LOOPBACK, free_port
from bench.workloads.site import Site, WorkloadError, find
from bench.workloads.tunnels import through
from bench.workloads.work import Entry, Measure, Opened, Sample, Workload

CONNECTIONS = (1, 16)
PAGE_BYTES = 1 << 10
_CONFIGURATION = """\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path .; proxy_temp_path .; fastcgi_temp_path .; uwsgi_temp_path .; scgi_temp_path .;
    open_file_cache max=10;
    server {{
        listen {host}:{port};
        root pages;
    }}
}}
"""
_REPORT = """\
done = function(summary)
    local errors = summary.errors
    local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
    io.write(string.format('\\n{"requests": %d, "us": %d, "failed": %d}', summary.requests, summary.duration, failed))
end
"""


@contextmanager
def _open(site: Site) -> Iterator[Opened]:
    pages, port = site.folder / "pages", free_port()
    pages.mkdir()
    page = site.random_file("pages/page", PAGE_BYTES).path.read_bytes()
    (site.folder / "nginx.conf").write_text(_CONFIGURATION.format(host=LOOPBACK, port=port))
    report = site.folder / "report.lua"
    report.write_text(_REPORT)

    def ask(entry: Entry, *, connections: int) -> Sample:
        _expect_page(entry, page)
        return _wrk(site, entry, report, connections)

    with site.serve("nginx", find("nginx"), "-p", site.folder, "-c", "nginx.conf", "-e", "stderr", port=port):
        counts = ((count, "1 connection" if count == 1 else f"{count} connections") for count in CONNECTIONS)
        measures = [Measure(name, "requests", partial(ask, connections=count)) for count, name in counts]
        yield Opened(measures, through(site, port))


def _expect_page(entry: Entry, page: bytes) -> None:
    try:
        with closing(http.client.HTTPConnection(entry.host, entry.port, timeout=10)) as connection:
            connection.request("GET", "/page")
            arrived = connection.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        raise WorkloadError(f"no page: {error}") from None
    if arrived != page:
        raise WorkloadError("what arrived is not the page")


def _wrk(site: Site, entry: Entry, report: Path, connections: int) -> Sample:
    output = site.run(
        *(find("wrk"), "--threads", 1, "--connections", connections, "--duration", f"{site.scale.seconds}s"),
        *("--timeout", "5s", "--script", report, f"http://{entry.host}:{entry.port}/page"),
        seconds=site.scale.seconds + 20,
    )
    facts = json.loads(output.splitlines()[-1])
    if facts["failed"] or not facts["requests"]:
        raise WorkloadError(f"{facts['failed']} requests failed, {facts['requests']} were answered")
    return Sample(facts["requests"], facts["us"] / 1e6)


WORKLOAD = Workload("HTTP keep-alive", ("nginx", "wrk"), _open, seconds=240)
