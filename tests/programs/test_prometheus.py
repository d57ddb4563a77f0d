"""Debian's Prometheus scrapes a real server and a real client, and loads our rules."""

import json
import re
import socket
from pathlib import Path

import pytest

from sokken.telemetry import instruments
from sokken.telemetry.instruments import Instrument
from tests.support.certificates import Authority
from tests.support.programs import address, client, join, server
from tests.support.prometheus import RULES, prometheus
from tests.support.raw_http import exchange, request, upgrade
from tests.support.refused import meet_reset
from tests.support.services import installed, run, succeed
from tests.support.targets import connect, echo, eventually, receive_all, receive_exactly, target

pytestmark = pytest.mark.programs

FILES = RULES.parent
ROOT = Path(__file__).parents[2]
ADMIN = {"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}
IO = 'sokken_connection_io_bytes_total{role="%s", network_io_direction="%s"}'


@pytest.fixture
def authority(tmp_path):
    authority = Authority(tmp_path)
    authority.server = authority.issue("DNS:localhost", "IP:127.0.0.1")
    return authority


def admin_of(end):
    return address(end.program.wait_for("admin_listening")["listen"])


def scrape(where):
    answer = exchange(where, request("/metrics", "GET", "HTTP/1.1", ("Host", join(where))))
    assert answer.status == 200
    return answer.body.decode()


def test_what_prometheus_finds(tmp_path, authority):
    env = {
        **ADMIN,
        "SOKKEN_TLS_CERT_FILE": str(authority.server),
        "SOKKEN_CA_FILE": str(authority.file),
        "SOKKEN_TUNNEL_NAME": "office",
    }
    with (
        target(echo) as where,
        server(where, env=env) as far,
        client(far.url(where, scheme="wss"), far.url(("127.0.0.1", 9), scheme="wss"), env=env) as near,
        prometheus(tmp_path, admin_of(far), admin_of(near)) as found,
    ):
        with connect(near.entries[0]) as app:
            app.sendall(b"x" * 100_000)
            receive_exactly(app, 100_000)
            # While the connection lives, its bytes are there to be seen.
            for role in ("server", "client"):
                found.wait_for(f'sokken_connection_active{{role="{role}"}}', 1)
                for direction in ("transmit", "receive"):
                    found.wait_for(IO % (role, direction), 100_000)
            app.shutdown(socket.SHUT_WR)
            receive_all(app)
        meet_reset(near.entries[1])
        for role in ("server", "client"):
            found.wait_for(f'sokken_connection_duration_seconds_count{{role="{role}", outcome="completed"}}', 1)
            found.wait_for(f'sokken_connection_active{{role="{role}"}}', 0)
            # … and afterwards they have not gone.
            assert found.value(IO % (role, "receive")) == 100_000
            rejected = 'sokken_connection_rejected_total{role="%s", error_type="forbidden_target"}'
            found.wait_for(rejected % role, 1)
        found.wait_for("count(sokken_server_reachable)", 2)
        found.wait_for("sum(sokken_server_reachable)", 1)
        assert found.value('sokken_connect_duration_seconds_count{stage="target", error_type=""}') == 1
        assert found.value('sokken_connect_duration_seconds_count{stage="upgrade", error_type="forbidden_target"}') == 1
        for stage in ("tcp", "tls"):
            assert found.value(f'sokken_connect_duration_seconds_count{{stage="{stage}", error_type=""}}') == 2
        left = found.value('sokken_certificate_not_after_timestamp_seconds{kind="tls_cert"} - time()')
        assert 0 < left < 3 * 86400
        eventually(lambda: found.value("sum(sokken_process_loop_lag_seconds_count)"))
        assert found.value('sokken_connection_active{role="client", tunnel="office"}') == 0

        # Debian's version knows the rules, and has evaluated each of them without an error.
        def evaluated():
            [group] = found.get("rules")["groups"]
            return group["rules"] if all(rule["health"] != "unknown" for rule in group["rules"]) else None

        rules = eventually(evaluated)
        assert {rule["health"] for rule in rules} == {"ok"}
        state = {rule["name"]: rule["state"] for rule in rules}
        assert state["SokkenNoServerReplicas"] == "inactive"
        assert state["SokkenServerUnreachable"] == "pending"  # of the forbidden target, for less than 5 minutes
        assert state["SokkenCertificateExpiresSoon"] == "pending"  # the tests' certificates are for two days


def test_promtool_finds_nothing_to_say(tmp_path):
    with (
        target(echo) as where,
        server(where, env=ADMIN) as far,
        client(far.url(where), far.url(("127.0.0.1", 9)), env=ADMIN) as near,
    ):
        with connect(near.entries[0]) as app:
            app.sendall(b"x")
            app.shutdown(socket.SHUT_WR)
            receive_all(app)
        meet_reset(near.entries[1])
        far.program.wait_for("connection_closed")
        near.program.wait_for("connection_closed")
        texts = [scrape(admin_of(end)) for end in (far, near)]
    for text in texts:
        done = run(installed("promtool"), "check", "metrics", input=text)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_labels_have_few_values_whoever_connects():
    """Nothing that a client chooses is a label: a thousand clients make no series more than one."""

    def series(text):
        return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}

    with target(echo) as where, server(where, env=ADMIN) as far:
        found = []
        for number in range(3):
            fields = [("Sokken-Client-Id", f"client-{number}"), ("Sokken-Tunnel", f"tunnel-{number}")]
            path = f"/tunnel/127.0.0.1:{number + 1}"
            assert exchange(far.api, upgrade(path, *fields)).status == 403
            found.append(series(scrape(admin_of(far))))
    assert found[0] == found[1] == found[2]


def test_the_rules_are_sound_and_name_their_runbooks():
    assert "SUCCESS" in succeed(installed("promtool"), "check", "rules", RULES)
    text = RULES.read_text()
    alerts = re.findall(r"alert: (\w+)", text)
    books = re.findall(r"runbook_url: (\S+)", text)
    assert [book.rpartition("#")[2] for book in books] == [alert.lower() for alert in alerts]
    for alert, book in zip(alerts, books, strict=True):
        assert f"\n### {alert}\n" in (ROOT / book.partition("#")[0]).read_text()


def names():
    """Of all metrics, as Prometheus knows them."""
    units = {"s": "_seconds", "By": "_bytes"}
    for instrument in vars(instruments).values():
        if isinstance(instrument, Instrument):
            name = instrument.name.replace(".", "_") + units.get(instrument.unit, "")
            yield name + ("_total" if instrument.kind is instruments.Kind.COUNTER else "")


@pytest.mark.parametrize("path", [RULES, FILES / "dashboard-tunnels.json", ROOT / "docs/observability.md"], ids=str)
def test_what_is_asked_for_exists(path):
    known = set(names())
    asked = {
        re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\bsokken_[a-z_]+[a-z]\b", path.read_text())
    }
    assert asked
    assert asked <= known


def test_every_metric_is_documented():
    text = (ROOT / "docs/observability.md").read_text()
    instrument_names = {one.name for one in vars(instruments).values() if isinstance(one, Instrument)}
    assert not [name for name in (*names(), *instrument_names) if f"`{name}`" not in text]


def test_the_dashboard_is_one():
    dashboard = json.loads((FILES / "dashboard-tunnels.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids) > 10
    assert all(panel["targets"] for panel in dashboard["panels"])
