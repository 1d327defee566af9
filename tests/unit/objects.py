"""Objects as an API server would store them after a server-side apply, for tests that need no server.

The schema is told by the shape: a list of objects that all have `name` is a list-map, a list of texts a set, any other list and
any object under a key that starts with `atomic` is atomic. What a real server does is checked in tests/property.
"""

import copy
import json

from redisop.kinds import MANAGER

UID = "11111111-0000-0000-0000-000000000000"
OWNER_UID = "99999999-0000-0000-0000-000000000000"


def fields_of(value, name=""):
    if name.startswith("atomic") or not isinstance(value, dict | list) or not value:
        return {}
    if isinstance(value, dict):
        return {"f:" + key: fields_of(item, key) for key, item in value.items()}
    if all(isinstance(item, dict) and "name" in item for item in value):
        return {
            "k:" + json.dumps({"name": item["name"]}, separators=(",", ":")): {".": {}, **fields_of(item)}
            for item in value
        }
    if all(isinstance(item, str) for item in value):
        return {"v:" + json.dumps(item): {} for item in value}
    return {}


def set_of_fields(want, stripped=("name", "namespace", "uid", "resourceVersion")):
    fields = fields_of({key: value for key, value in want.items() if key not in {"apiVersion", "kind", "metadata"}})
    metadata = fields_of({key: value for key, value in want["metadata"].items() if key not in stripped})
    return {**fields, "f:metadata": metadata} if metadata else fields


def applied(want, *, subresource=None, others=(), uid=UID):
    live = copy.deepcopy(want)
    ours = {
        "manager": MANAGER,
        "operation": "Apply",
        "apiVersion": want["apiVersion"],
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": set_of_fields(want),
    }
    if subresource:
        ours["subresource"] = subresource
    live["metadata"].update(
        uid=uid,
        resourceVersion="100",
        generation=1,
        creationTimestamp="2026-01-01T00:00:00Z",
        managedFields=[ours, *others],
    )
    return live


def other(manager, fields, time="2026-02-02T00:00:00Z", operation="Update"):
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "v1",
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }


def instance(name="demo", namespace="ns", uid=OWNER_UID):
    return {
        "apiVersion": "redis.kubegateway.io/v1alpha1",
        "kind": "RedisHttpInstance",
        "metadata": {"name": name, "namespace": namespace, "uid": uid},
        "spec": {},
    }


def config_map(name="c", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"a": "b"}}, "data": data}


def stateful_set(name="s", **spec):
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": 1,
            "serviceName": "headless",
            "template": {"spec": {"containers": [{"name": "redis", "image": "redis:8", "args": ["a", "b"]}]}},
            **spec,
        },
    }
