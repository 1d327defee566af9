import io

import pytest

from redisop import documents
from redisop.errors import InputError

INSTANCE = "apiVersion: redis.kubegateway.io/v1alpha1\nkind: RedisHttpInstance\nmetadata: {name: a}\n"
KEY = "apiVersion: redis.kubegateway.io/v1alpha1\nkind: ApiKey\nmetadata: {name: k}\n"
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"


def read(*texts: str) -> documents.Documents:
    return documents.read((f"f{index}.yaml", io.StringIO(text)) for index, text in enumerate(texts))


def test_a_stream_of_many_kinds():
    found = read(
        f"---\n{INSTANCE}---\n# nothing\n---\n{SERVICE}---\n{KEY}",
        SERVICE,
        '{"apiVersion": "v1", "kind": "List", "items": []}',
    )
    assert [obj["metadata"]["name"] for obj in found.instances] == ["a"]
    assert [obj["kind"] for obj in found.others] == ["ApiKey"]
    assert dict(found.foreign) == {"Service": 2}


def test_lists_are_flattened():
    text = "apiVersion: v1\nkind: List\nitems:\n- " + INSTANCE.replace("\n", "\n  ")
    assert len(read(text).instances) == 1


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: ]", "f0.yaml: line 1"),
        (f"{SERVICE}---\njust text", "f0.yaml: document 2: not a Kubernetes object"),
        ("kind: Service", "f0.yaml: document 1: not a Kubernetes object"),
        ("apiVersion: v1\nkind: Service", "f0.yaml: document 1: metadata.name"),
        ("apiVersion: v1\nkind: List\nitems: [3]", "f0.yaml: document 1, items[0]"),
        (INSTANCE.replace("v1alpha1", "v9"), "f0.yaml: document 1: apiVersion"),
        ("!!python/object/apply:os.system [ls]", "f0.yaml"),
    ],
)
def test_what_is_no_object_is_named(text, where):
    with pytest.raises(InputError, match="^" + where.replace("[", r"\[")):
        read(text)


def test_a_broken_secret_is_not_quoted():
    with pytest.raises(InputError) as caught:
        read("kind: Secret\ndata:\n  password: 'planted-secret\n")
    assert "planted-secret" not in str(caught.value)
    assert caught.value.__suppress_context__
