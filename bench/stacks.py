"""What is measured, as data: each stack is a few programs, the ports between them, and the port where it is entered.

Read by run.py. In arguments and files `{name}` stands for a free port (`{target}`: the stack's own port at the load
generator) and `{dir}` for the stack's own directory. Nothing here starts a process.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sokken.settings import ServerSettings

LINE_DELAY_MS = 20
# What Linux lets a TCP window grow to by default (net.ipv4.tcp_rmem).
LINE_WINDOW_BYTES = 6 << 20
MANY_CLIENTS = 4

DIRECT, SOCAT, HAPROXY = "direct", "socat x2", "HAProxy x2"
ASYNCIO, UVLOOP, TRACED = "sokken asyncio", "sokken uvloop", "sokken traced"
ORIGINAL, CHISEL, WSTUNNEL, WEBSOCAT, WEBSOCKIFY = "original in Go", "chisel", "wstunnel", "websocat", "websockify"
OURS = (UVLOOP, ASYNCIO)  # the first that is present is the one that targets judge: uvloop is the default if installed
MUST_PASS = (DIRECT, SOCAT, HAPROXY, *OURS)  # without these no figure means anything

VERY_FEW_IDLE = (10, 30, 50)  # for what has a whole interpreter for each
FEW_IDLE = (100, 300, 500)  # for what has a process for each, or is slow to accept
MANY_IDLE = (100, 1100, 2100)


class MissingReferenceError(Exception):
    """A program that the targets are ratios to is not installed."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process of a stack. It is up when something listens on ``port``."""

    role: str  # server, client, line
    argv: tuple[str, ...]
    port: str
    env: Mapping[str, str] = field(default_factory=dict)
    forks: bool = False  # has a process for each connection: those count, too


@dataclass(frozen=True, slots=True)
class Stack:
    """Programs in the order in which they start, and how they are loaded."""

    name: str
    programs: tuple[Program, ...] = ()
    entries: tuple[str, ...] = ("entry",)
    files: Mapping[str, str] = field(default_factory=dict)
    secure: bool = False  # wants a certificate in its directory
    pace: float = 1.0  # share of the bytes that fast stacks move: a slow one is measured as long, not as much
    idle: tuple[int, ...] = MANY_IDLE
    version: tuple[str, ...] = ()  # prints it


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that can be measured here, and why the rest cannot."""

    plain: tuple[Stack, ...]
    traced: tuple[Stack, ...]  # ours without and with traces
    secure: tuple[Stack, ...]  # TLS between client and server
    line: tuple[Stack, ...]  # the delay line between client and server
    many: Stack | None
    absent: Mapping[str, str]


def _find(program: str) -> str | None:
    """Where a program is; Debian keeps some of them off a user's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


# --- references -----------------------------------------------------------------------------------------------------


def _haproxy_configuration(listen: str, to: str, accept: str = "", dial: str = "") -> str:
    return f"""\
global
    nbthread 1
    maxconn 9000
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen relay
    bind 127.0.0.1:{{{listen}}} {accept}
    server next 127.0.0.1:{{{to}}} {dial}
"""


def _haproxy(*, secure: bool = False) -> Stack:
    accept, dial = ("ssl crt {dir}/both.pem", "ssl verify required ca-file {dir}/cert.pem") if secure else ("", "")
    program = _find("haproxy") or "haproxy"
    return Stack(
        HAPROXY,
        programs=(
            Program("server", (program, "-db", "-f", "{dir}/server.cfg"), "server"),
            Program("client", (program, "-db", "-f", "{dir}/client.cfg"), "entry"),
        ),
        files={
            "server.cfg": _haproxy_configuration("server", "target", accept=accept),
            "client.cfg": _haproxy_configuration("entry", "server", dial=dial),
        },
        secure=secure,
        version=(program, "-v"),
    )


def _socat() -> Stack:
    def hop(role: str, listen: str, to: str) -> Program:
        # As fast as socat gets: 128 KiB at a time rather than 8. After one end, the other direction may go on.
        return Program(
            role,
            (
                *("socat", "-b", "131072", "-t", "60"),
                f"TCP4-LISTEN:{{{listen}}},bind=127.0.0.1,reuseaddr,fork,backlog=4096,nodelay",
                f"TCP4:127.0.0.1:{{{to}}},nodelay",
            ),
            listen,
            forks=True,
        )

    return Stack(
        SOCAT,
        programs=(hop("server", "server", "target"), hop("client", "entry", "server")),
        idle=FEW_IDLE,
        version=("socat", "-V"),
    )


# --- sokken ---------------------------------------------------------------------------------------------------------

_SOKKEN = (sys.executable, "-m", "sokken")
_LIMIT = ("-max-connections", "100000")


def _sokken_server(loop: str, *options: str) -> Program:
    argv = (*_SOKKEN, "server", "-event-loop", loop, *_LIMIT, *options, "127.0.0.1:{server}", "127.0.0.1:{target}")
    return Program("server", argv, "server")


def _sokken_client(loop: str, *options: str, scheme: str = "ws", entry: str = "entry", to: str = "server") -> Program:
    url = f"{scheme}://127.0.0.1:{{{to}}}/tunnel/127.0.0.1:{{target}}"
    forward = (f"127.0.0.1:{{{entry}}}", url)
    argv = (*_SOKKEN, "client", "-event-loop", loop, *_LIMIT, *options, f"127.0.0.1:{{{entry}-api}}", *forward)
    return Program("client", argv, entry)


def _sokken(name: str, loop: str) -> Stack:
    return Stack(name, (_sokken_server(loop), _sokken_client(loop)))


def _sokken_traced(loop: str) -> Stack:
    """Every connection traced, at both ends, into a collector."""
    collector = Program("collector", (sys.executable, "-m", "bench.collector", "{collector}"), "collector")
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:{collector}", "SOKKEN_TRACE_TRUST_PARENT": "always"}
    programs = (replace(program, env=env) for program in (_sokken_server(loop), _sokken_client(loop)))
    return Stack(TRACED, (collector, *programs))


def _sokken_secure(name: str, loop: str) -> Stack:
    server = _sokken_server(loop, "-tls-cert-file", "{dir}/cert.pem", "-tls-key-file", "{dir}/key.pem")
    return Stack(name, (server, _sokken_client(loop, "-ca-file", "{dir}/cert.pem", scheme="wss")), secure=True)


def _sokken_many(name: str, loop: str) -> Stack:
    """One server, and so many clients that it is the server's number of connections that is tried."""
    entries = tuple(f"entry-{number}" for number in range(MANY_CLIENTS))
    clients = (_sokken_client(loop, entry=entry) for entry in entries)
    return Stack(name, (_sokken_server(loop), *clients), entries)


def _serves_tls() -> bool:
    return {"tls_cert_file", "tls_key_file"} <= set(ServerSettings.model_fields)


# --- peers ----------------------------------------------------------------------------------------------------------


def _original(program: str) -> Stack:
    server = (program, *_LIMIT, "server", "127.0.0.1:{server}", "127.0.0.1:{target}")
    url = "ws://127.0.0.1:{server}/tunnel/127.0.0.1:{target}"
    client = (program, *_LIMIT, "client", "127.0.0.1:{entry-api}", "127.0.0.1:{entry}", url)
    return Stack(ORIGINAL, (Program("server", server, "server"), Program("client", client, "entry")), pace=0.125)


def _chisel(program: str) -> Stack:
    server = (program, "server", "--host", "127.0.0.1", "--port", "{server}")
    client = (program, "client", "http://127.0.0.1:{server}", "127.0.0.1:{entry}:127.0.0.1:{target}")
    return Stack(
        CHISEL,
        (Program("server", server, "server"), Program("client", client, "entry")),
        pace=0.125,
        version=(program, "--version"),
    )


def _wstunnel(program: str) -> Stack:
    server = (program, "server", "ws://127.0.0.1:{server}")
    client = (program, "client", "-L", "tcp://127.0.0.1:{entry}:127.0.0.1:{target}", "ws://127.0.0.1:{server}")
    return Stack(
        WSTUNNEL,
        (Program("server", server, "server"), Program("client", client, "entry")),
        pace=0.5,
        version=(program, "--version"),
    )


def _websocat_client(program: str) -> Program:
    argv = (program, "-b", "-E", "tcp-l:127.0.0.1:{entry}", "ws://127.0.0.1:{server}/")
    return Program("client", argv, "entry")


def _websocat(program: str) -> Stack:
    # -E, "exit on EOF": without it connections are never let go.
    server = (program, "-b", "-E", "ws-l:127.0.0.1:{server}", "tcp:127.0.0.1:{target}")
    return Stack(
        WEBSOCAT,
        (Program("server", server, "server"), _websocat_client(program)),
        pace=0.5,
        idle=FEW_IDLE,
        version=(program, "--version"),
    )


def _websockify(websocat: str) -> Stack:
    # websockify is a server only.
    server = (sys.executable, "-m", "websockify", "127.0.0.1:{server}", "127.0.0.1:{target}")
    return Stack(
        WEBSOCKIFY,
        (Program("server", server, "server", forks=True), _websocat_client(websocat)),
        pace=0.25,
        idle=VERY_FEW_IDLE,
    )


_PEERS = (
    (ORIGINAL, "gosokken", "GOSOKKEN", _original),
    (CHISEL, "chisel", "CHISEL", _chisel),
    (WSTUNNEL, "wstunnel", "WSTUNNEL", _wstunnel),
    (WEBSOCAT, "websocat", "WEBSOCAT", _websocat),
)


def _find_peers() -> tuple[list[Stack], dict[str, str]]:
    found, absent = [], {}
    for name, program, variable, build in _PEERS:
        path = _find(os.environ.get(variable) or program)
        if path:
            found.append(build(path))
        else:
            absent[name] = f"no {program} on PATH, and {variable} does not name it"
    websocat = _find(os.environ.get("WEBSOCAT") or "websocat")
    if importlib.util.find_spec("websockify") is None:
        absent[WEBSOCKIFY] = "websockify is not installed for this Python"
    elif websocat is None:
        absent[WEBSOCKIFY] = "it is a server only, and websocat, its client here, is absent"
    else:
        found.append(_websockify(websocat))
    return found, absent


# --- all together ---------------------------------------------------------------------------------------------------


def _through_line(stack: Stack) -> Stack:
    """The same with the delay line in front of its server, or of the target where there is no server."""
    to = "server" if stack.programs else "target"
    argv = ("{load}", "line", "{line}", f"{{{to}}}", str(LINE_DELAY_MS), str(LINE_WINDOW_BYTES))
    line = Program("line", argv, "line")
    if not stack.programs:
        return replace(stack, programs=(line,), entries=("line",))
    *servers, client = stack.programs
    late = replace(client, argv=tuple(argument.replace("{server}", "{line}") for argument in client.argv))
    return replace(stack, programs=(*servers, line, late), pace=1.0)  # it is the line that is slow


def catalogue() -> Catalogue:
    """Everything that can be measured on this machine. Raises MissingReferenceError."""
    missing = [program for program in ("socat", "haproxy") if _find(program) is None]
    if missing:
        names = " and ".join(missing)
        raise MissingReferenceError(
            f"{names} not found, and all figures are compared with them; on Debian: apt-get install {' '.join(missing)}"
        )
    peers, absent = _find_peers()
    loops = {ASYNCIO: "asyncio"}
    if importlib.util.find_spec("uvloop"):
        loops[UVLOOP] = "uvloop"
    else:
        absent[UVLOOP] = "uvloop is not installed"
    direct = Stack(DIRECT, entries=("target",))
    ours = [_sokken(name, loop) for name, loop in loops.items()]
    secure: tuple[Stack, ...] = ()
    if not _serves_tls():
        absent["sokken wss"] = "the server does not speak TLS by itself"
    elif _find("openssl") is None:
        absent["sokken wss"] = "no openssl to make a certificate with"
    else:
        secure = (_haproxy(secure=True), *(_sokken_secure(name, loop) for name, loop in loops.items()))
    judged = next(name for name in OURS if name in loops)
    traced = _sokken_traced(loops[judged])
    return Catalogue(
        plain=(direct, _socat(), _haproxy(), *ours, *peers),
        traced=(next(stack for stack in ours if stack.name == judged), traced),
        secure=secure,
        line=tuple(map(_through_line, (direct, *ours, *peers))),
        many=_sokken_many(judged, loops[judged]),
        absent=absent,
    )
