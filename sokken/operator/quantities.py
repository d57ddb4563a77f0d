"""Amounts as Kubernetes writes them, so that two spellings of one amount compare as equal.

The API server gives back ``1`` for ``1000m`` and ``1Gi`` for ``1024Mi`` (apimachinery, "Quantity").
"""

import re
from fractions import Fraction
from typing import Final

_SUFFIXES: Final = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000 ** (power + 1)) for power, suffix in enumerate("kMGTPE")},
    **{f"{suffix}i": Fraction(1024 ** (power + 1)) for power, suffix in enumerate("KMGTPE")},
}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([KMGTPE]i|[numkMGTPE]?)|[eE]([+-]?[0-9]{1,3}))")


def parse_quantity(value: object) -> Fraction | None:
    """The amount, None for what is none."""
    match = _QUANTITY.fullmatch(str(value))
    if match is None or isinstance(value, bool):
        return None
    number, suffix, exponent = match.groups()
    scale = Fraction(10) ** int(exponent) if exponent is not None else _SUFFIXES[suffix]
    return Fraction(number) * scale
