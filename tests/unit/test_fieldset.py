import copy

import pytest

from redisop.fieldset import MISSING, Fields, Op, diff, entry, holder, path_text, project, same
from tests.unit.objects import applied, config_map, other, set_of_fields, stateful_set

CONTAINER = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"redis"}')


def differences(want, live, fields=None):
    found = diff(want, set_of_fields(want) if fields is None else fields, live)
    return [(item.op, path_text(item.path), item.old, item.new, item.ours) for item in found]


def test_what_was_applied_is_unchanged():
    want = stateful_set()
    assert differences(want, applied(want)) == []


def test_fields_of_the_server_and_of_others_are_ignored():
    want = stateful_set()
    live = applied(want)
    live["status"] = {"replicas": 1}
    live["metadata"]["labels"] = {"theirs": "x"}
    live["spec"]["podManagementPolicy"] = "OrderedReady"
    live["spec"]["template"]["spec"]["containers"].insert(0, {"name": "sidecar", "image": "x"})
    assert differences(want, live) == []


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        ({"a": "1"}, {"a": "2"}, [(Op.SET, ".data.a", "1", "2", True)]),
        ({"a": "1"}, {"a": "1", "b": "2"}, [(Op.SET, ".data.b", MISSING, "2", False)]),
        ({"a": "1", "b": "2"}, {"a": "1"}, [(Op.DROP, ".data.b", "2", MISSING, True)]),
    ],
)
def test_maps(old, new, change):
    assert differences(config_map(**new), applied(config_map(**old)), set_of_fields(config_map(**old))) == change


def test_an_emptied_map_drops_what_was_ours():
    found = differences(config_map(), applied(config_map(a="1")), set_of_fields(config_map(a="1")))
    assert [(op, path) for op, path, *_ in found] == [(Op.SET, ".data"), (Op.DROP, ".data.a")]


def test_a_value_somebody_else_set_to_ours_is_to_be_owned():
    want = config_map(a="1")
    live = applied(want)
    fields = set_of_fields(config_map(b="x"))
    assert differences(want, live, fields) == [
        (Op.OWN, ".data.a", "1", "1", False),
        (Op.DROP, ".data.b", MISSING, MISSING, True),
    ]


def test_nothing_owned_yet_names_every_field():
    want = config_map(a="1", b="2")
    live = applied(want)
    live["data"]["b"] = "x"
    assert differences(want, live, {}) == [
        (Op.OWN, ".metadata.labels.a", "b", "b", False),
        (Op.OWN, ".data.a", "1", "1", False),
        (Op.SET, ".data.b", "x", "2", False),
    ]


def test_an_explicit_null_is_absent():
    want = config_map(a="1")
    assert (
        differences({**want, "binaryData": None, "data": {"a": "1", "b": None}}, applied(want), set_of_fields(want))
        == []
    )
    assert differences({**want, "data": {"a": None}}, applied(want), set_of_fields(want)) == [
        (Op.DROP, ".data.a", "1", MISSING, True)
    ]


def change(live, *path, to):
    live = copy.deepcopy(live)
    node = live
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = to
    return live


def test_items_of_a_list_map():
    want = stateful_set()
    live = applied(want)
    at = ("spec", "template", "spec", "containers")
    image = change(live, *at, 0, "image", to="evil")
    prefix = '.spec.template.spec.containers[name="redis"]'
    assert differences(want, image) == [(Op.SET, prefix + ".image", "evil", "redis:8", True)]
    gone = change(live, *at, to=[{"name": "other"}])
    (container,) = want["spec"]["template"]["spec"]["containers"]
    assert differences(want, gone) == [(Op.SET, prefix, MISSING, container, True)]


def test_an_added_item_and_a_dropped_item():
    container = {"name": "redis", "image": "r"}
    one = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "items": [container]}
    two = {**one, "items": [container, {"name": "more"}]}
    assert differences(two, applied(one), set_of_fields(one)) == [
        (Op.SET, '.items[name="more"]', MISSING, {"name": "more"}, False)
    ]
    assert differences(one, applied(two), set_of_fields(two)) == [
        (Op.DROP, '.items[name="more"]', {"name": "more"}, MISSING, True)
    ]


def test_order_of_our_items_counts_and_foreign_items_between_them_do_not():
    want = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "items": [{"name": "a"}, {"name": "b"}]}
    live = applied(want)
    live["items"] = [{"name": "z"}, {"name": "a"}, {"name": "y"}, {"name": "b"}]
    assert differences(want, live) == []
    live["items"].reverse()
    assert differences(want, live) == [
        (Op.ORDER, ".items", ['[name="b"]', '[name="a"]'], ['[name="a"]', '[name="b"]'], True)
    ]


def test_duplicates_of_our_item_are_a_difference_and_duplicates_of_others_are_not():
    want = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "items": [{"name": "a"}]}
    live = applied(want)
    live["items"] = [{"name": "z"}, {"name": "a"}, {"name": "z"}]
    assert differences(want, live) == []
    live["items"].append({"name": "a"})
    assert [(op, path) for op, path, *_ in differences(want, live)] == [(Op.SET, ".items")]


def test_members_of_a_set():
    want = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "finalizers": ["a", "b"]}}
    live = applied(want)
    live["metadata"]["finalizers"] = ["z", "a", "b"]
    assert differences(want, live) == []
    live["metadata"]["finalizers"] = ["b", "a"]
    assert [(op, path) for op, path, *_ in differences(want, live)] == [(Op.ORDER, ".metadata.finalizers")]
    live["metadata"]["finalizers"] = ["a"]
    assert differences(want, live) == [(Op.SET, '.metadata.finalizers[="b"]', MISSING, "b", True)]


def test_an_atomic_value_is_compared_as_a_whole_but_null_is_absent():
    want = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, "atomic": {"a": [1, {"b": "c"}]}}
    live = applied(want)
    assert differences(want, live) == []
    assert differences(want, change(live, "atomic", "a", 1, to={"b": "c", "creationTimestamp": None})) == []
    added = change(live, "atomic", "a", 1, to={"b": "c", "d": 1})
    assert [(op, path) for op, path, *_ in differences(want, added)] == [(Op.SET, ".atomic")]


@pytest.mark.parametrize(
    ("want", "live", "equal"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        ("1", 1, False),
        ([], {}, False),
        ([], MISSING, False),
        ({}, MISSING, False),
        ({}, {}, True),
        ({}, {"a": None}, True),
        ({"a": None}, {}, True),
        ({"a": 0}, {}, False),
        ([1, 2], [2, 1], False),
        ([{}], [{"a": 1}], False),
    ],
)
def test_leaf_equality_is_strict(want, live, equal):
    assert same(want, live) is equal


def test_a_value_of_another_type_than_the_fields_say_is_a_difference():
    fields: Fields = {"f:items": {'k:{"name":"a"}': {".": {}, "f:name": {}}}}
    base = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}}
    live = {**base, "items": [{"name": "a"}]}
    for wrong in ("text", {"name": "a"}, ["a"], [], {}, [{"nokey": 1}]):
        assert differences({**base, "items": wrong}, live, fields) != []


def test_projection_is_the_part_that_is_ours_in_live_order():
    want = stateful_set()
    live = applied(want)
    live["spec"]["more"] = 1
    containers = live["spec"]["template"]["spec"]["containers"]
    containers.insert(0, {"name": "z"})
    containers[1]["theirs"] = True
    containers[1]["args"] = ["z", "b", "a"]
    assert project(set_of_fields(want), live) == {
        "spec": {
            "replicas": 1,
            "serviceName": "headless",
            "template": {"spec": {"containers": [{"name": "redis", "image": "redis:8", "args": ["b", "a"]}]}},
        }
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((*CONTAINER, "f:image"), '.spec.template.spec.containers[name="redis"].image'),
        (
            ("f:spec", "f:ports", 'k:{"protocol":"TCP","port":6379}', "f:name"),
            '.spec.ports[port=6379,protocol="TCP"].name',
        ),
        (("f:metadata", "f:finalizers", 'v:"x"'), '.metadata.finalizers[="x"]'),
        (("f:data", "f:redis.conf"), ".data.redis.conf"),
        (("f:list", "i:3"), ".list[3]"),
    ],
)
def test_paths_are_written_as_the_server_writes_them(path, text):
    assert path_text(path) == text


def test_our_entry_is_the_apply_of_our_manager_on_that_subresource():
    live = applied(config_map(a="1"), others=[other("redisop", {"f:data": {"f:z": {}}})])
    found = entry(live, "redisop")
    assert found is not None
    assert "f:a" in found.fields["f:data"]
    assert entry(live, "redisop", "status") is None
    assert entry(live, "kubectl") is None
    assert entry({"metadata": {}}, "redisop") is None


def test_the_latest_other_manager_holds_a_path():
    image: Fields = {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"redis"}': {"f:image": {}}}}}}}
    live = applied(
        stateful_set(),
        others=[
            other("old", image, "2026-02-01T00:00:00Z"),
            other("new", image, "2026-02-03T00:00:00Z"),
            other("elsewhere", {"f:spec": {"f:replicas": {}}}, "2026-02-04T00:00:00Z"),
        ],
    )
    assert holder(live, (*CONTAINER, "f:image"), "redisop") == ("new", "2026-02-03T00:00:00Z")
    assert holder(live, (*CONTAINER, "f:args"), "redisop") is None
    assert holder(live, ("f:spec", "f:template"), "redisop") == ("new", "2026-02-03T00:00:00Z")
    below = ("f:spec", "f:replicas", "f:x")
    assert holder(live, below, "redisop") == ("elsewhere", "2026-02-04T00:00:00Z")
    assert holder(live, ("f:spec", "f:other"), "redisop") is None


def test_who_owns_a_field_comes_before_who_owns_the_map_it_stands_in():
    emptied = other("earlier", {"f:data": {}}, "2026-02-05T00:00:00Z")
    live = applied(config_map(a="1"), others=[emptied, other("later", {"f:data": {"f:a": {}}})])
    assert holder(live, ("f:data", "f:a"), "redisop") == ("later", "2026-02-02T00:00:00Z")
    assert holder(live, ("f:data", "f:b"), "redisop") is None


def test_what_there_was_before_managers_were_tracked_is_named_last():
    fields: Fields = {"f:data": {"f:a": {}}}
    live = applied(config_map(a="1"), others=[other("applier", fields), other("before-first-apply", fields)])
    assert holder(live, ("f:data", "f:a"), "redisop") == ("applier", "2026-02-02T00:00:00Z")


def test_the_keys_of_an_item_may_stand_in_another_order():
    ports: Fields = {"f:spec": {"f:ports": {'k:{"port":1,"protocol":"TCP"}': {".": {}}}}}
    live = applied(config_map(), others=[other("x", ports)])
    path = ("f:spec", "f:ports", 'k:{"protocol":"TCP","port":1}')
    assert holder(live, path, "redisop") == ("x", "2026-02-02T00:00:00Z")
