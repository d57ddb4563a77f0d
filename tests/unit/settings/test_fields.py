"""Each kind of setting: which texts it takes, and what it says of others."""

from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from sokken.protocol.address import Address, parse_forward
from sokken.settings import fields


def value_of(kind, text):
    return TypeAdapter(kind).validate_python(text)


def complaint(kind, text):
    with pytest.raises(ValidationError) as caught:
        value_of(kind, text)
    return caught.value.errors()[0]


@pytest.mark.parametrize("text", ["1", "true", "TRUE", "yes", "on"])
def test_a_switch_is_on(text):
    assert value_of(fields.Switch, text) is True


@pytest.mark.parametrize("text", ["0", "false", "False", "no", "off"])
def test_a_switch_is_off(text):
    assert value_of(fields.Switch, text) is False


@pytest.mark.parametrize(
    ("kind", "least", "too_little"),
    [
        (fields.Connections, "1", "0"),
        (fields.Days, "1", "0"),
        (fields.Files, "0", "-1"),
        (fields.Megabytes, "1", "0"),
        (fields.MessageBytes, "1024", "1023"),
        (fields.Seconds, "1", "0.9"),
        (fields.SecondsFromZero, "0", "-0.1"),
    ],
)
def test_numbers_have_a_least(kind, least, too_little):
    assert value_of(kind, least) == float(least)
    assert complaint(kind, too_little)["type"] == "greater_than_equal"


def test_a_message_has_a_most():
    assert value_of(fields.MessageBytes, "16777216") == 16 * 1024 * 1024
    assert complaint(fields.MessageBytes, "16777217")["type"] == "less_than_equal"


@pytest.mark.parametrize("kind", [fields.Seconds, fields.SecondsFromZero])
@pytest.mark.parametrize("text", ["inf", "nan", "10s", "", "1,5"])
def test_seconds_are_a_finite_number(kind, text):
    assert complaint(kind, text)["type"] in {"finite_number", "float_parsing"}
    assert value_of(kind, "1.5") == 1.5


def test_a_path_may_be_taken_back():
    assert value_of(fields.OptionalPath, "/var/log/x") == Path("/var/log/x")
    assert value_of(fields.OptionalPath, "") is None
    assert value_of(fields.OptionalPath, None) is None


def test_a_claim_has_the_alphabet_of_the_wire():
    assert value_of(fields.Claim, "team/a:1@b_c-d.e") == "team/a:1@b_c-d.e"
    assert value_of(fields.OptionalClaim, "") is None
    for text in ["a b", "\u00e4", "x" * 129]:
        assert complaint(fields.OptionalClaim, text)["msg"].endswith("for example laptop-7.example")
    assert complaint(fields.Claim, "")["msg"].startswith("Value error, '': a name is 1 to 128 of")


@pytest.mark.parametrize("text", ["", "/sokken", "/a/b.c-d_~e"])
def test_a_base_path(text):
    assert value_of(fields.BasePath, text) == text


@pytest.mark.parametrize("text", ["/", "/a/", "a", "//a", "/a b", "/a?b", "/a#b", "/%41", "/a\n"])
def test_a_malformed_base_path(text):
    problem = "a base path begins with a slash and does not end with one, for example /sokken"
    assert complaint(fields.BasePath, text)["msg"] == f"Value error, {text!r}: {problem}"


def test_origins_are_compared_in_lower_case():
    origins = value_of(fields.Origins, "https://Console.Example:8443 http://[::1]")
    assert origins == ("https://console.example:8443", "http://[::1]")
    assert value_of(fields.Origins, "") == ()


@pytest.mark.parametrize("text", ["console.example", "https://", "https://a/b", "https://me@a", "*", "null"])
def test_a_malformed_origin(text):
    assert complaint(fields.Origins, text)["msg"].endswith("for example https://console.example")


@pytest.mark.parametrize("text", ["a:1,b:2", "a:1 b:2", "a:1\nb:2\n", " a:1 ,\n\tb:2, ,"])
def test_a_list_is_separated_by_commas_spaces_or_newlines(text):
    assert value_of(fields.Targets, text) == (Address("a", 1), Address("b", 2))


def test_a_list_takes_values_too():
    targets = (Address("a", 1),)
    assert value_of(fields.Targets, targets) == targets
    assert value_of(fields.Targets, ["a:1"]) == targets


@pytest.mark.parametrize("text", ["", " , ", ()])
def test_a_required_list_without_items_is_missing(text):
    assert complaint(fields.Forwards, text)["type"] == "missing"


def test_a_list_is_a_list():
    with pytest.raises(TypeError):
        value_of(fields.Targets, 5)


def test_one_malformed_item_is_told_with_an_example():
    message = complaint(fields.Targets, "a:1, b, c:3")["msg"]
    assert message == "Value error, 'b': the port is missing, for example 127.0.0.1:22"


def test_forwards_keep_their_order_and_their_repetition():
    texts = [":0=ws://b/", "a=:0=ws://b/?x=y", ":0=ws://b/"]
    assert value_of(fields.Forwards, "\n".join(texts)) == tuple(map(parse_forward, texts))


def test_a_listen_address():
    assert value_of(fields.ListenAddress, ":8000") == Address("", 8000)
    assert "the port is missing" in complaint(fields.ListenAddress, "8000")["msg"]


@pytest.mark.parametrize(
    "text", ["https://issuer.test/jwks?x=1", "https://[::1]:8443", "http://127.0.0.1:80/", "http://localhost"]
)
def test_a_url_of_keys(text):
    assert value_of(fields.JwksUrl, text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "issuer.test",
        "http://issuer.test/",
        "https://me:s3cr3t@issuer.test/",
        "https:///x",
        "https://a/ b",
        "file:///x",
    ],
)
def test_what_is_no_url_of_keys(text):
    assert "it is https:// with a host and no user" in str(complaint(fields.JwksUrl, text)["ctx"]["error"])


@pytest.mark.parametrize(
    ("text", "name"),
    [("Tunnel.Example.", "tunnel.example"), ("192.0.2.1", "192.0.2.1"), ("2001:DB8::1", "2001:db8::1")],
)
def test_the_name_of_a_server(text, name):
    assert value_of(fields.ServerName, text) == name


@pytest.mark.parametrize("text", ["", "a b", "a:1", "-", "*.example", "https://a", "[::1]"])
def test_what_is_no_name_of_a_server(text):
    problem = "this is no host name or IP address, for example tunnel.example"
    assert str(complaint(fields.ServerName, text)["ctx"]["error"]) == f"{text!r}: {problem}"


@pytest.mark.parametrize("text", ["", " ", "a\nb", "\u00fc"])
def test_what_is_no_text(text):
    assert "this is no printable ASCII text" in str(complaint(fields.OptionalText, text)["ctx"]["error"])


def test_an_empty_path_of_a_credential_is_refused():
    assert value_of(fields.CredentialPath, "/x") == Path("/x")
    assert str(complaint(fields.CredentialPath, "")["ctx"]["error"]) == "it is empty; name a file, or leave it out"


def test_header_fields():
    assert value_of(fields.HeaderFields, "X-One: 1\nX-Two: 2") == (("X-One", "1"), ("X-Two", "2"))
    assert complaint(fields.HeaderFields, "X-One")["type"] == "value_error"
