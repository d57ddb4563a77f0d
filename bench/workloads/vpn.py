"""NFSv3 over OpenVPN in TCP mode, between two network namespaces: what a tunnel adds below a VPN.

Each stack has an OpenVPN of its own, one process at each end, so that one which fails takes no other with it; the
direct one connects over the cable that the tunnels cross.
"""

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import Child, free_port
from bench.stacks import Stack
from bench.workloads import ganesha, namespaces, nfs
from bench.workloads.ganesha import Export
from bench.workloads.namespaces import Namespace
from bench.workloads.site import Site, WorkloadError, find, wait_until, wait_until_listening
from bench.workloads.tunnels import Ends, tunnel
from bench.workloads.work import Entered, Entry, Opened, Workload

FAR, NEAR = "10.98.0.1", "10.98.0.2"  # the ends of the cable
TUN = Path("/dev/net/tun")


@contextmanager
def _open(site: Site) -> Iterator[Opened]:
    if not TUN.exists():
        raise WorkloadError(f"{TUN} is not here, and OpenVPN needs it")
    with ExitStack() as exits:
        far = exits.enter_context(namespaces.with_rpcbind(site))
        near = exits.enter_context(namespaces.empty(site))
        namespaces.connect(site, far, near, FAR, NEAR)
        export = exits.enter_context(ganesha.ganesha(site, far, ["net", "mount"], "0.0.0.0"))  # noqa: S104 -- inside
        vpn = Vpn(site, far, near, export, {name: _make_certificate(site, name) for name in ("far", "near")})
        yield Opened(nfs.measures(site, export), vpn.enter)


def _make_certificate(site: Site, name: str) -> str:
    """A key and a certificate that signs itself; its fingerprint, by which the other end knows it."""
    openssl, certificate = find("openssl"), f"{name}.crt"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-keyout", f"{name}.key")
    site.run(openssl, "req", "-x509", *key, "-days", 2, "-subj", f"/CN={name}", "-out", certificate)
    shown = site.run(openssl, "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256")
    return shown.strip().rpartition("=")[2]


@dataclass(frozen=True, slots=True)
class Vpn:
    """The two namespaces, and what leads from one to the other."""

    site: Site
    far: Namespace
    near: Namespace
    export: Export
    fingerprints: dict[str, str]
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @contextmanager
    def enter(self, stack: Stack) -> Iterator[Entered]:
        """Run a stack over the cable, and OpenVPN through it."""
        number, port = next(self._numbers), free_port()
        far, near = f"10.97.{number}.1", f"10.97.{number}.2"
        prefix = self.near.enter("net")
        ends = Ends(self.far.enter("net"), prefix, FAR)
        server = self._openvpn(number, "far", "--proto", "tcp-server", "--port", port, "--ifconfig", far, near)
        with server as listening:
            wait_until_listening(listening, port)
            with tunnel(self.site, stack, port, ends) as below:
                to = ("--remote", below.entry.host, below.entry.port, "--nobind", "--ifconfig", near, far)
                with self._openvpn(number, "near", "--proto", "tcp-client", *to) as client:
                    wait_until(lambda: _is_up(client), f"OpenVPN over {stack.name}")
                    yield Entered(Entry(far, self.export.ports, prefix), below.children)

    @contextmanager
    def _openvpn(self, number: int, end: str, *options: object) -> Iterator[Child]:
        namespace, peer, side = (
            (self.far, "near", ("--tls-server", "--dh", "none"))
            if end == "far"
            else (self.near, "far", ("--tls-client",))
        )
        keys = ("--cert", self.site.folder / f"{end}.crt", "--key", self.site.folder / f"{end}.key")
        trust = ("--peer-fingerprint", self.fingerprints[peer], "--cipher", "AES-256-GCM")
        # As openvpn(8) advises for VPNs over TCP: without, Nagle's algorithm holds back every short packet.
        command = (find("openvpn"), "--dev", f"tun{number}", "--disable-dco", "--socket-flags", "TCP_NODELAY")
        with self.site.serve(
            f"openvpn-{end}-{number}", *namespace.enter("net"), *command, *options, *side, *keys, *trust
        ) as child:
            yield child


def _is_up(child: Child) -> bool:
    child.check()
    return "Initialization Sequence Completed" in child.log.read_text(errors="replace")


WORKLOAD = Workload(
    "NFSv3 over OpenVPN", (*nfs.PROGRAMS, "openvpn", "openssl"), _open, seconds=600, root_for="network namespaces"
)
