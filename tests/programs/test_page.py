"""The status page in a real browser, with real traffic through real programs."""

import contextlib
import json
import re
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.browser import CONTRAST, browsing, contrast_of
from tests.support.programs import address, client, join, server
from tests.support.raw_http import exchange, request
from tests.support.targets import connect, echo, eventually, receive_exactly, target, was_reset

pytestmark = [pytest.mark.programs, pytest.mark.timeout(180)]

TOKEN = "correct-horse-battery-staple"
ROWS = "#rows tr.connection"
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    with browsing() as browser:
        yield browser


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "admin-token"
    path.write_text(TOKEN)
    return path


class Viewed:
    """A page, and whatever the browser complained of."""

    def __init__(self, context, url: str) -> None:
        self.page = context.new_page()
        self.page.set_default_timeout(20_000)
        self.complaints: list[str] = []
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type != "log" else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)

    def log_in(self, token: str = TOKEN) -> None:
        self.page.wait_for_selector("#login[open]")
        self.page.fill("#token", token)
        self.page.keyboard.press("Enter")

    def until(self, expression: str) -> None:
        """Until it is true in the page. Playwright's own way needs ``eval``, which the page's policy forbids."""
        deadline = time.monotonic() + 20
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, f"{expression} did not become true"
            self.page.wait_for_timeout(50)

    def wait_for_rows(self, count: int) -> None:
        self.until(f"document.querySelectorAll('{ROWS}').length === {count}")

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def focused(self) -> str:
        return self.page.evaluate("document.activeElement.id || document.activeElement.className")


@contextmanager
def viewing(browser, where, **given):
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | given))
    try:
        viewed = Viewed(context, f"http://{join(where)}/")
        yield viewed
        # A refused request without a token is the browser's own line, and no fault.
        assert [said for said in viewed.complaints if " 401 " not in said] == []
    finally:
        context.close()


@contextmanager
def open_pair(where, env=None):
    with (
        server(where, env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0", **(env or {})}) as far,
        client(far.url(where), env={"SOKKEN_CLIENT_ID": "laptop-7"}) as near,
    ):
        yield far, near, address(far.program.wait_for("admin_listening")["listen"])


def say(sock: socket.socket, size: int = 1) -> None:
    sock.sendall(b"x" * size)
    receive_exactly(sock, size)


@contextmanager
def chatting(*socks):
    """Some bytes each tenth of a second on each, until the end."""
    ended = threading.Event()

    def run():
        with contextlib.suppress(OSError):
            while not ended.wait(0.1):
                for sock in socks:
                    say(sock, 10_000)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(20)


def test_the_list_is_live(browser):
    with target(echo) as where, open_pair(where) as (_, near, admin), viewing(browser, admin) as viewed:
        viewed.page.wait_for_selector("#state[data-state=serving]")
        assert "Nobody is connected" in viewed.text("#empty")
        assert viewed.text("h1") == "sokken server"
        with connect(near.entry) as one, connect(near.entry) as other:
            say(one)
            say(other)
            viewed.wait_for_rows(2)
            assert viewed.text("#now") == "2"
            assert viewed.text(f"{ROWS} .name") == "laptop-7"
            assert viewed.text(f"{ROWS} .target-name") == join(where)
            with chatting(one):
                viewed.until(
                    "/\\d+(\\.\\d+)? kB\\/s/.test(document.querySelector('#rows .number.up .rate').textContent)"
                )
                viewed.page.wait_for_selector(f"{ROWS} .dot.moving")
                viewed.until("document.querySelector('#chart-up .line').getAttribute('d').length > 20")
                first = viewed.text("#bytes-up")
                viewed.until(f"document.querySelector('#bytes-up').textContent !== '{first}'")
        viewed.wait_for_rows(0)
        viewed.until("/2 completed/.test(document.querySelector('#endings').textContent)")
        assert viewed.text("#opened") == "2"


def test_a_connection_is_aborted_with_the_keyboard_alone(browser, token):
    env = {"SOKKEN_ADMIN_TOKEN_FILE": str(token)}
    with target(echo) as where, open_pair(where, env) as (far, near, admin), connect(near.entry) as app:
        say(app)
        with viewing(browser, admin) as viewed:
            page = viewed.page
            viewed.page.wait_for_selector("#login[open]")
            assert viewed.focused() == "token"
            viewed.log_in("a-wrong-token-of-some-length")
            viewed.until("document.querySelector('#login-problem').textContent === 'This is not the token.'")
            viewed.log_in()
            viewed.wait_for_rows(1)
            page.focus("#filter")
            for _ in range(2):
                page.keyboard.press("Tab")
            assert "more" in viewed.focused()
            page.keyboard.press("Enter")
            [opened] = far.program.events("connection_opened")
            page.wait_for_selector(f"text={opened['connection_id']}")
            page.keyboard.press("Tab")
            assert "abort" in viewed.focused()
            page.keyboard.press("Enter")
            page.wait_for_selector("#confirm[open]")
            assert viewed.focused() == "confirm-no"  # what is pressed in a hurry does no harm
            page.keyboard.press("Escape")
            page.wait_for_selector("#confirm", state="hidden")
            assert "abort" in viewed.focused()
            assert not far.program.events("abort_asked")
            page.keyboard.press("Enter")
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            viewed.wait_for_rows(0)
            assert was_reset(app)
        assert far.program.wait_for("connection_closed")["outcome"] == "killed"


def test_without_a_token_nothing_can_be_aborted_and_nobody_is_asked_for_one(browser):
    with target(echo) as where, open_pair(where) as (_, near, _), connect(near.entry) as app:
        say(app)
        with viewing(browser, near.api) as viewed:
            viewed.wait_for_rows(1)
            assert not viewed.page.is_visible("#login")
            assert not viewed.page.is_visible(f"{ROWS} .abort")
            assert viewed.text("h1") == "sokken client"
            assert viewed.text(f"{ROWS} .name") == join(app.getsockname())
            viewed.page.wait_for_selector("#checks .tag.good")
            assert join(where) in viewed.text("#checks")


def test_a_token_stays_in_its_tab_and_goes_when_it_is_forgotten(browser, token):
    env = {"SOKKEN_ADMIN_TOKEN_FILE": str(token)}
    with target(echo) as where, open_pair(where, env) as (_, _, admin), viewing(browser, admin) as viewed:
        viewed.log_in()
        viewed.page.wait_for_selector("#state[data-state=serving]")
        viewed.page.reload()
        viewed.page.wait_for_selector("#state[data-state=serving]")
        assert viewed.page.context.cookies() == []
        assert TOKEN not in viewed.page.content()
        assert TOKEN not in viewed.page.evaluate("JSON.stringify(localStorage) + location.href")
        other = Viewed(viewed.page.context, f"http://{join(admin)}/")
        other.page.wait_for_selector("#login[open]")
        viewed.page.click("#forget")
        viewed.page.wait_for_selector("#login[open]")
        assert viewed.page.evaluate("sessionStorage.length") == 0


HOSTILE = '"><img src=x onerror="window.hit=1"><script>window.hit=1</script>'


def test_what_others_call_themselves_is_only_ever_text(browser):
    """A name in a certificate or a JWT may be anything that can be printed."""
    with server(("127.0.0.1", 1), env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}) as far:
        where = address(far.program.wait_for("admin_listening")["listen"])
        status = json.loads(exchange(where, request("/statusz", "GET", "HTTP/1.1", ("Host", "localhost"))).body)
        names = ("id", "state", "identity", "identity_method", "client_id", "tunnel", "peer", "target", "forward")
        row = dict.fromkeys((*names, "via", "server", "trace_id"), HOSTILE)
        row |= {"half_closed": None, "age_s": 1, "bytes_up": 1, "bytes_down": 1, "rate_up": 1, "rate_down": 1}
        listed = {"connections": [row], "total": 1, "matching": 1, "offset": 0, "filter": ""}
        check = {"server": HOSTILE, "passed": False, "outcome": HOSTILE, "problem": HOSTILE, "asked_s_ago": 1}
        file = {"setting": HOSTILE, "files": [HOSTILE], "result": "loaded", "problem": HOSTILE, "changed_s_ago": 1}
        status |= {"servers": [check], "files": [file], "ready": False, "not_ready": HOSTILE, "role": HOSTILE}
        status |= {"outcomes": {HOSTILE: 1}, "failures": {HOSTILE: 1}, "version": HOSTILE}
        event = f"data: {json.dumps({'status': status, 'list': listed})}\n\n"
        context = browser.new_context()
        context.route("**/events?*", lambda route: route.fulfill(content_type="text/event-stream", body=event))
        viewed = Viewed(context, f"http://{join(where)}/")
        viewed.wait_for_rows(1)
        viewed.page.click(f"{ROWS} .more")
        assert HOSTILE in viewed.text("tr.facts-row")
        assert viewed.page.evaluate(
            "[document.querySelectorAll('img[src=x], script:not([src])').length, window.hit]"
        ) == [
            0,
            None,
        ]
        context.close()


def test_what_could_run_a_foreign_script_is_forbidden(browser):
    """Not even the page's own script could be tricked into it."""
    with server(("127.0.0.1", 1), env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}) as far:
        where = address(far.program.wait_for("admin_listening")["listen"])
        with viewing(browser, where) as viewed:
            caught = "((run) => { try { run(); return 'done'; } catch (error) { return error.name; } })"
            for attempt in (
                f"document.body.insertAdjacentHTML('beforeend', `{HOSTILE}`)",
                f"document.body.innerHTML = `{HOSTILE}`",
                "document.createElement('script').text = 'window.hit = 1'",
                "document.body.setAttribute('onclick', 'window.hit = 1')",
            ):
                assert viewed.page.evaluate(f"{caught}(() => {{ {attempt} }})") == "TypeError"
            viewed.page.evaluate("document.body.setAttribute('style', 'outline: 9px solid red')")
            assert viewed.page.evaluate("getComputedStyle(document.body).outlineStyle") == "none"
            assert (
                viewed.page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', (error) => error.name)")
                == "TypeError"
            )
            viewed.complaints.clear()  # all of these were ours


def test_filter_sort_and_pages_are_kept_in_the_address(browser):
    with target(echo) as where, target(echo) as elsewhere, ExitStack() as stack:
        far = stack.enter_context(server(where, elsewhere, env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}))
        near = stack.enter_context(client(far.url(where), far.url(elsewhere)))
        admin = address(far.program.wait_for("admin_listening")["listen"])
        apps = [stack.enter_context(connect(entry)) for entry in near.entries * 30]
        for app in apps:
            say(app)
        with viewing(browser, admin) as viewed:
            page = viewed.page
            viewed.wait_for_rows(50)
            assert viewed.text("#range") == "1 to 50 of 60 connections"
            assert page.is_disabled("#previous")
            page.click("#next")
            viewed.wait_for_rows(10)
            assert page.is_disabled("#next")
            page.fill("#filter", join(elsewhere))
            viewed.until("/30 that match, of 60/.test(document.querySelector('#range').textContent)")
            viewed.wait_for_rows(30)
            page.select_option("#sort", "bytes asc")
            page.reload()
            viewed.wait_for_rows(30)
            assert page.input_value("#filter") == join(elsewhere)
            assert page.input_value("#sort") == "bytes asc"
            page.fill("#filter", "nobody at all")
            viewed.wait_for_rows(0)
            assert "No connection matches" in viewed.text("#empty")


def test_rows_stay_where_they_are_while_one_points_at_them(browser):
    with target(echo) as where, open_pair(where) as (_, near, _), ExitStack() as stack:
        apps = {}
        for _ in range(3):
            app = stack.enter_context(connect(near.entry))
            say(app)
            apps[join(app.getsockname())] = app
        with viewing(browser, near.api) as viewed:
            viewed.wait_for_rows(3)
            viewed.page.hover(f"{ROWS}:nth-child(3)")
            order = "[...document.querySelectorAll('#rows .name')].map(name => name.textContent)"
            before = viewed.page.evaluate(order)
            with chatting(apps[before[2]]):
                viewed.page.wait_for_selector(f"{ROWS}:nth-child(3) .dot.moving")
                assert viewed.page.evaluate(order) == before
                viewed.page.mouse.move(2, 2)
                viewed.page.wait_for_selector(f"{ROWS}:nth-child(1) .dot.moving")
                assert viewed.page.evaluate(order)[0] == before[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_can_be_read(browser, scheme):
    with target(echo) as where, open_pair(where) as (_, near, admin), connect(near.entry) as app:
        say(app)
        with viewing(browser, admin, color_scheme=scheme) as viewed:
            viewed.wait_for_rows(1)
            viewed.page.click("#configuration summary")
            viewed.page.wait_for_selector("#settings dt")
            ground = viewed.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
            light = sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128
            assert light == (scheme == "light")
            assert [found for found in contrast_of(viewed.page) if found[0] < CONTRAST] == []


def test_the_button_changes_the_theme_and_it_stays(browser):
    with server(("127.0.0.1", 1), env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}) as far:
        where = address(far.program.wait_for("admin_listening")["listen"])
        with viewing(browser, where, color_scheme="light") as viewed:
            dark = "getComputedStyle(document.documentElement).colorScheme"
            assert viewed.text("#theme") == "Theme: auto"
            for name, scheme in (("light", "light"), ("dark", "dark")):
                viewed.page.click("#theme")
                assert (viewed.text("#theme"), viewed.page.evaluate(dark)) == (f"Theme: {name}", scheme)
            viewed.page.reload()
            assert (viewed.text("#theme"), viewed.page.evaluate(dark)) == ("Theme: dark", "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_and_all_can_be_touched(browser, token, scheme):
    env = {"SOKKEN_ADMIN_TOKEN_FILE": str(token)}
    with target(echo) as where, open_pair(where, env) as (_, near, admin), connect(near.entry) as app:
        say(app)
        phone = {"viewport": PHONE, "color_scheme": scheme, "is_mobile": True, "has_touch": True}
        with viewing(browser, admin, **phone) as viewed:
            viewed.log_in()
            viewed.wait_for_rows(1)
            page = viewed.page
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
            for selector in (".name", ".target-name", ".age", ".number.up .rate", ".number.down .rate", ".spark"):
                box = page.locator(f"{ROWS} {selector}").first.bounding_box()
                assert box["x"] >= 0, selector
                assert box["x"] + box["width"] <= PHONE["width"], selector
            for button in page.locator("button:visible, input:visible, select:visible").all():
                assert button.bounding_box()["height"] >= 36
            page.tap(f"{ROWS} .more")
            page.wait_for_selector("tr.facts-row dd")
            page.tap(f"{ROWS} .abort")
            page.tap("#confirm button.danger")
            viewed.wait_for_rows(0)


def test_everything_that_can_be_operated_has_a_name_and_the_page_its_landmarks(browser, token):
    env = {"SOKKEN_ADMIN_TOKEN_FILE": str(token)}
    with target(echo) as where, open_pair(where, env) as (_, near, admin), connect(near.entry) as app:
        say(app)
        with viewing(browser, admin) as viewed:
            viewed.log_in()
            viewed.wait_for_rows(1)
            tree = viewed.page.locator("body").aria_snapshot()
            for found in ("- banner:", "- main:", "- table", "- navigation", '- heading "Connections"', "- status:"):
                assert found in tree, tree
            assert not re.search(r"- (button|textbox|searchbox|combobox|link)(:|$)", tree, re.MULTILINE), tree
            assert 'button "Abort laptop-7 to' in tree
            viewed.page.focus("body")
            viewed.page.keyboard.press("Tab")
            assert "skip" in viewed.focused()
            viewed.page.keyboard.press("Enter")
            viewed.until("document.activeElement.id === 'list'")


def test_still_pictures_for_who_wants_none_that_move(browser):
    with server(("127.0.0.1", 1), env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}) as far:
        where = address(far.program.wait_for("admin_listening")["listen"])
        with viewing(browser, where, reduced_motion="reduce") as viewed:
            viewed.page.wait_for_selector("#state[data-state=serving]")
            every = "[...document.querySelectorAll('*')]"
            assert viewed.page.evaluate(f"{every}.flatMap(one => one.getAnimations({{subtree: true}})).length") == 0
            slow = "filter(one => getComputedStyle(one).transitionDuration !== '0s')"
            assert viewed.page.evaluate(f"{every}.{slow}.length") == 0


def test_a_drain_is_told_and_the_page_finds_the_next_program(browser):
    with target(echo) as where, ExitStack() as stack:
        far = stack.enter_context(server(where, env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}))
        admin = address(far.program.wait_for("admin_listening")["listen"])
        near = stack.enter_context(client(far.url(where)))
        with connect(near.entry) as app, viewing(browser, admin) as viewed:
            say(app)
            viewed.wait_for_rows(1)
            far.program.signal(15)
            viewed.page.wait_for_selector("#state[data-state=draining]")
            assert re.search(r"draining: nothing new comes in, and what is open has \d+ s left", viewed.text("#notice"))
            app.close()
            viewed.page.wait_for_selector("#state[data-state=lost]")
            assert far.program.wait() == 0
            with server(where, env={"SOKKEN_ADMIN_ADDR": join(admin)}):
                viewed.page.wait_for_selector("#state[data-state=serving]")
            viewed.complaints[:] = [said for said in viewed.complaints if "ERR_" not in said]


def test_a_hidden_tab_asks_for_nothing(browser):
    """Of its sixteen places, a program gives one to nobody who does not look."""
    with server(("127.0.0.1", 1), env={"SOKKEN_ADMIN_ADDR": "127.0.0.1:0"}) as far:
        where = address(far.program.wait_for("admin_listening")["listen"])
        with viewing(browser, where) as viewed:
            viewed.page.wait_for_selector("#state[data-state=serving]")
            before = far.program.descriptors()
            viewed.page.evaluate(
                "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
                "document.dispatchEvent(new Event('visibilitychange'))"
            )
            eventually(lambda: far.program.descriptors() < before)
            viewed.page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
            eventually(lambda: far.program.descriptors() >= before)


def test_the_pictures_in_the_documents_are_there_and_small():
    for theme in ("light", "dark"):
        picture = Path(__file__).parents[2] / f"docs/status-page-{theme}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < 200 * 1024


def test_a_page_that_is_watched_for_a_while_does_not_grow(browser):
    """Connections come and go: what the page holds is bounded by what it shows."""
    with target(echo) as where, open_pair(where) as (_, near, admin), viewing(browser, admin) as viewed:
        viewed.page.wait_for_selector("#state[data-state=serving]")
        until = time.monotonic() + 6
        while time.monotonic() < until:
            with connect(near.entry) as app:
                say(app)
        viewed.wait_for_rows(0)
        assert viewed.page.evaluate("document.querySelectorAll('*').length") < 200
