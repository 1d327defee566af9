"""Annotations that say in one place what the API server checks (CEL, list types) and what `parse` checks offline.

The checks run only where the validation context asks for them (`STRICT`): an object that the server admitted before a rule
existed must stay readable.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

STRICT = {"strict": True}
"""Validation context under which rules and list types are checked."""


def is_strict(info: ValidationInfo) -> bool:
    """Tell whether this validation checks rules and list types too."""
    return bool(info.context and info.context.get("strict"))


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule with its mirror in Python; one message for both.

    `check` is None for a rule that compares with the object as it was: only the server can tell.
    `path` is the field to blame, relative to the value that carries the rule (CRD `fieldPath`).
    """

    cel: str
    message: str
    check: Callable[[Any], bool] | None
    path: str = ""

    def enforce(self, value: Any) -> None:
        """Raise PydanticCustomError with our message and path when the value breaks the rule."""
        if self.check is not None and not self.check(value):
            raise PydanticCustomError("rule", "{message}", {"message": self.message, "path": self.path})

    def schema(self) -> dict[str, str]:
        """Return the entry of `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message}
        return entry | {"fieldPath": self.path} if self.path else entry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def after(value: Any, info: ValidationInfo) -> Any:
            if is_strict(info):
                self.enforce(value)
            return value

        return core_schema.with_info_after_validator_function(after, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return with_rules(handler(schema), (self,))


def with_rules(schema: JsonSchemaValue, rules: Sequence[Rule]) -> JsonSchemaValue:
    """Return the schema with the rules added behind those it has."""
    if not rules:
        return schema
    key = "x-kubernetes-validations"
    return schema | {key: [*schema.get(key, ()), *(rule.schema() for rule in rules)]}


@dataclass(frozen=True, slots=True)
class ListType:
    """Topology of a list (structured-merge-diff): `set`, `atomic`, or `map` by the fields named in `keys` (as in YAML)."""

    kind: str
    keys: tuple[str, ...] = ()

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def after(items: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
            if is_strict(info) and self.kind != "atomic":
                seen: list[Any] = []
                for index, item in enumerate(items):
                    identity = self._identity(item)
                    if identity in seen:
                        raise PydanticCustomError("duplicate", "is given twice", {"path": f"[{index}]"})
                    seen.append(identity)
            return items

        return core_schema.with_info_after_validator_function(after, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema) | {"x-kubernetes-list-type": self.kind}
        return found | {"x-kubernetes-list-map-keys": list(self.keys)} if self.keys else found

    def _identity(self, item: Any) -> Any:
        if self.kind == "set":
            return item
        values = item.model_dump(by_alias=True)
        return tuple(values[key] for key in self.keys)


SET = ListType("set")
ATOMIC = ListType("atomic")
