"""The log file: rotation by size and age, what is kept, and what others may do to it underneath."""

import json
import os
import re
import threading
from datetime import UTC, datetime

import pytest

from sokken.errors import ConfigurationError
from sokken.telemetry.log_file import RotatingFile

START = datetime(2026, 11, 23, 5, 18, 32, 123456, tzinfo=UTC).timestamp()
DAY = 86400.0


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


def format_line(level, event, **fields):
    return json.dumps({"event": event, **fields}, default=str).encode() + b"\n"


def timestamped(clock, text="line"):
    stamp = datetime.fromtimestamp(clock.now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f'{{"timestamp":"{stamp}","event":"{text}"}}\n'.encode()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def open_file(tmp_path, clock):
    opened = []

    def open_at(path=tmp_path / "sokken.log", *, max_bytes=1000, max_age_seconds=DAY, keep=7):
        file = RotatingFile(
            path, format_line, max_bytes=max_bytes, max_age_seconds=max_age_seconds, keep=keep, clock=clock
        )
        opened.append(file)
        return file

    yield open_at
    for file in opened:
        file.close()


def rotated(directory):
    return sorted(path for path in directory.iterdir() if re.search(r"T\d\d-\d\d-\d\d\.\d{3}", path.name))


def test_lines_are_appended_and_survive_a_restart(open_file, tmp_path):
    file = open_file()
    file.write(b"one\n")
    file.close()
    open_file().write(b"two\n")
    assert (tmp_path / "sokken.log").read_bytes() == b"one\ntwo\n"


def test_it_rotates_before_a_line_would_make_it_too_large(open_file, tmp_path):
    file = open_file(max_bytes=20)
    for line in (b"123456789\n", b"abcdefghi\n", b"x\n"):
        file.write(line)
    (old,) = rotated(tmp_path)
    assert old.name == "sokken-2026-11-23T05-18-32.123.log"
    assert old.read_bytes() == b"123456789\nabcdefghi\n"
    assert (tmp_path / "sokken.log").read_bytes() == b"x\n"


def test_the_size_that_is_there_at_start_counts(open_file, tmp_path):
    (tmp_path / "sokken.log").write_bytes(b"123456789\n")
    open_file(max_bytes=15).write(b"abcdefghi\n")
    assert [path.read_bytes() for path in rotated(tmp_path)] == [b"123456789\n"]


def test_a_line_longer_than_a_whole_file_is_written_all_the_same(open_file, tmp_path):
    file = open_file(max_bytes=5)
    file.write(b"longer than that\n")
    file.write(b"and another one\n")
    assert [path.read_bytes() for path in rotated(tmp_path)] == [b"longer than that\n"]
    assert (tmp_path / "sokken.log").read_bytes() == b"and another one\n"


def test_it_rotates_when_its_first_line_is_too_old(open_file, tmp_path, clock):
    file = open_file()
    file.write(timestamped(clock))
    clock.now = START + DAY - 1
    file.write(timestamped(clock, "kept"))
    assert rotated(tmp_path) == []
    clock.now = START + DAY
    file.write(timestamped(clock, "new"))
    (old,) = rotated(tmp_path)
    assert old.name == "sokken-2026-11-24T05-18-32.123.log"
    assert old.read_bytes().count(b"\n") == 2
    assert (tmp_path / "sokken.log").read_bytes().count(b"\n") == 1


def test_its_age_survives_restarts(open_file, tmp_path, clock):
    open_file().write(timestamped(clock))
    os.utime(tmp_path / "sokken.log", (START + DAY / 2, START + DAY / 2))
    clock.now = START + DAY
    open_file().write(b"new\n")
    assert len(rotated(tmp_path)) == 1


def test_the_age_of_a_foreign_file_is_that_of_its_last_change(open_file, tmp_path, clock):
    path = tmp_path / "sokken.log"
    path.write_bytes(b"no timestamp\n")
    os.utime(path, (START - DAY + 10, START - DAY + 10))
    file = open_file()
    file.write(b"one\n")
    assert rotated(tmp_path) == []
    clock.now += 10
    file.write(b"two\n")
    assert len(rotated(tmp_path)) == 1


@pytest.mark.parametrize("first", [b'{"timestamp":"2026-99-23T05:18:32.123456Z"}\n', b"\xff\xfe\n", b"\n"])
def test_a_first_line_that_is_nonsense_harms_nothing(open_file, tmp_path, first):
    path = tmp_path / "sokken.log"
    path.write_bytes(first)
    os.utime(path, (START, START))
    open_file().write(b"line\n")
    assert path.read_bytes() == first + b"line\n"


def test_a_file_from_the_future_ages_from_now(open_file, tmp_path, clock):
    clock.now = START + 100 * DAY
    open_file().write(timestamped(clock))
    clock.now = START
    file = open_file()
    file.write(b"one\n")
    clock.now = START + DAY
    file.write(b"two\n")
    assert len(rotated(tmp_path)) == 1


def test_an_empty_file_ages_from_its_first_line(open_file, tmp_path, clock):
    (tmp_path / "sokken.log").touch()
    file = open_file()
    clock.now = START + 5 * DAY
    file.write(b"one\n")
    clock.now += DAY - 1
    file.write(b"two\n")
    assert rotated(tmp_path) == []


def test_as_many_rotated_files_as_asked_for_are_kept_and_no_foreign_file_is_touched(open_file, tmp_path, clock):
    foreign = [
        "sokken-notes.log",
        "sokken-2026-11-23T05-18-32.log",
        "sokken-2026-11-23T05-18-32.123.log.gz",
        "other-2026-11-23T05-18-32.123.log",
    ]
    for name in foreign:
        (tmp_path / name).touch()
    file = open_file(max_bytes=5, keep=3)
    for number in range(8):
        clock.now += 1
        file.write(b"line%d\n" % number)
    ours = [path for path in rotated(tmp_path) if path.name not in foreign]
    assert [path.read_bytes() for path in ours] == [b"line4\n", b"line5\n", b"line6\n"]
    assert all((tmp_path / name).exists() for name in foreign)


def test_none_are_kept_when_none_are_wanted(open_file, tmp_path):
    file = open_file(max_bytes=5, keep=0)
    for number in range(5):
        file.write(b"line%d\n" % number)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"line4\n"]


def test_two_rotations_in_one_millisecond_lose_nothing(open_file, tmp_path):
    file = open_file(max_bytes=5)
    for number in range(4):
        file.write(b"line%d\n" % number)
    assert [path.name for path in rotated(tmp_path)] == [
        "sokken-2026-11-23T05-18-32.123.log",
        "sokken-2026-11-23T05-18-32.124.log",
        "sokken-2026-11-23T05-18-32.125.log",
    ]
    assert [path.read_bytes() for path in rotated(tmp_path)] == [b"line0\n", b"line1\n", b"line2\n"]


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o640), (0o022, 0o640), (0o077, 0o600)])
def test_the_file_is_for_its_owner_and_at_most_read_by_its_group(open_file, tmp_path, umask, mode):
    former = os.umask(umask)
    try:
        open_file()
    finally:
        os.umask(former)
    assert (tmp_path / "sokken.log").stat().st_mode & 0o777 == mode


def test_missing_directories_are_made(open_file, tmp_path):
    open_file(tmp_path / "log" / "deep" / "sokken.log").write(b"line\n")
    assert (tmp_path / "log" / "deep" / "sokken.log").read_bytes() == b"line\n"


def test_reopen_follows_a_file_that_was_moved_away(open_file, tmp_path):
    file = open_file()
    file.write(b"one\n")
    (tmp_path / "sokken.log").rename(tmp_path / "sokken.log.1")
    file.write(b"two\n")  # within the same second: still to the file that was moved
    file.reopen()
    file.write(b"three\n")
    assert (tmp_path / "sokken.log.1").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "sokken.log").read_bytes() == b"three\n"


def test_reopen_makes_a_deleted_file_anew(open_file, tmp_path):
    file = open_file()
    file.write(b"one\n")
    (tmp_path / "sokken.log").unlink()
    file.reopen()
    file.write(b"two\n")
    assert (tmp_path / "sokken.log").read_bytes() == b"two\n"


def test_a_deleted_file_is_noticed_within_a_second_without_a_signal(open_file, tmp_path, clock):
    directory = tmp_path / "log"
    file = open_file(directory / "sokken.log")
    file.write(b"one\n")
    (directory / "sokken.log").unlink()
    directory.rmdir()
    clock.now += 1
    file.write(b"two\n")
    assert (directory / "sokken.log").read_bytes() == b"two\n"


def test_a_file_that_was_replaced_is_noticed_within_a_second(open_file, tmp_path, clock):
    file = open_file()
    file.write(b"one\n")
    (tmp_path / "sokken.log").rename(tmp_path / "moved")
    (tmp_path / "sokken.log").touch()
    clock.now += 1
    file.write(b"two\n")
    assert (tmp_path / "sokken.log").read_bytes() == b"two\n"


def test_a_file_that_was_truncated_underneath_counts_from_there(open_file, tmp_path, clock):
    file = open_file(max_bytes=30)
    file.write(b"x" * 24 + b"\n")
    os.truncate(tmp_path / "sokken.log", 0)
    clock.now += 1
    file.write(b"after\n")
    assert rotated(tmp_path) == []
    assert (tmp_path / "sokken.log").read_bytes() == b"after\n"


def test_when_it_cannot_be_reopened_the_open_file_stays_in_use(open_file, tmp_path, capfd):
    file = open_file()
    file.write(b"one\n")
    (tmp_path / "sokken.log").rename(tmp_path / "moved")
    (tmp_path / "sokken.log").mkdir()
    file.reopen()
    file.write(b"two\n")
    assert (tmp_path / "moved").read_bytes() == b"one\ntwo\n"
    (complaint,) = capfd.readouterr().err.splitlines()
    assert json.loads(complaint)["event"] == "log_open_failed"
    (tmp_path / "sokken.log").rmdir()
    file.reopen()
    file.write(b"three\n")
    assert (tmp_path / "sokken.log").read_bytes() == b"three\n"


def test_when_it_cannot_be_rotated_no_line_is_lost(open_file, tmp_path, capfd, clock):
    path = tmp_path / ("x" * 245 + ".log")  # with a time in it, the name is too long for a file system
    file = open_file(path, max_bytes=5)
    for number in range(3):
        clock.now += 1
        file.write(b"line%d\n" % number)
    assert path.read_bytes() == b"line0\nline1\nline2\n"
    (complaint,) = capfd.readouterr().err.splitlines()
    assert json.loads(complaint)["event"] == "log_rotation_failed"
    assert "File name too long" in json.loads(complaint)["error"]


def test_without_a_free_descriptor_logging_goes_on(run_program, tmp_path):
    done = run_program(
        """
import itertools, os, resource
from sokken.telemetry.log_file import RotatingFile
now = itertools.count(1_800_000_000)
file = RotatingFile(Path(sys.argv[1]), lambda *_, **fields: b"complaint\\n", max_bytes=5, max_age_seconds=1e9,
                    keep=7, clock=lambda: float(next(now)))
file.write(b"line0\\n")
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
file.write(b"line1\\n")
file.write(b"line2\\n")
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
file.write(b"line3\\n")
""",
        tmp_path / "sokken.log",
    )
    assert (done.code, done.error) == (0, "complaint\n")
    written = b"".join(path.read_bytes() for path in [*rotated(tmp_path), tmp_path / "sokken.log"])
    assert written == b"line0\nline1\nline2\nline3\n"
    assert (tmp_path / "sokken.log").read_bytes() == b"line3\n"


def test_a_full_disk_drops_lines_and_nothing_else(run_program):
    done = run_program("""
configure(log_file=Path("/dev/full"))
for number in range(1000):
    log.info("line", number=number)
logs.reopen()
print("alive")
""")
    assert (done.code, done.output) == (0, "alive\n")
    (complaint,) = [json.loads(line) for line in done.error.splitlines()]
    assert complaint["event"] == "log_write_failed"
    assert complaint["dropped"] == 1
    assert "No space left on device" in complaint["error"]
    assert "/dev/full" in complaint["sink"]


def test_when_the_disk_has_room_again_the_log_says_how_many_lines_it_lacks(run_program, tmp_path):
    path = tmp_path / "sokken.log"
    done = run_program(
        """
import resource
configure(log_file=Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for number in range(100):
    log.info("line", number=number)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.info("after")
""",
        path,
    )
    assert done.code == 0
    assert len(done.error.splitlines()) == 1
    *kept, told, after = [json.loads(line) for line in path.read_text().splitlines()]  # each line is whole
    assert [line["number"] for line in kept] == list(range(len(kept)))
    assert 0 < len(kept) < 100
    assert (told["event"], told["level"], told["lines"]) == ("log_lines_dropped", "warning", 100 - len(kept))
    assert after["event"] == "after"


def test_a_line_after_close_is_dropped(open_file, tmp_path, capfd):
    file = open_file()
    file.close()
    file.close()
    file.write(b"late\n")
    assert (tmp_path / "sokken.log").read_bytes() == b""
    assert "closed" in capfd.readouterr().err


def make_directory(path):
    path.mkdir()


def make_file_as_directory(path):
    path.parent.rmdir()
    path.parent.touch()


def make_pipe_nobody_reads(path):
    os.mkfifo(path)


@pytest.mark.parametrize("obstacle", [make_directory, make_file_as_directory, make_pipe_nobody_reads])
def test_a_file_that_cannot_be_opened_is_a_configuration_error_of_one_line(open_file, tmp_path, obstacle):
    (tmp_path / "log").mkdir()
    path = tmp_path / "log" / "sokken.log"
    obstacle(path)
    with pytest.raises(ConfigurationError) as caught:
        open_file(path)
    message = str(caught.value)
    assert message.startswith(f"-log-file {path}: cannot open it for writing: ")
    assert "\n" not in message


def test_threads_write_whole_lines_and_lose_none_at_rotations(open_file, tmp_path):
    file = open_file(max_bytes=2000, keep=1000)

    def write(thread):
        for number in range(300):
            file.write(f"{thread} {number} {'x' * 20}\n".encode())

    threads = [threading.Thread(target=write, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    files = [*rotated(tmp_path), tmp_path / "sokken.log"]
    assert len(files) > 10
    assert all(path.stat().st_size <= 2000 for path in files)
    lines = [line.split() for path in files for line in path.read_text().splitlines()]
    for thread in range(6):  # each thread's lines are there, in its order
        assert [int(number) for by, number, _ in lines if int(by) == thread] == list(range(300))


def test_it_says_what_it_is(open_file, tmp_path):
    assert repr(open_file()) == f"<RotatingFile {tmp_path}/sokken.log size=0 dropped=0>"
