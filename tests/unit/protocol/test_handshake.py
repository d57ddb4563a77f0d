import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from sokken.protocol.address import parse_server_url
from sokken.protocol.handshake import (
    MAX_HEAD_BYTES,
    Answer,
    Fields,
    HandshakeError,
    accept_key,
    find_target,
    format_check_request,
    format_refusal,
    format_switching_protocols,
    format_upgrade_request,
    head_end,
    parse_answer,
    parse_request,
    select_subprotocol,
    suspect_head,
    validate_origin,
    validate_upgrade_request,
    verify_upgrade,
)
from sokken.protocol.outcomes import STATUS, Reason, Refusal

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the example of RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
URL = parse_server_url("ws://machine-b:8000/tunnel/127.0.0.1:22")
TOKENS = st.text("!#$%&'*+-.^_`|~" + "abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=30)
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)


def upgrade_headers(**changes: str | None) -> CIMultiDict[str]:
    headers = {
        "Host": "machine-b:8000",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Protocol": "sokken.v2, sokken",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    return CIMultiDict((name, value) for name, value in headers.items() if value is not None)


def opened(**changes: str | None) -> Answer:
    headers = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-accept": ACCEPT,
        "sec-websocket-protocol": "sokken.v2",
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    kept = {name: value for name, value in headers.items() if value is not None}
    return Answer(101, "Switching Protocols", kept)


def fields(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines[1:])]


def all_that_was_read(head: bytes) -> str:
    try:
        answer = parse_answer(head)
    except HandshakeError as error:
        return error.detail
    return answer.phrase + "".join(answer.headers) + "".join(answer.headers.values())


# The key


def test_the_accept_key_is_that_of_the_rfc() -> None:
    assert accept_key(KEY) == ACCEPT


# What the client writes


def test_the_upgrade_request_is_that_of_the_rfc() -> None:
    request = format_upgrade_request(URL, KEY, {"Sokken-Client-Id": "laptop", "Authorization": "Bearer x"})
    assert request == (
        b"GET /tunnel/127.0.0.1:22 HTTP/1.1\r\n"
        b"Host: machine-b:8000\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: sokken.v2, sokken\r\n"
        b"Sokken-Client-Id: laptop\r\n"
        b"Authorization: Bearer x\r\n"
        b"\r\n"
    )


def test_the_check_request_upgrades_nothing() -> None:
    request = format_check_request(URL, {"Sokken-Client-Id": "laptop"})
    assert request == (
        b"HEAD /tunnel/127.0.0.1:22 HTTP/1.1\r\n"
        b"Host: machine-b:8000\r\n"
        b"Connection: close\r\n"
        b"Sokken-Client-Id: laptop\r\n"
        b"\r\n"
    )


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\n", "a\r", "a\0", "\x1b[2J", "é", "…", "\x7f", "\x85"])
def test_no_header_smuggles_another(value: str) -> None:
    refusal = Refusal(Reason.NOT_FOUND, "no")
    for name, held in (("X-Header", value), (f"X{value}", "1")):
        with pytest.raises(ValueError, match="printable ASCII"):
            format_upgrade_request(URL, KEY, {name: held})
        with pytest.raises(ValueError, match="printable ASCII"):
            format_check_request(URL, {name: held})
        with pytest.raises(ValueError, match="printable ASCII"):
            format_switching_protocols(KEY, "sokken", {name: held})
        with pytest.raises(ValueError, match="printable ASCII"):
            format_refusal(refusal, {name: held})
    with pytest.raises(ValueError, match="printable ASCII"):
        format_upgrade_request(URL, value, {})


def test_the_error_about_a_header_does_not_hold_its_value() -> None:
    with pytest.raises(ValueError, match="'Authorization'") as caught:
        format_upgrade_request(URL, KEY, {"X": "1", "Authorization": "Bearer s3cret\n"})
    assert "s3cret" not in str(caught.value)


# Where a head ends


@pytest.mark.parametrize(
    ("buffer", "end"),
    [
        (b"", -1),
        (b"GET / HTTP/1.1\r\n", -1),
        (b"GET / HTTP/1.1\r\n\r", -1),
        (b"GET / HTTP/1.1\r\n\r\n", 18),
        (b"GET / HTTP/1.1\r\n\r\nmore\r\n\r\n", 18),
        (b"GET / HTTP/1.1\n\n", -1),
        (b"GET / HTTP/1.1\r\n\n", -1),
        (b"\r\n\r\n", 4),
    ],
)
def test_a_head_ends_after_its_blank_line(buffer: bytes, end: int) -> None:
    assert head_end(buffer) == end
    assert head_end(bytearray(buffer)) == end


@given(st.binary(max_size=40), st.binary(max_size=20))
def test_a_head_cut_anywhere_ends_at_the_same_place(start: bytes, rest: bytes) -> None:
    whole = start + b"\r\n\r\n" + rest
    end = head_end(whole)
    searched = 0
    for size in range(len(whole) + 1):
        found = head_end(whole[:size], searched)
        assert found == (end if size >= end else -1)
        if found >= 0:
            break
        searched = size


def head_of(*fields: str) -> bytes:
    return "\r\n".join(["GET /tunnel/a:1 HTTP/1.1", "Host: b", *fields, "", ""]).encode()


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 5",),
        ("content-length: 00",),
        ("Content-Length: 0", "Content-Length: 5"),
        ("Content-Length: 0, 5",),
        ("Content-Length:",),
        ("Transfer-Encoding: chunked",),
        ("transfer-encoding: identity",),
        ("Expect: 100-continue",),
    ],
)
def test_a_request_with_a_body_is_not_for_tunnels(fields: tuple[str, ...]) -> None:
    assert parse_request(head_of(*fields)) is None


def test_a_request_without_one_is() -> None:
    for fields in ((), ("Content-Length: 0",), ("Content-Length: 0", "Content-Length: 0")):
        request = parse_request(head_of(*fields))
        assert request is not None
        assert (request.method, request.target, request.version) == ("GET", "/tunnel/a:1", (1, 1))


# What is no HTTP/1 request


@pytest.mark.parametrize(
    ("buffer", "words"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", "TLS"),
        (b"\x16", "TLS"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"),
        (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", "PROXY"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "PROXY"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "starts with"),
        (b"\r\nGET / HTTP/1.1", "starts with"),
        (b" GET / HTTP/1.1", "starts with"),
        (b"\x00", "starts with"),
        (b"GE\xff", "starts with"),
        (b"GET\t/", "starts with"),
        (b"A" * 33, "starts with"),
        (b"AUTH s3cr3t\r\n", "starts with b'AUTH'"),
        (b"AUTH me s3cr3t\r\n", "starts with b'AUTH'"),
        (b"\0\0\0\x10me\0of\0s3cr3t-is-behind\0", "starts with b'\\x00"),
        (b"A" * MAX_HEAD_BYTES, "starts with"),
        (b"(", "starts with"),
        (b"\r\n\r\n", "starts with"),
        (b"GET /health\r\n", "request line"),
        (b"GET /health HTTP/0.9\r\n", "request line"),
        (b"GET /health HTTP/2.0\r\n", "request line"),
        (b"GET /health  HTTP/1.1\r\n", "request line"),
        (b"GET  HTTP/1.1\r\n", "request line"),
        (b"GET /#a HTTP/1.1\r\n", "request line"),
        (b"GET /\xc3\xbc HTTP/1.1\r\n", "request line"),
        (b"GET /\x00 HTTP/1.1\r\n", "request line"),
        (b"GET / HTTP/1.1 \r\n", "request line"),
        (b"GET /" + b"\xff" * 9999 + b"\r\n", "request line"),
        (b"GET / HTTP/1.1\n", "LF alone"),
        (b"GET / HTTP/1.1\r\nHost: a\n", "LF alone"),
        (b"GET / HTTP/1.1\r\n\n", "LF alone"),
    ],
)
def test_what_can_never_be_http_is_told_at_once(buffer: bytes, words: str) -> None:
    for given_as in (buffer, bytearray(buffer)):
        why = suspect_head(given_as)
        assert why is not None
        assert words in why
        assert why.isprintable()
        assert len(why) < 200
        assert "s3cr3t-" not in why
        assert "s3cr3t\\r" not in why


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /tunnel/[::1]:22 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /tunnel/%31:22?a=b&c HTTP/1.0\r\n",
        b"HEAD / HTTP/1.1\r\nHost: ",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET http://a/health HTTP/1.1\r\n",
        b"PRI * HTTP/1.1",
        b"M-SEARCH * HTTP/1.1",
        b"A" * 32 + b" ",
    ],
)
def test_what_may_become_http_is_never_suspect(request_line: bytes) -> None:
    for size in range(len(request_line) + 1):
        assert suspect_head(request_line[:size]) is None


def test_a_bare_lf_is_found_at_a_cut() -> None:
    start = b"GET / HTTP/1.1\r\nHost: a"
    assert suspect_head(start + b"\n", len(start)) is not None
    assert suspect_head(start + b"\r\n", len(start) + 1) is None


@given(st.binary(max_size=60))
def test_suspicion_never_goes_away_with_more_bytes(buffer: bytes) -> None:
    suspect = [suspect_head(buffer[:size]) is not None for size in range(len(buffer) + 1)]
    assert suspect == sorted(suspect)


# How the client reads an answer


def test_an_answer_is_read() -> None:
    answer = parse_answer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nX-Odd:\t a b \t\r\nEmpty:\r\n\r\n")
    assert answer == Answer(404, "Not Found", {"content-length": "0", "x-odd": "a b", "empty": ""})


@pytest.mark.parametrize(
    ("line", "status", "phrase"),
    [
        (b"HTTP/1.1 200 OK", 200, "OK"),
        (b"HTTP/1.0 200 OK", 200, "OK"),
        (b"HTTP/1.1 200 ", 200, ""),
        (b"HTTP/1.1 200", 200, ""),
        (b"HTTP/1.1 599 A B  C", 599, "A B  C"),
        (b"HTTP/1.1 404 Introuvabl\xe9", 404, "Introuvablé"),
        (b"HTTP/1.1 404 A\tB", 404, "A\tB"),
    ],
)
def test_status_lines(line: bytes, status: int, phrase: str) -> None:
    assert parse_answer(line + b"\r\n\r\n") == Answer(status, phrase, {})


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b" HTTP/1.1 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: value\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName : value\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nN\xe9: value\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \x1b[2J\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\x7f\r\n\r\n",
        b"HTTP/1.1 200 \x07\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nC: d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 128 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * MAX_HEAD_BYTES + b"\r\n\r\n",
    ],
)
def test_any_other_answer_is_an_error_in_one_printable_line(head: bytes) -> None:
    for given_as in (head, bytearray(head)):
        with pytest.raises(HandshakeError) as caught:
            parse_answer(given_as)
        assert str(caught.value) == caught.value.detail
        assert caught.value.detail.isprintable()
        assert len(caught.value.detail) < 500


def test_repeated_fields_are_joined_in_their_order() -> None:
    answer = parse_answer(b"HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nB: x\r\nA: 3\r\n\r\n")
    assert answer.headers == {"a": "1, 2, 3", "b": "x"}


def test_what_a_terminal_takes_for_a_control_never_comes_out() -> None:
    answer = parse_answer(b"HTTP/1.1 200 \x9b2J\r\nA: \xc3\xa9 \xe2\x80\xa6 \x85\r\n\r\n")
    assert answer == Answer(200, "\ufffd2J", {"a": "Ã© â\ufffd¦ \ufffd"})


def test_as_many_fields_as_allowed_are_read() -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(127)) + b"\r\n"
    assert len(parse_answer(head).headers) == 127


@given(st.binary(max_size=100))
def test_no_answer_breaks_the_reader(noise: bytes) -> None:
    for head in (noise + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nA:" + noise + b"\r\n\r\n"):
        text = all_that_was_read(head)
        assert not any(ord(c) < 0x20 and c != "\t" for c in text)
        assert not any(0x7F <= ord(c) < 0xA0 for c in text)


@given(st.dictionaries(TOKENS, PRINTABLE.map(lambda text: text.strip(" ")), max_size=10))
def test_what_is_written_is_read(headers: dict[str, str]) -> None:
    ours = {
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-accept": ACCEPT,
        "sec-websocket-protocol": "sokken",
    }
    theirs = {f"x-{name}": value for name, value in headers.items()}
    answer = parse_answer(format_switching_protocols(KEY, "sokken", theirs))
    assert answer == Answer(101, "Switching Protocols", ours | theirs)


def test_a_hostile_head_is_read_in_linear_time() -> None:
    room = MAX_HEAD_BYTES - 40
    bodies = [b"A:\r\n" * (room // 4), b"A: " + b"\t" * room, b"A" * room + b":", b"A:" + b"," * room, b" " * room]
    heads = [b"HTTP/1.1 200 OK\r\n" + body + b"\r\n\r\n" for body in bodies]
    started = time.process_time()
    for head in heads:
        all_that_was_read(head)
        suspect_head(head)
        suspect_head(b"A" * room)
        assert select_subprotocol("," * room) is None
    assert time.process_time() - started < 0.5


# Whether an answer opens the WebSocket


@pytest.mark.parametrize("subprotocol", ["sokken.v2", "sokken"])
def test_an_upgrade_is_verified(subprotocol: str) -> None:
    assert verify_upgrade(opened(sec_websocket_protocol=subprotocol), KEY) == subprotocol


@pytest.mark.parametrize(
    "changes",
    [
        {"upgrade": "WebSocket"},
        {"connection": "keep-alive, UPGRADE"},
        {"sec_websocket_extensions": ""},
        {"sokken_connection_id": "x"},
    ],
)
def test_an_upgrade_may_be_spelled_otherwise(changes: dict[str, str]) -> None:
    assert verify_upgrade(opened(**changes), KEY) == "sokken.v2"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"upgrade": None}, "without the upgrade"),
        ({"upgrade": "h2c"}, "without the upgrade"),
        ({"connection": None}, "without the upgrade"),
        ({"connection": "close"}, "without the upgrade"),
        ({"sec_websocket_accept": None}, "Sec-WebSocket-Accept"),
        ({"sec_websocket_accept": ACCEPT.lower()}, "Sec-WebSocket-Accept"),
        ({"sec_websocket_accept": f"{ACCEPT}, {ACCEPT}"}, "Sec-WebSocket-Accept"),
        ({"sec_websocket_extensions": "permessage-deflate"}, "extensions"),
        ({"sec_websocket_protocol": None}, "none of sokken.v2, sokken"),
        ({"sec_websocket_protocol": "chat\u202e"}, r"but 'chat\u202e'"),
        ({"sec_websocket_protocol": "Sokken"}, "but 'Sokken'"),
        ({"sec_websocket_protocol": "sokken, sokken"}, "but 'sokken, sokken'"),
        ({"sec_websocket_protocol": "x" * 9999}, "xxx…'"),
    ],
)
def test_what_opens_no_websocket_of_ours_is_an_error(changes: dict[str, str | None], words: str) -> None:
    with pytest.raises(HandshakeError) as caught:
        verify_upgrade(opened(**changes), KEY)
    assert words in caught.value.detail
    assert len(caught.value.detail) < 300


def test_an_upgrade_has_status_101() -> None:
    with pytest.raises(HandshakeError, match="200, not 101"):
        verify_upgrade(Answer(200, "OK", opened().headers), KEY)


def test_another_key_is_not_accepted() -> None:
    with pytest.raises(HandshakeError, match="Sec-WebSocket-Accept"):
        verify_upgrade(opened(), base64.b64encode(bytes(16)).decode())


# What the server takes


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (None, None),
        ("", None),
        ("chat", None),
        ("sokken", "sokken"),
        ("sokken.v2", "sokken.v2"),
        ("sokken.v2, sokken", "sokken.v2"),
        ("sokken,sokken.v2", "sokken.v2"),
        (" sokken\t,chat", "sokken"),
        ("chat , sokken.v2", "sokken.v2"),
        ("sokken.v3, sokken", "sokken"),
        ("Sokken", None),
        ("sokkenX, sokken v2", None),
    ],
)
def test_the_newest_subprotocol_is_selected_wherever_it_stands(offered: str | None, selected: str | None) -> None:
    assert select_subprotocol(offered) == selected


def test_a_request_for_a_tunnel_is_valid() -> None:
    assert validate_upgrade_request((1, 1), upgrade_headers(), ()) == (KEY, "sokken.v2")
    assert validate_upgrade_request((1, 1), dict(upgrade_headers()), ()) == (KEY, "sokken.v2")


@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": "WebSocket"},
        {"Upgrade": "h2c, websocket"},
        {"Connection": "keep-alive, Upgrade"},
        {"Connection": "upgrade"},
        {"Sec_WebSocket_Extensions": "permessage-deflate"},
        {"Host": None},
    ],
)
def test_a_request_may_be_spelled_otherwise(changes: dict[str, str | None]) -> None:
    assert validate_upgrade_request((1, 1), upgrade_headers(**changes), ()) == (KEY, "sokken.v2")


def test_repeated_fields_of_a_request_all_count() -> None:
    headers = upgrade_headers(Connection="keep-alive", Sec_WebSocket_Protocol="sokken")
    headers.add("Connection", "Upgrade")
    headers.add("Sec-WebSocket-Protocol", "sokken.v2")
    assert validate_upgrade_request((1, 1), headers, ()) == (KEY, "sokken.v2")


def test_two_keys_are_none() -> None:
    headers = upgrade_headers()
    headers.add("Sec-WebSocket-Key", KEY)
    with pytest.raises(Refusal, match="Sec-WebSocket-Key"):
        validate_upgrade_request((1, 1), headers, ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Upgrade": None}, "open it with a WebSocket"),
        ({"Upgrade": "h2c"}, "open it with a WebSocket"),
        ({"Connection": None}, "Connection: Upgrade is missing"),
        ({"Connection": "close"}, "Connection: Upgrade is missing"),
        ({"Sec_WebSocket_Version": None}, "must be 13"),
        ({"Sec_WebSocket_Version": "8"}, "must be 13"),
        ({"Sec_WebSocket_Version": "13, 8"}, "must be 13"),
        ({"Sec_WebSocket_Key": None}, "16 bytes"),
        ({"Sec_WebSocket_Key": ""}, "16 bytes"),
        ({"Sec_WebSocket_Key": KEY[:-1]}, "16 bytes"),
        ({"Sec_WebSocket_Key": "A" * 24}, "16 bytes"),
        ({"Sec_WebSocket_Key": KEY + "\n"}, "16 bytes"),
        ({"Sec_WebSocket_Protocol": None}, "sokken.v2, sokken"),
        ({"Sec_WebSocket_Protocol": "chat"}, "sokken.v2, sokken"),
    ],
)
def test_any_other_request_is_a_bad_one(changes: dict[str, str | None], words: str) -> None:
    with pytest.raises(Refusal) as caught:
        validate_upgrade_request((1, 1), upgrade_headers(**changes), ())
    assert caught.value.reason == Reason.BAD_REQUEST
    assert words in caught.value.detail


@pytest.mark.parametrize("version", [(0, 9), (1, 0)])
def test_old_http_opens_no_websocket(version: tuple[int, int]) -> None:
    with pytest.raises(Refusal, match=r"HTTP/1\.1") as caught:
        validate_upgrade_request(version, upgrade_headers(), ())
    assert caught.value.reason == Reason.BAD_REQUEST


@given(st.binary(min_size=16, max_size=16))
def test_every_key_is_taken_as_it_is(key: bytes) -> None:
    text = base64.b64encode(key).decode()
    assert validate_upgrade_request((1, 1), upgrade_headers(Sec_WebSocket_Key=text), ())[0] == text


def test_only_pages_of_allowed_origins_are_let_in() -> None:
    allowed = frozenset({"https://console.example"})
    headers = upgrade_headers(Origin="https://console.example")
    assert validate_upgrade_request((1, 1), headers, allowed) == (KEY, "sokken.v2")
    validate_origin(headers, allowed)
    for origin in ("https://evil.example", "null", "", "https://console.example.evil.example"):
        headers = upgrade_headers(Origin=origin)
        for attempt in (
            lambda headers=headers: validate_upgrade_request((1, 1), headers, allowed),
            lambda headers=headers: validate_origin(headers, allowed),
        ):
            with pytest.raises(Refusal) as caught:
                attempt()
            assert (caught.value.reason, caught.value.status) == (Reason.FORBIDDEN_ORIGIN, 403)


def test_no_page_is_let_in_by_default() -> None:
    with pytest.raises(Refusal) as caught:
        validate_upgrade_request((1, 1), upgrade_headers(Origin="http://localhost" + "x" * 9999), ())
    assert caught.value.reason == Reason.FORBIDDEN_ORIGIN
    assert len(caught.value.detail) < 300


def test_without_an_origin_nobody_is_refused_for_it() -> None:
    validate_origin(upgrade_headers(), ())


@given(TOKENS, PRINTABLE)
def test_the_servers_check_takes_the_clients_request(name: str, value: str) -> None:
    request = format_upgrade_request(URL, KEY, {f"x-{name}": value})
    assert head_end(request) == len(request)
    assert suspect_head(request) is None
    headers = CIMultiDict(fields(request))
    assert validate_upgrade_request((1, 1), headers, ()) == (KEY, "sokken.v2")
    assert headers["Host"] == "machine-b:8000"


# What the server writes


def test_the_answer_that_opens_the_websocket() -> None:
    answer = format_switching_protocols(KEY, "sokken.v2", {"Sokken-Connection-Id": "x"})
    assert answer == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: sokken.v2\r\n"
        b"Sokken-Connection-Id: x\r\n"
        b"\r\n"
    )
    assert verify_upgrade(parse_answer(answer), KEY) == "sokken.v2"


def test_a_refusal_is_a_whole_answer() -> None:
    refusal = Refusal(Reason.SERVER_FULL, "100 of 100 connections are in use", 1)
    whole = format_refusal(refusal, {"Sokken-Connection-Id": "x"})
    end = head_end(whole)
    assert parse_answer(whole[:end]) == Answer(
        429,
        "Too Many Requests",
        {
            "content-type": "application/problem+json",
            "content-length": str(len(whole) - end),
            "server": "sokken",
            "connection": "close",
            "sokken-reason": "server_full",
            "retry-after": "1",
            "sokken-connection-id": "x",
        },
    )
    assert json.loads(whole[end:]) == {
        "type": "about:blank",
        "title": "Too Many Requests",
        "status": 429,
        "detail": "100 of 100 connections are in use",
        "reason": "server_full",
    }


@pytest.mark.parametrize("reason", Reason)
def test_every_refusal_says_what_the_protocol_wants(reason: Reason) -> None:
    whole = format_refusal(Refusal(reason, "no"), {})
    answer = parse_answer(whole[: head_end(whole)])
    assert answer.status == STATUS[reason]
    assert answer.headers["sokken-reason"] == reason.value
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == ("1" if answer.status in (429, 503) else None)


@given(st.text(max_size=80))
def test_any_detail_fits_the_body(detail: str) -> None:
    whole = format_refusal(Refusal(Reason.BAD_REQUEST, detail), {})
    end = head_end(whole)
    assert int(parse_answer(whole[:end]).headers["content-length"]) == len(whole) - end
    assert json.loads(whole[end:])["detail"] == detail


def test_who_proved_nothing_is_asked_for_a_token() -> None:
    whole = format_refusal(Refusal(Reason.UNAUTHENTICATED, "no token was shown"), {})
    assert parse_answer(whole[: head_end(whole)]).headers["www-authenticate"] == "Bearer"


# Requests, as the server reads those for tunnels

REQUEST = b"GET /tunnel/a:1?x HTTP/1.1\r\nHost: b\r\nX-Forwarded-For: 192.0.2.1\r\nx-forwarded-for:\t192.0.2.2 \r\n\r\n"


def test_a_request_is_read() -> None:
    request = parse_request(REQUEST)
    assert request is not None
    assert (request.method, request.target, request.version) == ("GET", "/tunnel/a:1?x", (1, 1))
    fields = request.fields
    assert (fields["HOST"], fields.get("Host"), fields.get("none"), fields.get("none", "x")) == ("b", "b", None, "x")
    assert fields.getall("X-Forwarded-For") == ["192.0.2.1", "192.0.2.2"]
    assert (fields.get("x-forwarded-for"), fields.getall("none", ["x"])) == ("192.0.2.1", ["x"])
    assert ("host" in fields, "none" in fields, list(fields), len(fields)) == (
        True,
        False,
        ["host", "x-forwarded-for"],
        2,
    )
    assert repr(fields) == "<Fields host, x-forwarded-for>"
    assert parse_request(REQUEST.replace(b"/1.1", b"/1.0")).version == (1, 0)


def test_fields_are_collected_as_they_came() -> None:
    fields = Fields.of([("A", "1"), ("b", "2"), ("a", "3")])
    assert (fields.getall("A"), fields.getall("B")) == (["1", "3"], ["2"])


@pytest.mark.parametrize(
    "spoilt",
    [
        REQUEST[:-1],
        REQUEST.replace(b"GET ", b"GET  "),
        REQUEST.replace(b"GET ", b"G@T "),
        REQUEST.replace(b"HTTP/1.1", b"HTTP/2.0"),
        REQUEST.replace(b"/a:1", b"/a#1"),
        REQUEST.replace(b"/a:1", b"/\xc3\xa4:1"),
        REQUEST.replace(b"Host: b\r\n", b""),
        REQUEST.replace(b"Host: b\r\n", b"Host: b\r\nHost: b\r\n"),
        REQUEST.replace(b"Host: b", b"Host : b"),
        REQUEST.replace(b"Host: b", b"Host b"),
        REQUEST.replace(b"Host: b", b"Host: b\r\n folded"),
        REQUEST.replace(b"Host: b", b"Host: b\nX: y"),
        REQUEST.replace(b"Host: b", b"Host: b\rX: y"),
        REQUEST.replace(b"Host: b", b"Host: b\0"),
        REQUEST.replace(b"Host: b\r\n", b"Host: b\r\n" + b"X: y\r\n" * 128),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n",
    ],
)
def test_a_request_that_needs_leniency_is_not_read(spoilt) -> None:
    assert parse_request(REQUEST) is not None
    assert parse_request(spoilt) is None


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_not(noise) -> None:
    at = len(noise) % len(REQUEST)
    for head in (noise, REQUEST[:at] + noise + REQUEST[at:]):
        request = parse_request(head)
        assert request is None or head.startswith(f"{request.method} {request.target} ".encode("latin-1"))


@pytest.mark.parametrize(
    ("target", "asked"),
    [
        ("/x/tunnel/a:1", "a:1"),
        ("/x/tunnel/a:1?query", "a:1"),
        ("/x/tunnel/%5B::1%5D%3a22", "[::1]:22"),
        ("/x%2Ftunnel/a:1", None),
        ("/x/tunnel%2Fa:1", None),
        ("/x/tunnel/", ""),
        ("http://server.test/x/tunnel/a:1", "a:1"),
        ("https://[::1]:8000/x/tunnel/a:1", "a:1"),
        ("http:///x/tunnel/a:1", None),
        ("http://a:b/x/tunnel/a:1", None),
        ("http://u@a/x/tunnel/a:1", None),
        ("/tunnel/a:1", None),
        ("/X/tunnel/a:1", None),
        ("/x/tunnel", None),
        ("/?/x/tunnel/a:1", None),
        ("*", None),
    ],
)
def test_the_target_of_a_path(target, asked) -> None:
    assert find_target(target, "/x/tunnel/") == asked
