"""Log lines: one JSON object each, its fields in their order, wherever the settings send it."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog.testing

from sokken.errors import ConfigurationError
from sokken.telemetry import logs
from tests.unit.telemetry.conftest import make_settings

# Taken before anything is configured, as every module does at import.
log = logs.get_logger("sokken.server.tunnel")


def test_a_line_is_one_json_object_with_its_fields_in_order(lines):
    log.info("connection_closed", connection_id="0192", peer="127.0.0.1:40000", bytes_up=1, close_code=None)
    (line,) = lines()
    assert list(line) == [
        *("timestamp", "level", "event", "logger", "role", "version"),
        *("connection_id", "peer", "bytes_up", "close_code"),
    ]
    assert line["level"] == "info"
    assert line["event"] == "connection_closed"
    assert line["logger"] == "sokken.server.tunnel"
    assert (line["role"], line["version"]) == ("server", "1.2.3")
    assert line["close_code"] is None


def test_the_timestamp_is_utc_with_microseconds(lines):
    log.info("tick")
    (line,) = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line["timestamp"])) < timedelta(seconds=30)


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
def test_levels(log_to, level):
    lines = log_to(log_debug=True)
    getattr(log, level)("said")
    assert [line["level"] for line in lines()] == [level]


def test_debugging_is_off_unless_asked_for_also_for_loggers_in_use(log_to):
    lines = log_to()
    log.info("used")
    log.debug("unwanted")
    assert [line["event"] for line in lines()] == ["used"]
    lines = log_to(log_debug=True)
    log.debug("wanted")
    assert [line["event"] for line in lines()] == ["used", "wanted"]


def test_bound_fields_are_on_every_line(lines):
    bound = log.bind(connection_id="0192")
    bound.info("one", a=1)
    bound.info("two")
    assert [line["connection_id"] for line in lines()] == ["0192", "0192"]


def test_nothing_in_a_value_breaks_out_of_its_line(lines, tmp_path):
    nasty = 'line\nfeed\r\x00\x1b[31m\x7f\x85\u2028"\\\ud800 größe'
    log.info("said", value=nasty, **{nasty: 1})
    raw = (tmp_path / "sokken.log").read_bytes()
    assert raw.count(b"\n") == 1
    assert raw.rstrip(b"\n").isascii()
    assert raw.decode().rstrip("\n").isprintable()
    (line,) = lines()
    assert line["value"] == nasty
    assert line[nasty] == 1


def test_secrets_are_masked_in_whatever_is_logged(lines, tmp_path):
    log.info("said", token="hunter2", headers={"Authorization": "hunter2"}, url="ws://user:hunter2@host/x")
    log.error("failed", exc_info=OSError("cannot reach ws://user:hunter2@host"))
    assert "hunter2" not in (tmp_path / "sokken.log").read_text()
    assert "ws://***@host" in lines()[1]["exception"][0]["message"]


def test_a_field_cannot_take_the_place_of_the_head(lines):
    log.info("said", version="9.9.9", role="peer", level="loud", timestamp="never", logger="x")
    (line,) = lines()
    assert (line["version"], line["role"], line["level"]) == ("1.2.3", "server", "info")
    assert (line["field_version"], line["field_role"], line["field_level"]) == ("9.9.9", "peer", "loud")


def test_exceptions_are_data(lines):
    try:
        int("1\n2")
    except ValueError as error:
        log.exception("one", a=1)
        log.error("two", exc_info=error)  # noqa: TRY400 the case
        log.error("three", exc_info=(ValueError, error, error.__traceback__))  # noqa: TRY400 the case
    one, two, three = lines()
    (link,) = one["exception"]
    assert link["type"] == "ValueError"
    assert link["message"].endswith(r"'1\n2'")
    assert link["frames"][-1]["file"] == __file__
    assert (one["level"], one["a"]) == ("error", 1)
    assert two["exception"] == three["exception"] == one["exception"]
    assert all("exc_info" not in line for line in (one, two, three))


def test_without_an_exception_there_is_no_field_for_it(lines):
    log.error("said", exc_info=True)  # noqa: LOG014 the case
    log.error("said", exc_info=None)
    assert [line.keys() & {"exception", "exc_info"} for line in lines()] == [set(), set()]


def test_lines_go_to_standard_error_unless_a_file_is_given(run_program):
    done = run_program("configure(); log.info('said', path=Path('/x'))")
    assert (done.code, done.output) == (0, "")
    assert json.loads(done.error)["path"] == "/x"


def test_what_is_logged_before_anything_is_configured_is_not_lost(run_program):
    done = run_program("log.info('early'); log.debug('unwanted'); configure(); log.info('late')")
    assert done.output == ""
    assert [json.loads(line)["event"] for line in done.error.splitlines()] == ["early", "late"]


def test_the_settings_reach_the_file(log_to, tmp_path):
    lines = log_to(log_max_size_mb=1, log_max_rotated=2)
    for _ in range(4):
        for _ in range(300):
            log.info("said", filling="x" * 4000)
    rotated = [path for path in tmp_path.iterdir() if path.name != "sokken.log"]
    assert len(rotated) == 2
    assert all(1024 * 1024 - 5000 < path.stat().st_size <= 1024 * 1024 for path in rotated)
    assert lines()


def test_reopen_follows_a_file_that_was_moved_away(lines, tmp_path):
    log.info("one")
    (tmp_path / "sokken.log").rename(tmp_path / "moved")
    logs.reopen()
    log.info("two")
    assert [line["event"] for line in lines()] == ["two"]


def test_reopening_standard_error_does_nothing(run_program):
    done = run_program("configure(); logs.reopen(); log.info('said')")
    assert len(done.error.splitlines()) == 1


def test_a_file_that_cannot_be_opened_is_told_and_changes_nothing(log_to, tmp_path):
    lines = log_to()
    with pytest.raises(ConfigurationError, match=r"below-a-file\.log: cannot open it for writing"):
        log_to("client", log_file=tmp_path / "sokken.log" / "below-a-file.log")
    log.info("still")
    assert [(line["event"], line["role"]) for line in lines()] == [("still", "server")]


def count_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_configuring_again_leaks_no_descriptor(log_to):
    log_to()
    before = count_descriptors()
    for _ in range(3):
        log_to()
    assert count_descriptors() == before


def test_tests_can_capture_what_a_logger_says(lines):
    with structlog.testing.capture_logs() as captured:
        log.info("said", a=1)
    assert captured == [{"event": "said", "a": 1, "log_level": "info"}]
    log.info("after")
    assert [line["event"] for line in lines()] == ["after"]


def test_the_logs_come_without_the_libraries_that_are_slow_to_import(run_program):
    done = run_program("print(sorted({'aiohttp', 'pydantic', 'rich'} & set(sys.modules)))")
    assert done.output == "[]\n"


def test_peers_are_cut_to_their_network_where_that_is_asked_for(log_to):
    lines = log_to(log_peer="network")
    logs.get_logger("sokken.test").info("tried", peer="192.0.2.77:51234", forwarded_for="198.51.100.7, x", target="a:1")
    [line] = lines()
    assert (line["peer"], line["forwarded_for"], line["target"]) == ("192.0.2.0/24", "198.51.100.0/24, ***", "a:1")


def test_a_service_is_named_on_every_line_if_it_has_a_name(undo_configure, tmp_path):
    path = tmp_path / "sokken.log"
    logs.configure(make_settings(log_file=path), "server", "1.2.3", "edge")
    logs.get_logger("sokken.test").info("tried")
    [line] = [json.loads(text) for text in path.read_text().splitlines()]
    assert list(line) == ["timestamp", "level", "event", "logger", "role", "version", "service"]
    assert line["service"] == "edge"


def test_a_silenced_process_writes_nothing(run_program):
    done = run_program("logs.silence(); log.warning('a'); log.error('b'); logs.get_logger('c').error('d')")
    assert (done.code, done.output, done.error) == (0, "", "")
