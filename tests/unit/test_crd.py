import json
from typing import Annotated

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from redisop.api import ApiKey, Model, RedisHttpInstance, parse
from redisop.api.markers import ListType, Rule
from redisop.crd import crds, json_schemas, structural
from tests.resource_cases import BAD, GOOD, INSTANCE, KEY, UNKNOWN, WHOLE_INSTANCE_STATUS, WHOLE_KEY_STATUS, manifest

KEYWORDS = {
    "string": {"pattern", "maxLength", "minLength", "enum"},
    "integer": {"minimum", "maximum"},
    "boolean": set(),
    "array": {"items", "minItems", "maxItems", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"},
    "object": {"properties", "required", "additionalProperties", "maxProperties"},
    "int-or-string": {"anyOf", "x-kubernetes-int-or-string", "pattern", "maxLength", "minimum", "maximum"},
}
EVERYWHERE = {"type", "description", "default", "x-kubernetes-validations"}


def schema_of(crd):
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema, path=""):
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{path}.{name}")
    for below in ("items", "additionalProperties"):
        if below in schema:
            yield from nodes(schema[below], f"{path}[]")


ALL = [
    pytest.param(path, node, id=crd["spec"]["names"]["kind"] + path)
    for crd in crds()
    for path, node in nodes(schema_of(crd))
]


@pytest.mark.parametrize(("path", "node"), ALL)
def test_every_node_has_a_type_and_only_keywords_that_mean_something_for_it(path, node):
    kind = "int-or-string" if "x-kubernetes-int-or-string" in node else node["type"]
    assert set(node) <= KEYWORDS[kind] | EVERYWHERE
    assert not {"properties", "additionalProperties"} <= set(node)
    assert node.get("default", "something") not in (None, {}, [], "")
    # The server's cost estimate for rules needs bounds; what nobody compares may be as long as it likes.
    if kind == "string" and path not in {".apiVersion", ".kind", ".metadata.name"}:
        assert {"maxLength", "enum"} & set(node)
    if kind == "array":
        assert "maxItems" in node
        assert "x-kubernetes-list-type" in node
    if "additionalProperties" in node:
        assert "maxProperties" in node


def test_every_rule_of_a_definition_is_kept_by_parse_with_the_same_message():
    messages = {
        rule["message"]
        for crd in crds()
        for _, node in nodes(schema_of(crd))
        for rule in node.get("x-kubernetes-validations", ())
        if "oldSelf" not in rule["rule"]
    }
    said = "\n".join(_refusal(case) for case in BAD)
    assert [message for message in messages if message not in said] == []


def _refusal(case):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the type is tested elsewhere
        parse(manifest(case.kind, case.spec, case.name))
    return str(caught.value)


def test_beside_a_reference_the_field_wins_and_rules_of_both_hold():
    inner_rule = Rule("self.a > 0", "a must be positive", lambda it: it.a > 0)
    outer_rule = Rule("self.a < 9", "a must be small", lambda it: it.a < 9)

    class Inner(Model):
        """About the inner."""

        a: int = 1
        rules = (inner_rule,)

    class Outer(Model):
        """About the outer."""

        one: Annotated[Inner, outer_rule] = Inner()
        """About this one."""
        many: Annotated[tuple[Inner, ...], Field(max_length=2), ListType("map", ("a",))] = ()
        """About many."""

    one = structural(Outer)["properties"]["one"]
    assert one["description"] == "About this one."
    assert one["default"] == {"a": 1}
    assert one["x-kubernetes-validations"] == [inner_rule.schema(), outer_rule.schema()]
    many = structural(Outer)["properties"]["many"]
    assert many["x-kubernetes-list-map-keys"] == ["a"]
    assert many["items"]["description"] == "About the inner."


@pytest.mark.parametrize("kind", [INSTANCE, KEY])
def test_schemas_for_editors_are_valid_and_refuse_what_the_definitions_refuse(kind):
    schema = json_schemas()[kind]
    Draft202012Validator.check_schema(schema)
    assert "x-kubernetes" not in json.dumps(schema)
    validator = Draft202012Validator(schema)
    status = WHOLE_INSTANCE_STATUS if kind == INSTANCE else WHOLE_KEY_STATUS
    for given in (spec for good, spec in GOOD if good == kind and "null" not in json.dumps(spec)):
        assert list(validator.iter_errors(manifest(kind, given) | {"status": status})) == []
    for case in UNKNOWN:
        if case.kind == kind:
            assert not validator.is_valid(manifest(kind, case.spec))
    assert not validator.is_valid(manifest(kind, {}) | {"kind": "Pod"})


def test_schemas_for_editors_find_every_mistake_but_those_of_rules():
    schemas = {kind: Draft202012Validator(schema) for kind, schema in json_schemas().items()}
    missed = [case for case in BAD if schemas[case.kind].is_valid(manifest(case.kind, case.spec, case.name))]
    rules = {
        rule["message"]
        for crd in crds()
        for _, node in nodes(schema_of(crd))
        for rule in node.get("x-kubernetes-validations", ())
    }
    unexplained = [
        case
        for case in missed
        if not any(rule in _refusal(case) for rule in rules)
        and "given twice" not in _refusal(case)
        # In the regular expressions of this validator, $ stands before a final newline too.
        and case.spec != {"userId": "a\n"}
    ]
    assert unexplained == []


def test_the_same_models_give_the_same_definitions():
    assert json.dumps(crds()) == json.dumps(crds())
    assert {crd["spec"]["names"]["kind"] for crd in crds()} == {
        RedisHttpInstance.model_fields["kind"].default,
        ApiKey.model_fields["kind"].default,
    }
