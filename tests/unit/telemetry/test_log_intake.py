"""What others say: logging, warnings and unhandled exceptions become lines like all others."""

import asyncio
import json
import logging
import signal
import threading
from pathlib import Path

import pytest

from sokken.telemetry import logs
from sokken.telemetry.log_intake import LoggingBridge, SdkFilter


def test_a_library_is_heard_under_its_own_name(lines):
    logging.getLogger("aiohttp.server").warning("cannot %s", "serve\nit")
    (line,) = lines()
    assert list(line) == ["timestamp", "level", "event", "logger", "role", "version", "message"]
    assert (line["level"], line["event"], line["logger"]) == ("warning", "library_message", "aiohttp.server")
    assert line["message"] == "cannot serve\nit"


def test_a_library_s_exception_becomes_data(lines):
    try:
        Path("/nonexistent").stat()
    except OSError:
        logging.getLogger("asyncio").exception("it failed")
    (line,) = lines()
    assert line["level"] == "error"
    assert line["message"] == "it failed"
    assert [link["type"] for link in line["exception"]] == ["FileNotFoundError"]


@pytest.mark.parametrize(
    ("number", "level"),
    [(20, "info"), (25, "info"), (30, "warning"), (45, "error"), (50, "critical"), (99, "critical")],
)
def test_a_library_s_own_levels_become_known_ones(lines, number, level):
    logging.getLogger("other").log(number, "said")
    assert [line["level"] for line in lines()] == [level]


def test_libraries_debug_only_when_asked(log_to):
    lines = log_to()
    logging.getLogger("asyncio").debug("unwanted")
    assert lines() == []
    lines = log_to(log_debug=True)
    logging.getLogger("asyncio").debug("wanted")
    assert [(line["level"], line["message"]) for line in lines()] == [("debug", "wanted")]


def test_a_library_that_says_too_much_is_hushed(lines):
    try:
        logs.hush("talkative", "never mind", "as usual")
        logging.getLogger("talkative.part").info("it goes on")
        logging.getLogger("talkative.part").warning("as usual: nothing")
        logging.getLogger("talkative.part").warning("this is as usual not")
        logging.getLogger("other").warning("as usual: nothing")
        assert [(line["logger"], line["message"]) for line in lines()] == [
            ("talkative.part", "this is as usual not"),
            ("other", "as usual: nothing"),
        ]
    finally:
        logs.hush("talkative")
        logging.getLogger("talkative").setLevel(logging.NOTSET)


def test_a_library_s_malformed_call_is_told_as_it_is(run_program):
    done = run_program("import logging; configure(); logging.getLogger('other').error('%d things', 'many')")
    (line,) = [json.loads(line) for line in done.error.splitlines()]
    assert (line["logger"], line["message"]) == ("other", "%d things")


def test_each_line_is_said_once_however_often_it_is_configured(log_to):
    log_to()
    lines = log_to()
    logging.getLogger("other").error("once")
    assert len(lines()) == 1


def test_access_logs_are_off(lines):
    logging.getLogger("aiohttp.access").info("GET /health")
    assert not logging.getLogger("aiohttp.access").isEnabledFor(logging.INFO)
    assert lines() == []


def test_warnings_are_lines(run_program):
    done = run_program("""
import warnings
configure()
warnings.simplefilter("always")
warnings.warn("old\\nways", DeprecationWarning)
""")
    (line,) = [json.loads(line) for line in done.error.splitlines()]
    assert (line["level"], line["event"], line["logger"]) == ("warning", "python_warning", "py.warnings")
    assert (line["message"], line["category"], line["file"]) == ("old\nways", "DeprecationWarning", "<string>")


def test_the_loop_s_reports_are_lines(lines):
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(logs.exception_handler)
        loop.call_soon(lambda: 1 / 0)
        loop.call_exception_handler({"message": "without exception", "task": asyncio.current_task()})
        await asyncio.sleep(0)

    asyncio.run(main())
    plain, failed = lines()
    assert (plain["event"], plain["message"]) == ("unhandled_exception", "without exception")
    assert plain["task"].startswith("Task-")
    assert "exception" not in plain
    assert (failed["event"], failed["where"]) == ("unhandled_exception", "event_loop")
    assert failed["exception"][0]["type"] == "ZeroDivisionError"


UNHANDLED = {
    "main": "raise ValueError('lost')",
    "thread": "import threading; t = threading.Thread(target=lambda: 1 / 0, name='worker'); t.start(); t.join()",
    "finalizer": """
class Bad:
    def __del__(self): raise KeyError("x")
Bad()
""",
    "event_loop": """
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    logs.install_exception_hooks(loop)
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
asyncio.run(main())
""",
}


@pytest.mark.parametrize("where", UNHANDLED)
def test_an_exception_nobody_handled_is_one_line_and_never_a_trace(run_program, where):
    done = run_program("configure(); logs.install_exception_hooks()\n" + UNHANDLED[where])
    (line,) = [json.loads(line) for line in done.error.splitlines()]
    assert (line["event"], line["level"], line["where"]) == ("unhandled_exception", "error", where)
    assert line["exception"][0]["frames"]
    assert done.code == (1 if where == "main" else 0)


def test_a_thread_may_end_itself(run_program):
    done = run_program("""
import threading
configure()
logs.install_exception_hooks()
thread = threading.Thread(target=sys.exit)
thread.start()
thread.join()
""")
    assert (done.code, done.error) == (0, "")


def test_an_interrupt_that_nobody_handled_is_a_line_too(run_program):
    done = run_program("""
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
configure()
logs.install_exception_hooks()
os.kill(os.getpid(), signal.SIGINT)
""")
    (line,) = [json.loads(line) for line in done.error.splitlines()]
    assert line["exception"][0]["type"] == "KeyboardInterrupt"
    assert done.code == -signal.SIGINT


def test_threads_log_without_mixing_lines(lines):
    def talk(thread):
        for number in range(200):
            logging.getLogger(f"thread{thread}").warning("number %s", number)

    threads = [threading.Thread(target=talk, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(lines()) == 800


def test_opentelemetry_says_each_thing_once_a_minute_and_no_trace(lines):
    now = [0.0]
    [bridge] = [handler for handler in logging.root.handlers if isinstance(handler, LoggingBridge)]
    bridge.filters[:] = [SdkFilter(clock=lambda: now[0])]
    sdk = logging.getLogger("opentelemetry.sdk.somewhere")
    for _ in range(10):
        sdk.error("cannot parse %s", now[0], exc_info=ValueError("no"))
        sdk.warning("something else")
        logging.getLogger("another").warning("as often as it likes")
        now[0] += 10
    told = [line["message"] for line in lines()]
    assert told.count("cannot parse 0.0") == told.count("cannot parse 60.0") == 1
    assert told.count("something else") == 2
    assert told.count("as often as it likes") == 10
    assert not [line for line in lines() if "exception" in line]


def test_opentelemetry_quotes_no_header(lines):
    logging.getLogger("opentelemetry.util.re").warning("Header format invalid! %s", "authorization s3cret")
    [line] = lines()
    assert "OTEL_EXPORTER_OTLP_HEADERS" in line["message"]
    assert "s3cret" not in str(line)
