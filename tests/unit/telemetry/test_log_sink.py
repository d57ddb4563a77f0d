"""Sinks: a line that cannot be written is dropped, counted, and later told; nobody else notices."""

import contextlib
import errno
import json
import os
import select
import subprocess
import sys
import threading

import pytest

from sokken.telemetry.log_sink import COMPLAINT_INTERVAL_SECONDS, Sink


def format_line(level, event, **fields):
    return json.dumps({"level": level, "event": event, **fields}, default=str).encode() + b"\n"


class Broken(Sink):
    """A sink that works when told so, and keeps what was written."""

    def __init__(self, clock=lambda: 0.0):
        super().__init__(format_line, clock)
        self.works = True
        self.lines = []

    def _put(self, line):
        if not self.works:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.lines.append(line)


def test_lines_are_dropped_while_writing_fails_and_then_counted(capfd):
    sink = Broken()
    sink.write(b"one\n")
    sink.works = False
    sink.write(b"two\n")
    sink.write(b"three\n")
    sink.works = True
    sink.write(b"four\n")
    sink.write(b"five\n")
    told = format_line("warning", "log_lines_dropped", lines=2)
    assert sink.lines == [b"one\n", told, b"four\n", b"five\n"]


def test_lines_go_together_as_far_as_they_fit_and_count_one_by_one(capfd):
    class Wide(Broken):
        _most = 10

    sink = Wide()
    sink.write(b"one\n", b"two\n", b"three\n", b"longer than ten\n", b"six\n", b"last\n")
    assert sink.lines == [b"one\ntwo\n", b"three\n", b"longer than ten\n", b"six\nlast\n"]
    sink.works = False
    sink.write(b"one\n", b"two\n", b"three\n")
    sink.works = True
    sink.write(b"more\n")
    assert sink.lines[4:] == [format_line("warning", "log_lines_dropped", lines=3), b"more\n"]


def test_standard_error_is_told_once_a_minute(capfd):
    now = [1000.0]
    sink = Broken(lambda: now[0])
    sink.works = False

    def complaints():
        sink.write(b"line\n")
        return [json.loads(line) for line in capfd.readouterr().err.splitlines()]

    (first,) = complaints()
    assert (first["event"], first["level"], first["dropped"]) == ("log_write_failed", "error", 1)
    assert "No space left on device" in first["error"]
    now[0] += COMPLAINT_INTERVAL_SECONDS - 0.1
    assert complaints() == []
    now[0] += 0.1
    (second,) = complaints()
    assert second["dropped"] == 3
    now[0] -= 7200  # a clock that was set back must not silence it
    assert len(complaints()) == 1


def test_a_line_that_is_logged_while_another_is_written_does_not_deadlock():
    class Talkative(Broken):
        def _put(self, line):
            super()._put(line)
            if line == b"outer\n":
                self.write(b"inner\n")  # as a finalizer does

    sink = Talkative()
    thread = threading.Thread(target=sink.write, args=(b"outer\n",), daemon=True)
    thread.start()
    thread.join(10)
    assert sink.lines == [b"outer\n", b"inner\n"]


def test_a_closed_standard_error_harms_nobody_and_its_number_is_not_given_away():
    code = """
import socket, sys
sys.path.insert(0, ".")
from types import SimpleNamespace
from sokken.telemetry import logs
logs.configure(SimpleNamespace(log_debug=False, log_pretty=False, log_file=None, log_peer="full"), "server", "1")
one, other = socket.socketpair()
logs.get_logger("sokken.test").info("first")
other.setblocking(False)
try:
    other.recv(1)
except BlockingIOError:
    print("alive")
"""
    command = ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, b"alive\n")


def test_a_broken_pipe_at_standard_error_harms_nobody(start_program):
    program = start_program("""
configure()
sys.stdin.readline()
for number in range(100):
    log.info("line", number=number)
print("alive")
""")
    program.stderr.close()
    program.stderr = None
    output, _ = program.communicate(b"\n", timeout=30)
    assert (program.returncode, output) == (0, b"alive\n")


def read_what_is_there(pipe):
    found = []
    os.set_blocking(pipe.fileno(), False)
    with contextlib.suppress(BlockingIOError):
        while chunk := os.read(pipe.fileno(), 65536):
            found.append(chunk)
    return b"".join(found)


@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("length", [200, 8 * select.PIPE_BUF])
def test_a_standard_error_that_nobody_reads_does_not_stop_the_program(start_program, blocking, length):
    program = start_program(
        """
import os
configure()
os.set_blocking(2, sys.argv[1] == "True")
for number in range(5000):
    log.info("line", number=number, filling=["x" * 100] * (int(sys.argv[2]) // 100))
print("filled", flush=True)
sys.stdin.readline()
log.info("after")
""",
        blocking,
        length,
    )
    assert program.stdout.readline() == b"filled\n"
    error = read_what_is_there(program.stderr)
    _, rest = program.communicate(b"\n", timeout=30)
    assert program.returncode == 0
    *lines, told, after = (error + rest).splitlines()
    if length > select.PIPE_BUF and not lines[-1].endswith(b"}"):
        lines.pop()  # of a long line, a part may have been taken; it must not spoil the next
    written = [json.loads(line)["number"] for line in lines]
    assert 0 < len(written) < 5000
    assert written == list(range(len(written)))
    assert json.loads(told)["event"] == "log_lines_dropped"
    assert json.loads(told)["lines"] == 5000 - len(written)
    assert json.loads(after)["event"] == "after"


def test_a_thousand_lines_fit_into_a_pipe_whose_reader_is_late(start_program):
    program = start_program(
        """
configure()
for number in range(1000):
    log.info("line", number=number, filling="x" * 300)
print("told", flush=True)
sys.stdin.readline()
"""
    )
    assert program.stdout.readline() == b"told\n"
    _, error = program.communicate(b"\n", timeout=30)
    assert [json.loads(line)["number"] for line in error.splitlines()] == list(range(1000))


def test_a_line_longer_than_a_pipe_takes_at_once_arrives_whole(run_program):
    done = run_program("""
configure()
log.info("long", values=["x" * 4000] * 50)
""")
    assert len(json.loads(done.error)["values"]) == 50
