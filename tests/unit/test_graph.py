import pytest

from redisop.graph import OWNER_UID as ANNOTATION
from redisop.graph import build
from redisop.kinds import Ref
from tests.unit.objects import OWNER_UID, config_map, instance, stateful_set

CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-s-0"}, "spec": {}}


def test_every_child_gets_owner_and_namespace_and_its_manifest_is_left_alone():
    manifest = config_map(a="1")
    graph = build(instance(), [(0, manifest)])
    (node,) = graph.nodes
    assert graph.key == Ref("redis.kubegateway.io/v1alpha1", "RedisHttpInstance", "ns", "demo")
    assert node.owned
    assert node.want["metadata"]["namespace"] == "ns"
    assert node.want["metadata"]["annotations"] == {ANNOTATION: OWNER_UID}
    assert node.want["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "redis.kubegateway.io/v1alpha1",
            "kind": "RedisHttpInstance",
            "name": "demo",
            "uid": OWNER_UID,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert manifest == config_map(a="1")


def test_the_claim_of_the_stateful_set_is_not_owned():
    (node,) = build(instance(), [(2, CLAIM)]).nodes
    assert not node.owned
    assert node.want["metadata"] == {"name": "data-s-0", "namespace": "ns"}


def test_nodes_stand_in_waves():
    graph = build(instance(), [(3, stateful_set()), (0, config_map("b")), (2, CLAIM), (0, config_map("a"))])
    assert [(node.wave, node.ref.name) for node in graph.nodes] == [(0, "a"), (0, "b"), (2, "data-s-0"), (3, "s")]


def test_two_manifests_of_one_name_are_a_mistake():
    with pytest.raises(ValueError, match="ConfigMap/a"):
        build(instance(), [(0, config_map("a")), (1, config_map("a"))])


def test_children_of_an_instance_being_deleted_are_left_to_garbage_collection():
    going = instance()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    graph = build(going, [(0, config_map("a"))])
    assert graph.deleting
    assert graph.nodes == ()
