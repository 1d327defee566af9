"""Models → CustomResourceDefinitions and, for editors, plain JSON Schema.

A structural schema has no references, no null types and no constants
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema).
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from redisop.api import ApiKey, RedisHttpInstance
from redisop.kinds import API_KEY, GROUP, INSTANCE, VERSION, Kind, Object

_RESOURCES: tuple[tuple[Kind, type[RedisHttpInstance | ApiKey], str], ...] = (
    (INSTANCE, RedisHttpInstance, "rhi"),
    (API_KEY, ApiKey, "rak"),
)


def _column(name: str, path: str, description: str, *, kind: str = "string", wide: bool = False) -> Object:
    column: Object = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return column | {"priority": 1} if wide else column


_READY = _column("Ready", '.status.conditions[?(@.type=="Ready")].status', "Whether everything is as wanted.")
_REASON = _column("Reason", '.status.conditions[?(@.type=="Ready")].reason', "Why it is ready or not.", wide=True)
_AGE = _column("Age", ".metadata.creationTimestamp", "Time since creation.", kind="date")

COLUMNS: Mapping[Kind, tuple[Object, ...]] = {
    INSTANCE: (
        _column("Phase", ".status.phase", "Summary of the conditions."),
        _READY,
        _column("Version", ".status.redisVersion", "Version of Redis that runs."),
        _column("Memory", ".spec.redisConfig.memory", "Memory for data."),
        _column("Endpoint", ".status.endpoint.http", "URL at the HTTP gateway."),
        _REASON,
        _column("Redis", ".status.endpoint.redis", "host:port inside the cluster.", wide=True),
        _AGE,
    ),
    API_KEY: (
        _column("User", ".spec.userId", "Who the key is for."),
        _column("Phase", ".status.phase", "Summary of the conditions."),
        _READY,
        _column("Key", ".status.keyId", "Public part of the key."),
        _column("Expires", ".status.expiresAt", "When the key stops working."),
        _column("Last used", ".status.lastUsed", "When the gateway last accepted the key.", kind="date", wide=True),
        _REASON,
        _AGE,
    ),
}


class _Structural(GenerateJsonSchema):
    """JSON Schema with what a structural schema cannot say left out, and defaults as the API server should fill them in."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return the schema of what is not null: in Kubernetes null means absent."""
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """Return an enum, also for a single value."""
        return {"type": "string", "enum": list(schema["expected"])}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema with its default, unless that is null or empty; a model's fields have defaults of their own."""
        found = self.generate_inner(schema["schema"])
        default = schema.get("default")
        if default is None or default == ():
            return found
        return found | {"default": {} if isinstance(default, BaseModel) else _plain(default)}

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - the signature is pydantic's
        """Set no titles: the name says it."""
        return False


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def structural(model: type[BaseModel]) -> Object:
    """Return the structural schema of a model."""
    schema = model.model_json_schema(schema_generator=_Structural)
    found: Object = _inline(schema, schema.pop("$defs", {}))
    return found


def _inline(node: Any, definitions: Mapping[str, Any]) -> Any:
    """Return the schema without references; what stands beside a reference wins, and rules of both hold."""
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    own = dict(node)
    reference = own.pop("$ref", None)
    target = definitions[reference.removeprefix("#/$defs/")] if reference else {}
    merged = {**target, **own}
    rules = [*target.get("x-kubernetes-validations", ()), *own.get("x-kubernetes-validations", ())]
    if rules:
        merged["x-kubernetes-validations"] = rules
    properties = merged.get("properties", {})
    inlined = {
        key: _inline(value, definitions)
        for key, value in merged.items()
        if key not in {"properties", "title"} and (key, value) != ("default", None)
    }
    if properties:
        inlined["properties"] = {name: _inline(value, definitions) for name, value in properties.items()}
        if inlined.pop("default", None) == {} and (defaults := _defaults(inlined["properties"])):
            inlined["default"] = defaults
    return inlined


def _defaults(properties: Mapping[str, Object]) -> Object:
    """Return the defaults of an object's fields; the server checks a default against the rules without filling it in."""
    return {name: schema["default"] for name, schema in properties.items() if "default" in schema}


def _resource_schema(model: type[RedisHttpInstance | ApiKey]) -> Object:
    schema = structural(model)
    status = structural(model.Status)
    properties = {
        "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
        "kind": {"type": "string", "description": "The resource that this object represents."},
        "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
        "spec": schema["properties"]["spec"],
        "status": status,
    }
    return schema | {"properties": properties}


def crds() -> tuple[Object, ...]:
    """Return the CustomResourceDefinitions of both resources, ready to apply."""
    return tuple(_crd(kind, model, short) for kind, model, short in _RESOURCES)


def _crd(kind: Kind, model: type[RedisHttpInstance | ApiKey], short: str) -> Object:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [short],
                "categories": ["all", "redis"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(COLUMNS[kind]),
                    "schema": {"openAPIV3Schema": _resource_schema(model)},
                }
            ],
        },
    }


def json_schemas() -> dict[str, Object]:
    """Return JSON Schema (draft 2020-12) of a manifest of each kind, for editors; it knows no CEL rules."""
    return {kind.name: _editor_schema(kind, model) for kind, model, _ in _RESOURCES}


def _editor_schema(kind: Kind, model: type[RedisHttpInstance | ApiKey]) -> Object:
    schema = _resource_schema(model)
    found: Object = _for_editors(schema)
    found["properties"] |= {
        "apiVersion": {"const": kind.api_version},
        "kind": {"const": kind.name},
        "metadata": {"type": "object", "properties": {"name": TypeAdapter(model.Name).json_schema()}},
    }
    return (
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": kind.name}
        | found
        | {"required": ["apiVersion", "kind", *schema["required"]]}
    )


def _for_editors(node: Any) -> Any:
    """Return the schema in plain JSON Schema: no extensions of Kubernetes, and unknown fields are errors."""
    if isinstance(node, list):
        return [_for_editors(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _for_editors(value) for key, value in node.items() if not key.startswith("x-kubernetes-")}
    if node.get("x-kubernetes-list-type") == "set":
        found["uniqueItems"] = True
    if isinstance(node.get("properties"), dict) and node.get("type") == "object":
        found["additionalProperties"] = False
    return found
