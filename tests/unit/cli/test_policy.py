"""``sokken policy test`` says which rule decides, and for a name, what becomes of each of its addresses."""

import socket

import pytest

from sokken.cli.help import overview
from sokken.cli.main import main
from sokken.cli.policy import HELP

POLICY = """\
rules:
  - name: no databases
    action: deny
    identities: ["*"]
    targets: ["10.9.0.0/16:*"]
  - action: allow
    identities: ["team-*"]
    targets: ["*.internal:443", "10.0.0.0/8:443"]
    limits: {connections_per_identity: 10, rate_per_second: 0.5, proxy_protocol: true}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return str(path)


@pytest.fixture
def names(monkeypatch):
    """What names resolve to; others do not."""
    known = {}

    def getaddrinfo(host, port, **_):
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def run(capsys, *words):
    code = main(["policy", "test", *words])
    output = capsys.readouterr()
    return code, output.out, output.err


def ask(capsys, file, target, identity="team-a"):
    code, out, err = run(capsys, "--identity", identity, "--target", target, "--policy-file", file)
    assert err == ""
    lines = out.splitlines()
    assert lines.pop() == ("deny" if code else "allow")
    return code, lines


def test_an_address_that_is_allowed(capsys, file):
    limits = "limits: connections_per_identity 10, rate_per_second 0.5, proxy_protocol true"
    assert ask(capsys, file, "10.0.0.1:443") == (0, ["10.0.0.1:443: rule 2 allows it", limits])


def test_an_address_that_is_denied(capsys, file):
    assert ask(capsys, file, "10.9.0.1:443") == (1, ["10.9.0.1:443: rule 1 (no databases) denies it"])
    assert ask(capsys, file, "10.0.0.1:443", "me") == (1, ["10.0.0.1:443: no rule allows it"])


def test_a_name_that_leads_to_several_addresses(capsys, file, names):
    names["a.internal"] = ["10.9.0.1", "192.0.2.1", "127.0.0.1", "192.0.2.1"]
    code, lines = ask(capsys, file, "A.internal:443")
    assert code == 0
    assert lines[:-1] == [
        "a.internal resolves to 10.9.0.1, 192.0.2.1, 127.0.0.1",
        "10.9.0.1: does not pass, rule 1 (no databases) denies it",
        "192.0.2.1: passes, rule 2 allows it",
        "127.0.0.1: does not pass, 127.0.0.1 is a loopback address, which rule 2 does not name",
    ]
    assert lines[-1].startswith("limits: ")


def test_a_name_of_which_no_address_is_left(capsys, file, names):
    names["a.internal"] = ["10.9.0.1"]
    code, lines = ask(capsys, file, "a.internal:443")
    assert code == 1
    assert lines[-1] == "10.9.0.1: does not pass, rule 1 (no databases) denies it"


def test_a_name_that_is_denied_is_not_resolved(capsys, file, names):
    assert ask(capsys, file, "a.internal:444") == (1, ["a.internal:444: no rule allows it"])


def test_a_name_that_does_not_resolve_here(capsys, file, names):
    unresolved = "does not resolve here, so no address was checked; as far as the name goes, rule 2 allows it"
    code, lines = ask(capsys, file, "a.internal:443")
    assert (code, lines[0]) == (0, f"a.internal {unresolved}")
    assert ask(capsys, file, "b.example:443") == (1, [f"b.example {unresolved} if it leads there"])


# ------------------------------------------------------------------------------------- where it comes from
def test_the_policy_of_the_environment(capsys, file, monkeypatch):
    monkeypatch.setenv("SOKKEN_POLICY_FILE", file)
    assert run(capsys, "-target=10.0.0.1:443", "-identity=team-a")[0] == 0
    assert run(capsys, "-target=10.0.0.1:443", "-identity=me")[0] == 1


def test_the_list_of_targets_is_a_policy_too(capsys, file, monkeypatch):
    monkeypatch.setenv("SOKKEN_TARGETS", "127.0.0.1:22")
    words = ("--identity", "anonymous", "--target", "127.0.0.1:22")
    assert run(capsys, *words) == (0, "127.0.0.1:22: the list of targets allows it\nallow\n", "")
    assert run(capsys, *words, "--policy-file", file)[0] == 1


def test_the_log_of_a_server_is_nobodys_concern_here(capsys, file, monkeypatch, tmp_path):
    monkeypatch.setenv("SOKKEN_LOG_FILE", str(tmp_path / "sokken.log"))
    ask(capsys, file, "10.0.0.1:443")
    assert not (tmp_path / "sokken.log").exists()


# -------------------------------------------------------------------------------------------------- errors
EXAMPLE = "for example sokken policy test --identity system:serviceaccount:shop:web --target db.internal:5432"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], f"policy is followed by test, {EXAMPLE}"),
        (["tset"], f"policy is followed by test, {EXAMPLE}"),
        (["test"], f"option --identity is missing, {EXAMPLE}"),
        (["test", "--identity", "me"], f"option --target is missing, {EXAMPLE}"),
        (["test", "--identity"], f"option --identity needs a value, {EXAMPLE}"),
        (["test", "--identity="], f"option --identity needs a value, {EXAMPLE}"),
        (["test", "me"], f"unknown argument 'me', {EXAMPLE}"),
        (["test", "--user", "me"], f"unknown argument '--user', {EXAMPLE}"),
        (
            ["test", "--identity", "me", "--target", "a"],
            "option --target: 'a': the port is missing, for example 127.0.0.1:22",
        ),
    ],
)
def test_what_is_said_wrongly(capsys, words, problem):
    assert main(["policy", *words]) == 2
    assert capsys.readouterr() == ("", f"sokken: {problem}\n")


def test_no_policy_at_all(capsys):
    assert run(capsys, "--identity", "me", "--target", "a:1") == (
        3,
        "",
        "sokken: there is no policy: give --policy-file, or set SOKKEN_POLICY_FILE\n",
    )


def test_two_policies(capsys, file, monkeypatch):
    monkeypatch.setenv("SOKKEN_POLICY_FILE", file)
    monkeypatch.setenv("SOKKEN_TARGETS", "a:1")
    code, _, err = run(capsys, "--identity", "me", "--target", "a:1")
    assert code == 2
    assert err.startswith("sokken: variable SOKKEN_TARGETS: SOKKEN_POLICY_FILE says already what may be reached")


def test_a_broken_policy(capsys, file, tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY.replace("deny", "dney"))
    code, out, err = run(capsys, "--identity", "me", "--target", "a:1", "--policy-file", file)
    assert (code, out) == (3, "")
    assert err == f"sokken: SOKKEN_POLICY_FILE: cannot use {file}: rule 1: action: this is allow or deny, not 'dney'\n"


@pytest.mark.parametrize("words", [["--help"], ["test", "-h"], ["test", "--identity", "me", "-help"]])
def test_help(capsys, words):
    assert main(["policy", *words]) == 0
    assert capsys.readouterr() == (HELP, "")
    assert "sokken policy test" in overview()
