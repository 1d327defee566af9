"""Kubernetes quantities (`1Gi`, `250m`) in the canonical spelling of apimachinery's resource.Quantity.

Spelling is correctness under server-side apply: two owners that send `1` and `1000m` take the field from each other for ever.
"""

import re
from decimal import ROUND_UP, Decimal
from functools import lru_cache

from redisop.errors import InputError

_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_FORM = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([KMGTPE]i|[numkMGTPE]?)|[eE]([+-]?[0-9]{1,3}))", re.ASCII)
_SMALLEST = Decimal(1).scaleb(-9)
_LARGEST = Decimal(2**63 - 1)


@lru_cache(maxsize=1024)
def parse(text: str) -> Decimal:
    """Return the exact value of a quantity; finer than nano is rounded away from zero, as the API server does.

    InputError where it is no quantity, or larger than 2^63-1.
    """
    return _parse(text)[0]


@lru_cache(maxsize=1024)
def canonical(text: str) -> str:
    """Return `text` as the API server writes it: `1000m` → `1`, `1024Mi` → `1Gi`, `0.5` → `500m`, `1e3` stays `1e3`.

    The suffix is the largest of the same family (binary, decimal, exponent) that leaves no fraction.
    """
    value, family = _parse(text)
    if family == "binary" and abs(value) >= 1024 and value == value.to_integral_value():
        return _with_binary_suffix(int(value))
    number, exponent = _without_trailing_thousands(value)
    if family == "exponent":
        return f"{number}e{exponent}" if exponent else str(number)
    return str(number) + next(suffix for suffix, power in _DECIMAL.items() if power == exponent)


def _parse(text: str) -> tuple[Decimal, str]:
    match = _FORM.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is not a Kubernetes quantity such as 500m, 2 or 1Gi")
    digits, suffix, exponent = match.groups()
    number = Decimal(digits)
    if exponent is not None:
        value, family = number.scaleb(int(exponent)), "exponent"
    elif suffix in _BINARY:
        value, family = number * 2 ** _BINARY[suffix], "binary"
    else:
        value, family = number.scaleb(_DECIMAL[suffix]), "decimal"
    if abs(value) > _LARGEST:
        raise InputError(f"{text!r} is larger than Kubernetes counts: 2^63-1")
    return value.quantize(_SMALLEST, ROUND_UP) + 0, family


def _with_binary_suffix(value: int) -> str:
    suffix = ""
    for name in _BINARY:
        if value % 1024:
            break
        value //= 1024
        suffix = name
    return f"{value}{suffix}"


def _without_trailing_thousands(value: Decimal) -> tuple[int, int]:
    if not value:
        return 0, 0
    number, exponent = int(value.scaleb(9)), -9
    while number % 1000 == 0 and exponent < 18:
        number //= 1000
        exponent += 3
    return number, exponent
