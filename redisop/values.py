"""Placeholders in a manifest for values that are not known when it is built."""

import base64
import secrets
from dataclasses import dataclass
from typing import Any

GENERATED_TEXT = "(generated)"
PENDING_TEXT = "(known after apply)"


@dataclass(frozen=True, slots=True)
class Generated:
    """A Secret `data` value made once, when it is first applied, and kept for ever after.

    `size` is in bytes of entropy from the CSPRNG; the value is base64 of their URL-safe text.
    """

    size: int = 32

    def make(self) -> str:
        """Return a new value, ready to stand in a Secret's `data`."""
        return base64.b64encode(secrets.token_urlsafe(self.size).encode()).decode()

    def __str__(self) -> str:
        return GENERATED_TEXT


@dataclass(frozen=True, slots=True)
class Pending:
    """A value that follows from another object (`on`, as Kind/name) that is not there yet."""

    on: str

    def __str__(self) -> str:
        return PENDING_TEXT


def has_pending(value: Any) -> bool:
    """Tell whether a manifest holds a Pending value and so cannot be applied yet."""
    return _holds(value, Pending)


def has_generated(value: Any) -> bool:
    """Tell whether a manifest holds a Generated value, to be made when it is applied."""
    return _holds(value, Generated)


def materialise(value: Any) -> Any:
    """Return a copy of a manifest with every Generated value made."""
    if isinstance(value, Generated):
        return value.make()
    if isinstance(value, dict):
        return {key: materialise(item) for key, item in value.items()}
    if isinstance(value, list):
        return [materialise(item) for item in value]
    return value


def _holds(value: Any, placeholder: type) -> bool:
    if isinstance(value, dict):
        return any(_holds(item, placeholder) for item in value.values())
    if isinstance(value, list):
        return any(_holds(item, placeholder) for item in value)
    return isinstance(value, placeholder)
