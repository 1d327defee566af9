import base64

import pytest

from redisop.errors import ApiError
from redisop.kinds import INSTANCE, POD, Ref, controller_of, kind_of, ref_of
from redisop.values import Generated, Pending, has_generated, has_pending, materialise


def test_generated_values_are_made_once_per_place_and_never_alike():
    want = {"data": {"a": Generated(), "b": Generated()}, "list": [Generated(8)], "text": "x"}
    made = materialise(want)
    assert not has_generated(made)
    assert has_generated(want)
    assert made["text"] == "x"
    assert len({made["data"]["a"], made["data"]["b"], made["list"][0]}) == 3
    assert len(base64.b64decode(made["data"]["a"])) == 43


def test_pending_is_found_at_any_depth():
    assert has_pending({"a": [{"b": Pending("Secret/x")}]})
    assert not has_pending({"a": [{"b": Generated()}]})


def test_placeholders_print_without_a_value():
    assert f"{Generated()} {Pending('Secret/x')}" == "(generated) (known after apply)"


@pytest.mark.parametrize(
    ("kind", "arguments", "path"),
    [
        (POD, (), "/api/v1/pods"),
        (POD, ("ns", "p-0"), "/api/v1/namespaces/ns/pods/p-0"),
        (INSTANCE, ("ns",), "/apis/redis.kubegateway.io/v1alpha1/namespaces/ns/redishttpinstances"),
        (POD, ("n/s", "p?", "status"), "/api/v1/namespaces/n%2Fs/pods/p%3F/status"),
    ],
)
def test_paths(kind, arguments, path):
    assert kind.path(*arguments) == path


def test_ref_and_owner():
    owner = {"kind": "StatefulSet", "name": "s", "uid": "u", "controller": True}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": "ns", "name": "s-0", "ownerReferences": [{"kind": "Node", "uid": "n"}, owner]},
    }
    assert ref_of(pod) == Ref("v1", "Pod", "ns", "s-0")
    assert kind_of(ref_of(pod)) is POD
    assert controller_of(pod) == owner
    assert controller_of({"metadata": {}}) is None


@pytest.mark.parametrize(
    ("code", "message", "terminal"),
    [
        (422, "immutable", True),
        (500, "failed to create typed patch object (ns/x; v1, Kind=Service): unknown field", True),
        (500, "etcdserver: request timed out", False),
        (409, "stale", False),
        (429, "slow down", False),
    ],
)
def test_terminal_errors(code, message, terminal):
    assert ApiError(message, code=code).terminal is terminal
