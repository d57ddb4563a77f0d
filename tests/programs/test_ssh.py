"""OpenSSH through a tunnel: commands, a terminal, large files, and git over it."""

import hashlib
import os
import pty
import select
import signal
import subprocess
import time

import pytest

from tests.support.openssh import sshd
from tests.support.pairs import pair
from tests.support.programs import join
from tests.support.services import end, installed, run, succeed
from tests.support.targets import PATIENCE, eventually

pytestmark = pytest.mark.programs

MIB = 1024 * 1024


class Host:
    """The machine at the other end, as its user sees it."""

    def __init__(self, server, tunnel):
        self._options, self._user = server.options, server.user
        self._address, self._port = tunnel.entries["ssh"]
        self.tunnel = tunnel
        self.target = join(server.where)
        self.log = server.log

    @property
    def ssh_command(self):
        return [installed("ssh"), *self._options, "-p", str(self._port), "-l", self._user]

    def ssh(self, *command, **options):
        return run(*self.ssh_command, self._address, *command, **options)

    def scp(self, source, destination):
        succeed(installed("scp"), *self._options, "-q", "-P", self._port, source, destination)

    def path(self, path):
        return f"{self._user}@{self._address}:{path}"

    def git(self, *arguments, folder):
        """git with this way to ssh, and nothing of the machine's configuration."""
        quoted = subprocess.list2cmdline([*self.ssh_command])
        identity = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        env = (
            os.environ
            | identity
            | {"GIT_SSH_COMMAND": quoted, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        )
        return succeed(installed("git"), *arguments, cwd=folder, env=env)

    def url(self, path):
        return f"ssh://{self._user}@{self._address}:{self._port}{path}"


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ssh")
    with sshd(folder) as server, pair({"ssh": server.where}) as both:
        yield Host(server, both)


def test_a_command_gives_its_output_and_its_exit_code(host):
    near, far = host.tunnel.client.program, host.tunnel.server.program
    earlier = len(near.events("connection_opened"))
    done = host.ssh("echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    opened = near.wait_for("connection_opened", earlier + 1)
    lines = [end.wait_for("connection_closed", connection_id=opened["connection_id"]) for end in (near, far)]
    for line in lines:
        assert (line["outcome"], line["close_code"], line["target"]) == ("completed", 1000, host.target)
        assert line["client_id"] == opened["client_id"]
        assert line["duration_s"] > 0
    up, down = ([line[field] for line in lines] for field in ("bytes_up", "bytes_down"))
    assert up[0] == up[1] > 1000
    assert down[0] == down[1] > 1000


def test_a_command_reads_its_input_to_the_end(host, tmp_path):
    data = os.urandom(8 * MIB)
    file = tmp_path / "input"
    file.write_bytes(data)
    with file.open("rb") as source:
        done = host.ssh("cat", stdin=source, text=False)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()
    assert host.ssh("wc -c", input="four").stdout.strip() == "4"
    assert host.ssh("cat").stdout == ""


def test_a_command_that_is_killed_says_by_what(host):
    assert host.ssh("kill -TERM $$").returncode == 255
    assert host.ssh("sh -c 'kill -TERM $$'; exit $?").returncode == 128 + signal.SIGTERM


def test_several_sessions_at_once(host):
    commands = [[*host.ssh_command, "127.0.0.1", f"sleep 0.2; echo {n}; exit {n}"] for n in range(8)]
    sessions = [subprocess.Popen(c, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for c in commands]
    for n, session in enumerate(sessions):
        assert session.communicate(timeout=PATIENCE)[0] == b"%d\n" % n
        assert session.returncode == n


def read_until(host, terminal, wanted):
    """What a terminal shows, up to and with ``wanted``."""
    shown = b""
    deadline = time.monotonic() + PATIENCE
    while wanted not in shown:
        assert select.select([terminal], [], [], deadline - time.monotonic())[0], f"no {wanted!r} in {shown!r}"
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other end of a terminal has gone
            pytest.fail(f"the session ended after {shown!r}; sshd said: {host.log.read_text()}")
    return shown


def test_a_terminal(host):
    """A person at a shell: echo, line by line, Ctrl-C, the size of the window, the exit code of the shell."""
    ours, theirs = pty.openpty()
    command = [*host.ssh_command, "-tt", "127.0.0.1", "env PS1='ready> ' HISTFILE= sh -i"]
    session = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        read_until(host, ours, b"ready> ")
        os.write(ours, b"stty rows 33 cols 77; stty size\n")
        read_until(host, ours, b"33 77\r\n")
        os.write(ours, b"tty && echo $((6 * 7))\n")
        assert b"/dev/pts/" in read_until(host, ours, b"42\r\nready> ")  # else the prompt comes between what follows
        os.write(ours, b"cat; echo not reached\n")
        os.write(ours, b"typed\n")
        read_until(host, ours, b"typed\r\ntyped\r\n")  # the terminal's echo, then cat's
        os.write(ours, b"\x03")
        read_until(host, ours, b"ready> ")
        os.write(ours, b"echo again\n")
        read_until(host, ours, b"again\r\nready> ")
        os.write(ours, b"exit 5\n")
        assert session.wait(PATIENCE) == 5
    finally:
        end(session, signal.SIGKILL)
        os.close(ours)


def random_file(path, size):
    """Incompressible, and made fast; returns its digest."""
    block, digest = os.urandom(MIB), hashlib.sha256()
    with path.open("wb") as file:
        for number in range(size // MIB):
            piece = number.to_bytes(8, "big") + block[8:]
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def digest_of(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_scp_of_256_mib_each_way(host, tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    source = tmp_path / "source"
    digest = random_file(source, 256 * MIB)
    host.scp(source, host.path(there))
    assert digest_of(there) == digest
    host.scp(host.path(there), back)
    assert digest_of(back) == digest
    for path in (source, there, back):
        path.unlink()


def test_git_clone_and_push(host, tmp_path):
    origin, clone, second = (tmp_path / name for name in ("origin.git", "clone", "second"))
    seed = tmp_path / "seed"
    host.git("init", "--quiet", "--initial-branch=main", seed, folder=tmp_path)
    (seed / "large").write_bytes(os.urandom(4 * MIB))
    for number in range(200):
        (seed / f"file{number}").write_text(f"{number}\n" * number)
    host.git("add", "--all", folder=seed)
    host.git("commit", "--quiet", "--message=first", folder=seed)
    host.git("clone", "--quiet", "--bare", seed, origin, folder=tmp_path)

    host.git("clone", "--quiet", host.url(origin), clone, folder=tmp_path)
    first = host.git("rev-parse", "HEAD", folder=seed)
    assert host.git("rev-parse", "HEAD", folder=clone) == first
    (clone / "large").write_bytes(os.urandom(4 * MIB))
    host.git("commit", "--quiet", "--all", "--message=second", folder=clone)
    host.git("push", "--quiet", "origin", "main", folder=clone)
    assert host.git("rev-parse", "main", folder=origin) == host.git("rev-parse", "HEAD", folder=clone) != first

    host.git("clone", "--quiet", host.url(origin), second, folder=tmp_path)
    host.git("fsck", "--strict", folder=second)
    assert digest_of(second / "large") == digest_of(clone / "large")


def test_a_killed_ssh_ends_the_session_over_there(host, tmp_path):
    mark = tmp_path / "alive"
    command = [*host.ssh_command, "127.0.0.1", f"touch {mark}; trap 'rm {mark}' HUP TERM EXIT; cat"]
    session = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        eventually(mark.exists)
        session.kill()
        eventually(lambda: not mark.exists())
    finally:
        end(session, signal.SIGKILL)
