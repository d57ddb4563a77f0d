import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sokken import __version__
from sokken.admin.sampling import Sweep
from sokken.admin.status import Program, describe_program
from sokken.transport.connections import Connections
from tests.support.admin import DrainTimes, admit


@dataclass
class File:
    what: str = "SOKKEN_TOKENS_FILE"
    paths: tuple[Path, ...] = (Path("/etc/tokens"),)
    result: str = "loaded"
    problem: str = ""
    missing: tuple[Path, ...] = ()
    changed_at: float = 0


@dataclass
class Asked:
    server: str = "ws://b/tunnel/c:1"
    has_passed: bool = False
    problem: str | None = None
    outcome: str | None = None
    asked_at: float | None = None


def document(sweep=None, **given):
    connections = given.pop("connections", None) or Connections(100)
    told = {
        "role": "client",
        "settings": [],
        "connections": connections,
        "not_ready": lambda: None,
        "leaving_since": lambda: None,
        "drain": DrainTimes(2, 10),
    } | given
    found = describe_program(Program(**told), sweep or Sweep(0), needs_token=True)
    assert json.loads(json.dumps(found)) == found
    return found


def moment(text):
    return datetime.fromisoformat(text)


def test_a_program_that_serves():
    found = document(started=time.monotonic() - 5)
    assert (found["role"], found["version"], found["state"]) == ("client", __version__, "serving")
    assert (found["ready"], found["not_ready"], found["drain"], found["token_required"]) == (True, None, None, True)
    assert 5 <= found["uptime_s"] < 10
    assert abs(moment(found["started_at"]) - datetime.now(UTC)) < timedelta(seconds=5)


def test_one_that_is_not_ready_says_why():
    found = document(not_ready=lambda: "server check: connection refused")
    assert (found["ready"], found["not_ready"]) == (False, "server check: connection refused")


def test_connections_in_numbers():
    connections = Connections(100)
    admit(connections, 1)
    connections.opened = 7
    connections.ended.outcomes.update(completed=4, local_reset=2)
    connections.fail("target_refused")
    connections.fail("target_refused")
    found = document(
        Sweep(0, bytes_up=10, bytes_down=20, rate_up=1.26, rate_down=None, connecting=1, half_closed=2),
        connections=connections,
    )
    assert found["connections"] == {
        "now": 1,
        "limit": 100,
        "connecting": 1,
        "half_closed": 2,
        "opened": 7,
        "ended": 6,
        "failed": 2,
        "bytes_up": 10,
        "bytes_down": 20,
        "rate_up": 1.3,
        "rate_down": None,
    }
    assert found["outcomes"] == {"completed": 4, "local_reset": 2}
    assert found["failures"] == {"target_refused": 2}


def test_a_drain_counts_down_its_delay_and_then_its_time():
    for passed, begins, remaining in ((0.5, 1.5, 11.5), (4, 0, 8), (60, 0, 0)):
        since = time.monotonic() - passed
        found = document(leaving_since=lambda since=since: since)
        drain = found["drain"]
        assert found["state"] == "draining"
        assert abs(drain["begins_in_s"] - begins) < 0.2
        assert abs(drain["remaining_s"] - remaining) < 0.2
        assert abs((moment(drain["deadline"]) - moment(drain["asked_at"])).total_seconds() - 12) <= 1


def test_each_server_and_its_last_check():
    checks = [
        Asked(has_passed=True, asked_at=time.monotonic() - 3),
        Asked("ws://d/", True, "connection refused", "server_unreachable", time.monotonic()),
        Asked("ws://e/", problem="not asked yet"),
    ]
    passed, failed, unasked = document(checks=checks)["servers"]
    assert (passed["passed"], passed["problem"], passed["outcome"]) == (True, None, None)
    assert 3 <= passed["asked_s_ago"] < 5
    assert (failed["passed"], failed["has_passed"], failed["outcome"]) == (False, True, "server_unreachable")
    assert failed["problem"] == "connection refused"
    assert (unasked["passed"], unasked["asked_s_ago"]) == (False, None)


def test_each_file_and_its_last_reading():
    [good, bad] = document(
        files=[
            File(changed_at=time.monotonic() - 9),
            File("SOKKEN_POLICY_FILE", result="kept_last_good", problem="no", missing=(Path("/etc/policy"),)),
        ]
    )["files"]
    assert good | {"changed_s_ago": 9} == {
        "setting": "SOKKEN_TOKENS_FILE",
        "files": ["/etc/tokens"],
        "result": "loaded",
        "problem": None,
        "missing": [],
        "changed_s_ago": 9,
    }
    assert 9 <= good["changed_s_ago"] < 11
    assert (bad["setting"], bad["result"], bad["problem"]) == ("SOKKEN_POLICY_FILE", "kept_last_good", "no")
    assert bad["missing"] == ["/etc/policy"]
