"""What both resources are made of: the base model, metadata, conditions and the texts that may stand in a field."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    Strict,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from redisop.api.markers import Rule, is_strict, with_rules

Bool = Annotated[bool, Strict()]
Int = Annotated[int, Strict()]

LABEL_PATTERN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
INSTANCE_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
INSTANCE_LENGTH = 45

DnsLabel = Annotated[str, Field(pattern=LABEL_PATTERN, max_length=63)]
"""RFC 1123 label."""
DnsSubdomain = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
"""RFC 1123 subdomain."""
InstanceName = Annotated[str, Field(pattern=INSTANCE_PATTERN, max_length=INSTANCE_LENGTH)]
"""RFC 1035 label; short enough for the names of all children."""
Timestamp = Annotated[
    str,
    # No `format: date-time` here: for a field that has it, the API server (1.32, 1.37) admits a list too.
    Field(
        pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
        r"(\.[0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$",
        max_length=35,
    ),
]
"""RFC 3339, with a zone."""


def fits(text_type: Any, text: str) -> bool:
    """Tell whether the text fits one of the types above; the pattern runs in pydantic's engine, in linear time."""
    try:
        TypeAdapter(text_type).validate_python(text)
    except ValidationError:
        return False
    return True


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Model(BaseModel):
    """Base of every model: frozen, camelCase in YAML, unknown fields ignored unless `parse` forbids them."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()
    """Rules over several fields of this model."""

    @model_validator(mode="before")
    @classmethod
    def _as_the_server_reads(cls, data: Any) -> Any:
        """Take null for absent in every known field, and 5.0 for 5."""
        if not isinstance(data, dict) or not any(value is None or isinstance(value, float) for value in data.values()):
            return data
        known = {field.alias for field in cls.model_fields.values()}
        return {key: _whole(value) for key, value in data.items() if value is not None or key not in known}

    @model_validator(mode="after")
    def _keep_rules(self, info: ValidationInfo) -> Self:
        if is_strict(info):
            for rule in self.rules:
                rule.enforce(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        resolved = handler.resolve_ref_schema(found)
        resolved.update(with_rules(resolved, cls.rules))
        return found


class Metadata(Model):
    """The part of ObjectMeta that decisions need."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: Int = 0
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()


class Condition(Model):
    """One aspect of the object's state, as it was last observed."""

    type: Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9]*$", max_length=63)]
    """What the condition is about, for example Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", max_length=128)]
    """One CamelCase word for programs: why the status is what it is."""
    message: Annotated[str, Field(max_length=32768)]
    """The same for people: what happened, in which field, and what to do."""
    last_transition_time: Timestamp
    """When the status last flipped."""
    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """Generation of the spec that the condition was computed from."""
