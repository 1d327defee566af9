"""The spellings of quantities that the two resources allow."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

MEMORY_PATTERN = "^[0-9]+(Mi|Gi)$"
SIZE_PATTERN = "^[1-9][0-9]*(Mi|Gi|Ti)$"
CPU_PATTERN = r"^([0-9]{1,7}m|[0-9]{1,4}(\.[0-9]{1,3})?)$"


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


MemoryText = Annotated[str, Field(pattern=MEMORY_PATTERN, max_length=10)]
StorageSize = Annotated[str, Field(pattern=SIZE_PATTERN, max_length=10)]
Cpu = Annotated[
    str,
    BeforeValidator(_text),
    Field(pattern=CPU_PATTERN, max_length=8),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "minimum": 0,
            "maximum": 9999,
            "pattern": CPU_PATTERN,
            "maxLength": 8,
        }
    ),
]
"""Cores, as YAML people write them: 2, "0.5" or 500m."""
