from typing import Any

import pytest
from pydantic import ValidationError

from redisop.api import ApiKey, RedisHttpInstance, duration, parse
from redisop.errors import InputError


def instance(name="demo", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "redis.kubegateway.io/v1alpha1",
        "kind": "RedisHttpInstance",
        "metadata": {"name": name, "labels": {"a": "b"}},
        "spec": spec,
    }


def test_defaults_are_as_documented():
    read = parse(instance())
    assert isinstance(read, RedisHttpInstance)
    spec = read.spec
    assert spec.redis_config.memory_bytes == 256 * 2**20
    assert spec.redis_config.maxmemory_policy == "noeviction"
    assert not spec.redis_config.persistence
    assert spec.storage.reclaim_policy == "Retain"
    assert spec.networking.allowed_namespaces == ()
    assert not spec.monitoring.exporter
    assert not spec.paused
    assert not spec.hibernated


def test_an_error_names_the_field_as_in_yaml_and_lists_the_others():
    with pytest.raises(InputError) as caught:
        parse(
            instance(
                redisConfig={"memory": "256MB"},
                scheduling={"tolerations": [{"key": "a"}, {"key": "b", "operator": "Exists", "value": "c"}]},
                replicas=3,
            )
        )
    assert caught.value.where == "spec.redisConfig.memory"
    first, second, third = str(caught.value).splitlines()
    assert first == 'spec.redisConfig.memory: must match ^[0-9]+(Mi|Gi)$; given is "256MB"'
    assert second == "spec.scheduling.tolerations[1].value: value must be left out with operator Exists"
    assert third == "spec.replicas: is not a field of this resource"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"version": 8.2}, "version: must be text; quote what YAML would read as something else; given is 8.2"),
        ({"paused": "yes"}, 'paused: must be true or false; given is "yes"'),
        ({"storage": "1Gi"}, 'storage: must be an object with fields; given is "1Gi"'),
        ({"scheduling": {"nodeSelector": []}}, "scheduling.nodeSelector: must be an object with fields; given is []"),
        ({"networking": {"allowedNamespaces": "a"}}, 'networking.allowedNamespaces: must be a list; given is "a"'),
        (
            {"redisConfig": {"parameters": {"hz": 501}}},
            "redisConfig.parameters.hz: input should be less than or equal to 500; given is 501",
        ),
        (
            {"networking": {"subdomain": "é" * 99}},
            "networking.subdomain: string should have at most 63 characters; given is " + '"' + "é" * 58 + "…",
        ),
    ],
)
def test_an_error_says_what_to_write_instead(spec, told):
    with pytest.raises(InputError) as caught:
        parse(instance(**spec))
    assert str(caught.value) == f"spec.{told}"


@pytest.mark.parametrize("name", ["9lives", "Demo", "a" * 46, "a-", "a.b", "a\n", ""])
def test_a_name_that_no_child_could_carry_is_refused(name):
    with pytest.raises(InputError, match="RFC 1035") as caught:
        parse(instance(name))
    assert caught.value.where == "metadata.name"


def test_a_resource_of_somebody_else_is_refused():
    with pytest.raises(InputError, match="not a resource of redisop: v1 Pod"):
        parse({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}})


def test_python_names_are_no_fields_of_a_manifest():
    with pytest.raises(InputError, match="not a field") as caught:
        parse(instance(redis_config={"memory": "1Gi"}))
    assert caught.value.where == "spec.redis_config"


def test_types_are_those_of_the_schema_not_what_python_could_convert():
    for spec in ({"paused": "yes"}, {"paused": 1}, {"redisConfig": {"parameters": {"hz": "10"}}}):
        with pytest.raises(InputError):
            parse(instance(**spec))


def test_null_is_absent_as_for_the_api_server():
    assert parse(instance(storage=None, redisConfig={"memory": None})) == parse(instance(redisConfig={}))


def test_a_live_object_that_breaks_a_younger_rule_is_still_read():
    live = instance("9lives", version="8.2", image="redis:8", added={"by": "a newer version"}) | {
        "status": {"phase": "?"}
    }
    assert RedisHttpInstance.model_validate(live).spec.image == "redis:8"
    with pytest.raises(InputError):
        parse(live)


def test_models_are_frozen():
    read = RedisHttpInstance.model_validate(instance())
    with pytest.raises(ValidationError, match="frozen"):
        read.spec.paused = True  # type: ignore[misc]


def test_durations():
    assert duration("1h30m5s").total_seconds() == 5405


def test_an_api_key_needs_user_permissions_and_instances():
    with pytest.raises(InputError) as caught:
        parse({"apiVersion": "redis.kubegateway.io/v1alpha1", "kind": "ApiKey", "metadata": {"name": "a"}, "spec": {}})
    assert str(caught.value).splitlines() == [
        "spec.userId: is required",
        "spec.permissions: is required",
        "spec.instanceAccess: is required",
    ]


def test_an_api_key_is_read():
    spec = {"userId": "u", "permissions": ["read"], "instanceAccess": ["*"], "rotation": {"interval": "720h"}}
    read = parse(
        {"apiVersion": "redis.kubegateway.io/v1alpha1", "kind": "ApiKey", "metadata": {"name": "a"}, "spec": spec}
    )
    assert isinstance(read, ApiKey)
    assert read.spec.key_patterns == ("*",)
    assert read.spec.rotation is not None
    assert read.spec.rotation.overlap == "1h"
