import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.identity import (
    CLIENT_ID,
    CONNECTION_ID,
    REASON,
    TUNNEL,
    VERSION,
    Claims,
    format_uuid7,
    is_claim,
    is_connection_id,
    parse_claims,
)

UUID7 = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"  # the example of RFC 9562 appendix A.6
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/@-"


def test_the_header_names_are_those_of_the_protocol() -> None:
    assert (CLIENT_ID, TUNNEL, CONNECTION_ID, VERSION, REASON) == (
        "Sokken-Client-Id",
        "Sokken-Tunnel",
        "Sokken-Connection-Id",
        "Sokken-Version",
        "Sokken-Reason",
    )


@given(st.text(ALPHABET, min_size=1, max_size=128))
def test_a_claim_is_any_text_of_its_alphabet(text: str) -> None:
    assert is_claim(text)
    assert not is_claim(text + "\n")
    assert not is_claim(text + " ")


@pytest.mark.parametrize("text", ["", "a" * 129, "a b", "a\n", "é", "a+b", "a\x00", "٣", 'a"', "a,b", "<a>"])
def test_anything_else_is_no_claim(text: str) -> None:
    assert not is_claim(text)


def test_a_claim_may_have_128_characters() -> None:
    assert is_claim("a" * 128)


def test_the_example_of_the_rfc() -> None:
    assert format_uuid7(1645557742000, bytes.fromhex("0cc318c4dc0c0c07398f")) == UUID7
    assert is_connection_id(UUID7)


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_connection_id_is_a_uuid_of_version_7(unix_ms: int, random: bytes) -> None:
    text = format_uuid7(unix_ms, random)
    parsed = uuid.UUID(text)
    assert is_connection_id(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == unix_ms
    assert parsed.int & ((1 << 62) - 1) == int.from_bytes(random[2:]) & ((1 << 62) - 1)
    assert (parsed.int >> 64) & 0xFFF == int.from_bytes(random[:2]) & 0xFFF


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_later_ids_sort_later(unix_ms: int, one: bytes, two: bytes) -> None:
    assert format_uuid7(unix_ms, one) < format_uuid7(unix_ms + 1, two)


@pytest.mark.parametrize(("unix_ms", "random"), [(-1, bytes(10)), (2**48, bytes(10)), (0, b""), (0, bytes(16))])
def test_what_does_not_fit_a_uuid_is_a_programming_error(unix_ms: int, random: bytes) -> None:
    with pytest.raises(ValueError, match="UUIDv7"):
        format_uuid7(unix_ms, random)


@pytest.mark.parametrize(
    "text",
    [
        "",
        UUID7.upper(),
        UUID7.replace("-", ""),
        f"{{{UUID7}}}",
        f"urn:uuid:{UUID7}",
        UUID7 + "\n",
        UUID7[:-1],
        UUID7.replace("-7cc3-", "-4cc3-"),
        UUID7.replace("-98c4-", "-18c4-"),
        UUID7.replace("-98c4-", "-c8c4-"),
    ],
)
def test_any_other_form_is_no_connection_id(text: str) -> None:
    assert not is_connection_id(text)


def test_claims_are_read_from_their_headers() -> None:
    headers = {CLIENT_ID: "laptop", TUNNEL: "db/main", CONNECTION_ID: UUID7, VERSION: "1.2.0+git.abc"}
    assert parse_claims(headers) == Claims("laptop", "db/main", UUID7, "1.2.0+git.abc")


def test_absent_claims_are_none() -> None:
    assert parse_claims({}) == Claims(None, None, None, None)
    assert parse_claims(dict.fromkeys((CLIENT_ID, TUNNEL, CONNECTION_ID, VERSION), "")) == Claims(
        None, None, None, None
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (CLIENT_ID, "a b"),
        (TUNNEL, "x" * 129),
        (CONNECTION_ID, UUID7.upper()),
        (VERSION, "1" * 65),
        (VERSION, "1.0\x1b[2J"),
    ],
)
def test_a_malformed_claim_is_none_and_the_others_stay(name: str, value: str) -> None:
    good = {CLIENT_ID: "laptop", TUNNEL: "db", CONNECTION_ID: UUID7, VERSION: "1.0"}
    claims = parse_claims(good | {name: value})
    fields = {
        CLIENT_ID: claims.client_id,
        TUNNEL: claims.tunnel,
        CONNECTION_ID: claims.connection_id,
        VERSION: claims.version,
    }
    assert fields == good | {name: None}
