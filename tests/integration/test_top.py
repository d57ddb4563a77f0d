"""``sokken top`` against real programs, with a terminal and without."""

import os
import pty
import select
import subprocess
import sys
import time
from contextlib import contextmanager

from tests.support.programs import address, client, join, server
from tests.support.targets import PATIENCE, connect, echo, receive_exactly, target

TOKEN = "correct-horse-battery-staple"


@contextmanager
def busy_pair(env=None):
    """A server with an admin address, and a client with an application that has said something."""
    with target(echo) as where, server(where, env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0", **(env or {})}) as far:
        admin = address(far.program.wait_for("admin_listening")["listen"])
        with client(far.url(where), env={"SOKKEN_CLIENT_ID": "laptop-7"}) as near, connect(near.entry) as app:
            app.sendall(b"x" * 5000)
            receive_exactly(app, 5000)
            yield far, near, admin, app


def top(*words, env=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SOKKEN_")}
    return subprocess.run(
        [sys.executable, "-m", "sokken", "top", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**clean, **(env or {})},
    )


def test_without_a_terminal_it_is_shown_once_and_whole():
    with busy_pair() as (_, near, admin, app):
        done = top(f"http://{join(admin)}")
        assert (done.returncode, done.stderr) == (0, "")
        for found in ("sokken server", "serving", "1 of 100 connections", "laptop-7", "5.0 kB", "0 B/s"):
            assert found in done.stdout
        assert "\x1b" not in done.stdout
        done = top("--sort", "age", join(near.api))
        assert join(app.getsockname()) in done.stdout
        assert "laptop-7" not in top("--filter", "nobody", join(admin)).stdout


def test_with_a_token(tmp_path):
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "other").write_text("another-token-of-some-length")
    with busy_pair({"SOKKEN_ADMIN_TOKEN_FILE": str(tmp_path / "token")}) as (_, _, admin, _):
        url = f"http://{join(admin)}"
        assert top(url, env={"SOKKEN_ADMIN_TOKEN_FILE": str(tmp_path / "token")}).returncode == 0
        done = top(url)
        assert (done.returncode, done.stderr) == (
            1,
            f"sokken: a token is needed by {url}: name its file in SOKKEN_ADMIN_TOKEN_FILE\n",
        )
        done = top(url, env={"SOKKEN_ADMIN_TOKEN_FILE": str(tmp_path / "other")})
        assert done.stderr == f"sokken: the token in SOKKEN_ADMIN_TOKEN_FILE is not the one of {url}\n"


def test_what_is_no_admin_address_is_told_in_one_line():
    def shout(sock):
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with busy_pair() as (far, _, _, _), target(echo) as other, target(shout) as web:
        cases = {
            join(far.api): "is sokken, but not its admin address: give its SOKKEN_ADMIN_ADDR",
            "127.0.0.1:1": "cannot be reached: connection refused",
            "nowhere.invalid": "cannot be reached: its name does not resolve",
            join(other): "is no admin address of sokken: it does not speak HTTP",
            join(web): "is no admin address of sokken: it answers 200 OK",
        }
        for url, says in cases.items():
            done = top(url)
            assert done.returncode == 1, url
            assert says in done.stderr
            assert done.stderr.count("\n") == 1


class Terminal:
    """A terminal of 140 by 24 in which ``sokken top`` runs; what it has written is ``text``."""

    def __init__(self, *words: str) -> None:
        self.text = ""
        self._fileno, inner = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sokken", "top", *words],
            stdin=inner,
            stdout=inner,
            stderr=inner,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "140", "LINES": "24"},
        )
        os.close(inner)

    def wait_for(self, text: str) -> None:
        """Until that comes, from now on."""
        self.text, deadline = "", time.monotonic() + PATIENCE
        while text not in self.text:
            assert time.monotonic() < deadline, self.text
            if select.select([self._fileno], [], [], 0.2)[0]:
                self.text += os.read(self._fileno, 65536).decode(errors="replace")

    def press(self, key: str) -> None:
        os.write(self._fileno, key.encode())

    def end(self) -> int:
        """The exit code, once it has written the last of it."""
        while True:
            try:
                if not (part := os.read(self._fileno, 65536)):
                    break
                self.text += part.decode(errors="replace")
            except OSError:  # Linux's way of saying that nobody has the other end open
                break
        os.close(self._fileno)
        return self._process.wait(PATIENCE)


def test_in_a_terminal_it_is_live_and_obeys_keys():
    with busy_pair() as (_, _, admin, app):
        terminal = Terminal("--interval", "0.5", join(admin))
        terminal.wait_for("rate first")
        app.sendall(b"x" * 700_000)
        receive_exactly(app, 700_000)
        terminal.wait_for("705 kB")
        terminal.press("b")
        terminal.wait_for("bytes first")
        terminal.press("-")
        terminal.wait_for("bytes reversed")
        terminal.press("a")
        terminal.wait_for("age first")
        terminal.press("q")
        assert terminal.end() == 0
        assert "\x1b[?1049l" in terminal.text  # what was on the screen before is back
        assert "\x1b[?25h" in terminal.text  # and the cursor


def test_a_program_that_goes_away_is_told_and_found_again():
    with target(echo) as where, server(where, env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}) as far:
        admin = far.program.wait_for("admin_listening")["listen"]
        terminal = Terminal("--interval", "0.5", admin)
        terminal.wait_for("serving")
        far.program.stop()
        terminal.wait_for("cannot be reached: connection refused")
        with server(where, env={"SOKKEN_ADMIN_ADDR": admin}):
            terminal.wait_for("up 0s")
            terminal.press("q")
            assert terminal.end() == 0
