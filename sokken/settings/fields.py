"""The types of settings: how a text becomes a value, in which unit it is, and what the documents say of it.

Used by the models alone. A validator takes the text of an argument or a variable, or a finished value, and
raises ValueError with one line: the text, what is wrong with it, and an example.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import BeforeValidator, Field, PlainValidator
from pydantic_core import PydanticKnownError

from sokken.protocol.address import (
    FORWARD_EXAMPLE,
    TARGET_EXAMPLE,
    Address,
    AddressError,
    Forward,
    parse_forward,
    parse_listen_address,
    parse_target,
)
from sokken.protocol.credentials import parse_header_fields
from sokken.protocol.identity import is_claim
from sokken.protocol.proxy import NO_PROXY_EXAMPLE, PROXY_EXAMPLE, Exemption, Proxy, parse_exemption, parse_proxy

T = TypeVar("T")

BASE_PATH_EXAMPLE: Final = "/sokken"
ORIGIN_EXAMPLE: Final = "https://console.example"
CLAIM_EXAMPLE: Final = "laptop-7.example"
NETWORK_EXAMPLE: Final = "10.0.0.0/8"
JWKS_EXAMPLE: Final = "https://issuer.example/jwks"
HOST_NAME_EXAMPLE: Final = "tunnel.example"
KUBERNETES_EXAMPLE: Final = "team-a"
IMAGE_EXAMPLE: Final = "registry.example/sokken:1.2.3"

_SEPARATORS = re.compile(r"[,\s]+")
# RFC 3986 section 3.3: segments of unreserved characters, sub-delims, ":" and "@".
_BASE_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
# RFC 6454 section 6.2; browsers write it in lower case.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+")
# A token of RFC 9110 section 5.6.2.
_BAGGAGE_KEY = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
# DNS labels, of which names of Kubernetes' objects consist (RFC 1123 section 2.1); a namespace is one of them.
_KUBERNETES_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
# The grammar of the distribution project (reference.go): [HOST[:PORT]/]PATH[:TAG][@DIGEST].
_IMAGE = re.compile(
    r"([A-Za-z0-9.-]+(:[0-9]+)?/|\[[0-9A-Fa-f:.]+\](:[0-9]+)?/)?"
    r"[a-z0-9]+([._/-]+[a-z0-9]+)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(@[a-z0-9+._-]+:[0-9a-fA-F]{32,})?"
)
_JWKS_URL = re.compile(r"(https://[A-Za-z0-9.:\[\]-]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?)(/[!$-~]*)?")


@dataclass(frozen=True, slots=True)
class Mark:
    """What a field's type does not say: its unit, its argument's name, an example, whether it is a secret."""

    unit: str = ""
    argument: str = ""
    example: str = ""
    shown_default: str = ""
    variable: str = ""
    """Its environment variable if that is none of ours."""
    is_secret: bool = False
    """Never shown, and never an option: everybody may read a command line (``ps``)."""
    refuses_empty: bool = False
    """Given but empty is an error: nobody shall be without the protection that was asked for."""


def _translated(parse: Callable[[str], T]) -> Callable[[object], T]:
    """Let a text through ``parse``, and anything else as it is: a value the program made itself."""

    def validate(value: object) -> T:
        if not isinstance(value, str):
            return value  # type: ignore[return-value]
        try:
            return parse(value)
        except AddressError as error:
            raise ValueError(str(error)) from error

    return validate


def _listed(parse: Callable[[str], T]) -> Callable[[object], tuple[T, ...]]:
    """Take a list apart at commas, spaces and newlines."""
    validate_item = _translated(parse)

    def validate(value: object) -> tuple[T, ...]:
        items = filter(None, _SEPARATORS.split(value)) if isinstance(value, str) else value
        if not isinstance(items, Iterable):
            raise TypeError(f"{value!r} is no list")
        return tuple(map(validate_item, items))

    return validate


def _required(validate: Callable[[object], tuple[T, ...]]) -> Callable[[object], tuple[T, ...]]:
    """Treat a list without items like a list that was not given."""

    def validate_some(value: object) -> tuple[T, ...]:
        items = validate(value)
        if not items:
            raise PydanticKnownError("missing")
        return items

    return validate_some


def _parse_base_path(text: str) -> str:
    if not _BASE_PATH.fullmatch(text):
        problem = "a base path begins with a slash and does not end with one"
        raise ValueError(f"{text!r}: {problem}, for example {BASE_PATH_EXAMPLE}")
    return text


def _parse_origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text.lower()):
        raise ValueError(f"{text!r}: an origin is SCHEME://HOST[:PORT], for example {ORIGIN_EXAMPLE}")
    return text.lower()


def _parse_claim(text: str) -> str:
    if not is_claim(text):
        problem = "a name is 1 to 128 of A-Z a-z 0-9 . _ : / @ -"
        raise ValueError(f"{text!r}: {problem}, for example {CLAIM_EXAMPLE}")
    return text


def _parse_baggage_key(text: str) -> str:
    if not _BAGGAGE_KEY.fullmatch(text):
        raise ValueError(f"{text!r}: this is no name of a baggage entry, for example team")
    return text


def _refuse_empty(value: object) -> object:
    """Refuse an empty text: it would be the current folder."""
    if value == "":
        raise ValueError("it is empty; name a file, or leave it out")
    return value


def _parse_jwks_url(text: str) -> str:
    if not _JWKS_URL.fullmatch(text):
        problem = "it is https:// with a host and no user; http:// only for 127.0.0.1, [::1] and localhost"
        raise ValueError(f"{text!r}: {problem}, for example {JWKS_EXAMPLE}")
    return text


def _parse_host(text: str) -> str:
    try:
        return str(ip_address(text)) if ":" in text else parse_target(f"{text}:1").host
    except (ValueError, AddressError):
        raise ValueError(f"{text!r}: this is no host name or IP address, for example {HOST_NAME_EXAMPLE}") from None


def _parse_kubernetes_name(text: str) -> str:
    if not _KUBERNETES_NAME.fullmatch(text):
        problem = "a name in Kubernetes is of lower-case letters, digits and inner hyphens"
        raise ValueError(f"{text!r}: {problem}, for example {KUBERNETES_EXAMPLE}")
    return text


def _parse_image(text: str) -> str:
    if not _IMAGE.fullmatch(text):
        raise ValueError(f"{text!r}: this names no image, for example {IMAGE_EXAMPLE}")
    return text


def _parse_text(text: str) -> str:
    if not text.isascii() or not text.isprintable() or not text.strip():
        raise ValueError(f"{text!r}: this is no printable ASCII text")
    return text


def _parse_network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r}: this is no network ({error}), for example {NETWORK_EXAMPLE}") from None


def _none_if_empty(value: object) -> object:
    """Take an empty text as no value: ``-log-file ""`` goes back to stderr."""
    return None if value == "" else value


Switch = Annotated[bool, Mark(unit="true or false")]
Connections = Annotated[int, Field(ge=1), Mark(unit="connections")]
Days = Annotated[int, Field(ge=1), Mark(unit="days")]
Files = Annotated[int, Field(ge=0), Mark(unit="files")]
Megabytes = Annotated[int, Field(ge=1), Mark(unit="megabytes")]
MessageBytes = Annotated[int, Field(ge=1024, le=16 * 1024 * 1024), Mark(unit="bytes")]
Seconds = Annotated[float, Field(ge=1, allow_inf_nan=False), Mark(unit="seconds")]
SecondsFromZero = Annotated[float, Field(ge=0, allow_inf_nan=False), Mark(unit="seconds")]
OptionalSeconds = Annotated[
    Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, BeforeValidator(_none_if_empty), Mark(unit="seconds")
]
Rate = Annotated[float, Field(ge=0, allow_inf_nan=False), Mark(unit="per second")]
OptionalPath = Annotated[Path | None, BeforeValidator(_none_if_empty), Mark(unit="path")]
CredentialPath = Annotated[Path | None, BeforeValidator(_refuse_empty), Mark(unit="path", refuses_empty=True)]
OptionalText = Annotated[str | None, PlainValidator(_translated(_parse_text)), Mark(unit="text", refuses_empty=True)]
JwksUrl = Annotated[
    str | None,
    PlainValidator(_translated(_parse_jwks_url)),
    Mark(unit="URL", example=JWKS_EXAMPLE, refuses_empty=True),
]
ServerName = Annotated[
    str | None,
    PlainValidator(_translated(_parse_host)),
    Mark(unit="name", example=HOST_NAME_EXAMPLE, refuses_empty=True),
]
HostNames = Annotated[
    tuple[str, ...], PlainValidator(_listed(_parse_host)), Mark(unit="list", example=HOST_NAME_EXAMPLE)
]
HeaderFields = Annotated[
    tuple[tuple[str, str], ...],
    PlainValidator(_translated(parse_header_fields)),
    Mark(unit="lines", is_secret=True, refuses_empty=True),
]
ProxyUrl = Annotated[
    Proxy | None,
    PlainValidator(_translated(parse_proxy)),
    Mark(unit="URL", example=PROXY_EXAMPLE, is_secret=True, refuses_empty=True),
]
Exemptions = Annotated[
    tuple[Exemption, ...], PlainValidator(_listed(parse_exemption)), Mark(unit="list", example=NO_PROXY_EXAMPLE)
]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    PlainValidator(_listed(_parse_network)),
    Mark(unit="list", example=NETWORK_EXAMPLE),
]
BaggageKeys = Annotated[tuple[str, ...], PlainValidator(_listed(_parse_baggage_key)), Mark(unit="list", example="team")]
Claim = Annotated[str, PlainValidator(_translated(_parse_claim)), Mark(unit="name")]
OptionalClaim = Annotated[
    str | None,
    PlainValidator(_translated(_parse_claim)),
    BeforeValidator(_none_if_empty),
    Mark(unit="name"),
]
KubernetesName = Annotated[str, PlainValidator(_translated(_parse_kubernetes_name)), Mark(unit="name")]
OptionalKubernetesName = Annotated[
    str | None, PlainValidator(_translated(_parse_kubernetes_name)), BeforeValidator(_none_if_empty), Mark(unit="name")
]
KubernetesNames = Annotated[
    tuple[str, ...], PlainValidator(_listed(_parse_kubernetes_name)), Mark(unit="list", example=KUBERNETES_EXAMPLE)
]
ImageReference = Annotated[str, PlainValidator(_translated(_parse_image)), Mark(unit="image", example=IMAGE_EXAMPLE)]
Workers = Annotated[int, Field(ge=1, le=100), Mark(unit="Tunnels")]
Rollouts = Annotated[int, Field(ge=1), Mark(unit="Tunnels")]
BasePath = Annotated[str, PlainValidator(_translated(_parse_base_path)), Mark(unit="path", example=BASE_PATH_EXAMPLE)]
Origins = Annotated[tuple[str, ...], PlainValidator(_listed(_parse_origin)), Mark(unit="list", example=ORIGIN_EXAMPLE)]
ListenAddress = Annotated[
    Address,
    PlainValidator(_translated(parse_listen_address)),
    Mark(unit="address", argument="API_ADDR", example=":8000"),
]
OptionalListenAddress = Annotated[
    Address | None,
    PlainValidator(_translated(parse_listen_address)),
    BeforeValidator(_none_if_empty),
    Mark(unit="address", example="127.0.0.1:19000"),
]
Targets = Annotated[
    tuple[Address, ...],
    PlainValidator(_listed(parse_target)),
    Mark(unit="list", argument="REMOTE_ADDR", example=TARGET_EXAMPLE),
]
Forwards = Annotated[
    tuple[Forward, ...],
    PlainValidator(_required(_listed(parse_forward))),
    Mark(unit="list", argument="LISTEN_ADDR REMOTE_ADDR", example=FORWARD_EXAMPLE),
]
