"""The usage, and each program's help made from its settings.

Called by main. The first two usage lines and the form of the options are the original program's.
"""

from typing import Final

from sokken.settings.catalogue import PROGRAMS, Setting, settings_of

USAGE: Final = """\
Usage: sokken server [OPTION]... API_ADDR REMOTE_ADDR [REMOTE_ADDR_2...]
       sokken client [OPTION]... API_ADDR LISTEN_ADDR REMOTE_ADDR [LISTEN_ADDR_2 REMOTE_ADDR_2 ...]
       sokken operator [OPTION]... API_ADDR
"""

_OVERVIEW: Final = """
A TCP tunnel through WebSockets: the client listens on LISTEN_ADDRs, and the server connects to the targets
that it allows.

  sokken server :8000 127.0.0.1:22
  sokken client :1234 127.0.0.1:2222 ws://machine-b:8000/tunnel/127.0.0.1:22

More:
  sokken server --help           the server's arguments, options and variables
  sokken client --help           the client's
  sokken operator --help         the operator's: it makes clients of a Kubernetes cluster's Tunnel objects
  sokken operator crds           print the CustomResourceDefinition of Tunnels, for kubectl apply --server-side -f -
  sokken check-config server|client|operator ...
                                 check the settings, and show where each came from
  sokken policy test --identity IDENTITY --target HOST:PORT
                                 which rule decides, and why (sokken policy --help)
  sokken top URL                 the connections of a running program, live (sokken top --help)
  sokken doctor [URL]            why a tunnel does not work, and what to change (sokken doctor --help)
  sokken probe [live|ready]      is the program of this container alive, or ready? (sokken probe --help)
  sokken --version

Exit codes: 0 ended as asked, 1 failed, 2 malformed arguments or variables, 3 missing or unworkable settings.
"""

_ARGUMENTS: Final = {
    "server": """
API_ADDR is where HTTP is served, [HOST]:PORT (SOKKEN_API_ADDR); each REMOTE_ADDR is a target that tunnels may
lead to, HOST:PORT (SOKKEN_TARGETS). Without arguments they come from the environment. Rules who may reach what
(-policy-file) stand instead of REMOTE_ADDRs.
""",
    "client": """
API_ADDR is where health is served, [HOST]:PORT (SOKKEN_API_ADDR); connections to each LISTEN_ADDR are tunnelled
to its REMOTE_ADDR, a ws:// or wss:// URL (SOKKEN_FORWARDS). Without arguments they come from the environment.
""",
    "operator": """
API_ADDR is where health is served, [HOST]:PORT (SOKKEN_API_ADDR). It works in the cluster that it runs in, or in the
one that KUBECONFIG leads to. Several may run: one works, the others stand by.
""",
}


def overview() -> str:
    """Return what ``sokken --help`` says."""
    return USAGE + _OVERVIEW


def program_help(program: str) -> str:
    """Return what ``sokken server --help`` says: the program's usage line, arguments and options."""
    line = next(line for line in USAGE.splitlines() if f"sokken {program} " in line)
    settings = settings_of(PROGRAMS[program]).values()
    options = "".join(_describe(setting) for setting in settings if not setting.argument)
    return f"Usage: {line.removeprefix('Usage:').strip()}\n{_ARGUMENTS[program]}\nOptions:\n{options}"


def _describe(setting: Setting) -> str:
    if setting.is_secret:  # no option: everybody may read a command line
        return f"  {setting.variable}, a variable only\n        {setting.meaning}\n"
    value = "" if setting.is_switch else f" {setting.unit.upper()}"
    default = f"default {setting.default}, " if setting.default and not setting.is_switch else ""
    return f"  {setting.option}{value}\n        {setting.meaning} ({default}{setting.variable})\n"
