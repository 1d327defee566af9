import asyncio

import pytest

from redisop.kinds import CONFIG_MAP, INSTANCE, INSTANCE_LABEL, POD, Ref
from redisop.store import REMEMBER, Store, key_of, newer

KEY = Ref(INSTANCE.api_version, INSTANCE.name, "team", "demo")


def child(version, *, name="demo", uid="u1", owner="demo", kind=CONFIG_MAP, label=None):
    metadata = {"name": name, "namespace": "team", "uid": uid, "resourceVersion": version}
    if owner:
        metadata["ownerReferences"] = [
            {"apiVersion": INSTANCE.api_version, "kind": INSTANCE.name, "name": owner, "uid": "o", "controller": True}
        ]
    if label:
        metadata["labels"] = {INSTANCE_LABEL: label}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}


REF = Ref("v1", "ConfigMap", "team", "demo")


@pytest.mark.parametrize(("left", "right", "expected"), [("10", "9", True), ("9", "10", False), ("7", "7", False)])
def test_resource_versions_compare_by_length_then_text(left, right, expected):
    assert newer(left, right) is expected


def test_an_object_never_goes_back():
    store = Store()
    assert store.put(child("10"))
    assert not store.put(child("9"))
    assert not store.put(child("10"))
    assert store.get(REF) == child("10")


def test_the_end_of_a_predecessor_does_not_remove_its_successor():
    store = Store()
    store.put(child("5"))
    store.put(child("8", uid="u2"))
    assert not store.remove(child("7"))
    assert store.get(REF) == child("8", uid="u2")


def test_an_end_older_than_what_we_wrote_since_is_ignored():
    # A stripped label ends the object for a filtered watch; the repair's response may overtake that event.
    store = Store()
    store.put(child("12"))
    assert not store.remove(child("11"))
    assert store.get(REF) is not None


def test_a_late_response_does_not_bring_back_what_was_deleted():
    store = Store()
    store.put(child("10"))
    assert store.remove(child("11"))
    assert not store.put(child("10"))
    assert store.get(REF) is None
    assert store.put(child("12")), "the same object that matches the watch again"


def test_a_discarded_uid_never_comes_back():
    store = Store()
    store.put(child("10"))
    assert store.discard(REF, "u1")
    assert not store.put(child("11"))
    assert store.put(child("12", uid="u2"))


def test_ends_are_not_remembered_for_ever():
    now = 0.0
    store = Store(clock=lambda: now)
    for number in range(100):
        store.remove(child("1", uid=f"u{number}"))
    now = REMEMBER + 1
    store.remove(child("1", uid="last"))
    assert list(store._ended) == ["last"]


def test_a_list_removes_ghosts_and_keeps_what_is_newer_than_itself():
    store = Store()
    store.put(child("10", name="ghost", uid="g"))
    store.put(child("30", name="newer", uid="n"))
    store.put(child("10", name="same", uid="s"))
    changes = store.replace(
        CONFIG_MAP, [child("10", name="same", uid="s"), child("15", name="new", uid="w")], None, "20"
    )
    assert [(old and old["metadata"]["name"], new and new["metadata"]["name"]) for old, new in changes] == [
        (None, "new"),
        ("ghost", None),
    ]
    assert {obj["metadata"]["name"] for obj in store.of_kind(CONFIG_MAP)} == {"newer", "same", "new"}


def test_a_list_of_one_namespace_leaves_the_others_alone():
    store = Store()
    store.put(child("1"))
    assert not store.synced(CONFIG_MAP, "other")
    store.replace(CONFIG_MAP, [], "other", "9")
    assert store.synced(CONFIG_MAP, "other")
    assert store.get(REF) is not None


def test_children_follow_owner_references_and_labels():
    store = Store()
    store.put(child("1", name="owned", uid="a"))
    store.put(child("1", name="pod", uid="b", owner=None, kind=POD, label="demo"))
    store.put(child("1", name="other", uid="c", owner="elsewhere", label="demo"))
    store.put(child("1", name="nobody", uid="d", owner=None))
    assert {ref.name for ref in store.children(KEY)} == {"owned", "pod"}
    store.put(child("2", name="owned", uid="a", owner="elsewhere"))
    assert {ref.name for ref in store.children(KEY)} == {"pod"}
    store.remove(child("3", name="pod", uid="b", kind=POD, owner=None, label="demo"))
    assert store.children(KEY) == {}


def test_a_snapshot_does_not_change():
    store = Store()
    store.put(child("1"))
    before = store.children(KEY)
    store.remove(child("2"))
    assert REF in before


def test_the_key_of_an_instance_is_itself():
    instance = {
        "apiVersion": INSTANCE.api_version,
        "kind": INSTANCE.name,
        "metadata": {"name": "demo", "namespace": "team"},
    }
    assert key_of(instance) == KEY


async def test_waiting_ends_when_the_version_has_passed_or_the_object_is_gone():
    store = Store()
    store.put(child("5"))
    await asyncio.wait_for(store.passed(REF, "4"), 1)
    waits = [asyncio.create_task(store.passed(REF, "5")) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waits)
    store.put(child("6"))
    await asyncio.wait_for(asyncio.gather(*waits), 1)
    wait = asyncio.create_task(store.passed(REF, "6"))
    await asyncio.sleep(0)
    store.remove(child("7"))
    await asyncio.wait_for(wait, 1)
