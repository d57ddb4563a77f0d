"""The words that the model is written in: a frozen class, types with their bounds, and rules for the API server.

A rule is CEL that the API server judges when a Tunnel is applied; its message is what the user reads, behind the name
of the field. Each text and list has a bound, because the API server refuses rules whose cost it cannot estimate.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema

RULES: Final = "x-kubernetes-validations"
LIST_TYPE: Final = "x-kubernetes-list-type"
LIST_KEYS: Final = "x-kubernetes-list-map-keys"
MAP_TYPE: Final = "x-kubernetes-map-type"
INT_OR_STRING: Final = "x-kubernetes-int-or-string"

_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4: Final = rf"({_OCTET}\.){{3}}{_OCTET}"
LABEL: Final = "[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?"
HOST_NAME: Final = rf"{LABEL}(\.{LABEL})*\.?"
PORT: Final = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_NUMERIC_END: Final = r"(.*\.)?([0-9]+|0[xX][0-9A-Fa-f]*)\.?"


class Model(BaseModel):
    """Frozen; read by its names in the API. A field that is not known here is left alone: the CRD may be newer."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    def dump(self) -> dict[str, Any]:
        """As the API has it, without what was left out or is its default."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """Keys of a field's schema that only Kubernetes knows; put into the type by ``Annotated``."""

    keys: dict[str, Any]

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add them to what pydantic has made of the type."""
        schema = handler(core)
        for key, value in self.keys.items():
            schema[key] = [*schema[key], *value] if key == RULES and key in schema else value
        return schema


def rule(expression: str, message: str, field: str = "") -> dict[str, str]:
    """One rule: what must hold, what is said if it does not, and which field below is at fault (``.caBundleRef``)."""
    written = {"rule": expression, "message": message}
    return {**written, "fieldPath": field} if field else written


def rules(*written: dict[str, str]) -> Schema:
    """Rules of the field that they stand at."""
    return Schema({RULES: list(written)})


def rules_of_class(*written: dict[str, str]) -> ConfigDict:
    """Rules of a class as a whole."""
    return ConfigDict(json_schema_extra={RULES: [dict(each) for each in written]})


def matching(pattern: str, message: str) -> Schema:
    """A text that a regular expression (RE2) matches as a whole."""
    return rules(rule(f"self.matches({quote_cel(f'^({pattern})$')})", message))


def quote_cel(text: str) -> str:
    """A text as CEL writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def list_map(*keys: str) -> Schema:
    """A list whose items are told apart by these of their fields."""
    return Schema({LIST_TYPE: "map", LIST_KEYS: list(keys)})


def host_rules(what: str) -> Schema:
    """What the client takes for a host: a name, an IPv4 address, or an IPv6 address."""
    shape = rf"{HOST_NAME}|[0-9A-Fa-f:]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*"
    numeric = quote_cel(f"^{_NUMERIC_END}$")
    return rules(
        rule(
            f"self.matches({quote_cel(f'^({shape})$')})",
            f"{what} is a host name or an IP address, without port and brackets, for example db.internal",
        ),
        rule(
            f"self.contains(':') || !self.matches({numeric}) || self.matches({quote_cel(f'^{IPV4}$')})",
            "an IPv4 address has four decimal numbers from 0 to 255",
        ),
    )


def names_within(what: str) -> Schema:
    """A map whose keys are as those of labels."""
    shape = "([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
    return rules(
        rule(
            f"self.all(key, key.matches({quote_cel(f'^{shape}$')}))",
            f"{what}'s name is letters, digits, '-', '_' and '.', at most 63, after a DNS name and '/' if need be",
        )
    )


def without(prefix: str, message: str) -> Schema:
    """A map of which no key begins like this."""
    return rules(rule(f"self.all(key, !key.startsWith({quote_cel(prefix)}))", message))


ATOMIC: Final = Schema({LIST_TYPE: "atomic"})

Int32 = Annotated[int, Field(ge=0, le=2**31 - 1), Schema({"format": "int32"})]
Int64 = Annotated[int, Field(ge=0, le=2**53), Schema({"format": "int64"})]
Port = Annotated[int, Field(ge=1, le=65535), Schema({"format": "int32"})]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
"""The name of another object in the Tunnel's namespace (a DNS subdomain)."""
Key = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]*[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")]
"""A key of a Secret or ConfigMap; not of dots alone, because it is a file's name in the end."""
LabelKey = Annotated[str, Field(max_length=317, pattern="^[A-Za-z0-9]([-A-Za-z0-9_./]*[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(max_length=63, pattern="^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")]
PlainLabels = Annotated[dict[str, LabelValue], Field(max_length=32)]
Labels = Annotated[PlainLabels, names_within("a label")]
Quantity = Annotated[
    int | str,
    Schema(
        {
            INT_OR_STRING: True,
            "maxLength": 32,
            "pattern": r"^[+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$",
        }
    ),
]
"""An amount of something, as Kubernetes writes it: ``250m``, ``64Mi``."""
