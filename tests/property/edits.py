"""What other people do to our objects: random edits, each sent to the real API server."""

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.property.desired import NAMES, TEXTS
from tests.property.server import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Answer, Server

Step: TypeAlias = str | int
Path: TypeAlias = tuple[Step, ...]

OWNERS: Path = ("metadata", "ownerReferences")
FLAGS = frozenset({"controller", "blockOwnerDeletion"})
KEYS = frozenset(
    [
        "apiVersion",
        "kind",
        "name",
        "port",
        "protocol",
        "containerPort",
        "mountPath",
        "key",
        "topologyKey",
        "whenUnsatisfiable",
        "uid",
        "ip",
        "path",
        "type",
    ]
)
"""Fields that make an item what it is: a partial manifest keeps them."""


@dataclass(frozen=True)
class Target:
    """Where an object lives; `subresource` is what we write."""

    server: Server
    path: str
    subresource: str | None

    @property
    def url(self) -> str:
        """The URL path of what we write."""
        return f"{self.path}/{self.subresource}" if self.subresource else self.path

    def read(self) -> Any:
        answer = self.server.get(self.path)
        assert answer.ok, answer
        return answer.body


def sites(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every (path, value) of JSON data."""
    yield path, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield from sites(item, (*path, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from sites(item, (*path, number))


def editable(obj: Any, subresource: str | None) -> list[tuple[Path, Any]]:
    """Return the sites of an object that an edit may touch."""
    if subresource:
        return [(("status", *path), value) for path, value in sites(obj.get("status", {}))]
    metadata = obj["metadata"]
    found: list[tuple[Path, Any]] = []
    # An owner that does not exist would have the object collected.
    owners = metadata.get("ownerReferences", [])
    found += [(OWNERS, owners)] * bool(owners)
    found += [
        ((*OWNERS, i, name), owner[name]) for i, owner in enumerate(owners) for name in sorted(FLAGS & owner.keys())
    ]
    for name in ("labels", "annotations", "finalizers"):
        found += [(("metadata", name, *path), value) for path, value in sites(metadata.get(name, {}))]
    for name, value in obj.items():
        if name not in {"apiVersion", "kind", "metadata", "status"}:
            found += [((name, *path), item) for path, item in sites(value)]
    return found


def changed(rng: random.Random, value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + rng.choice([1, 2, -1])
    if isinstance(value, str):
        return rng.choice([text for text in ("eHg=", *TEXTS, "1Gi", "x-ray", "Local") if text != value])
    if isinstance(value, list):
        return changed_list(rng, value)
    if isinstance(value, dict):
        return {**value, rng.choice([*NAMES, "foreign", "a", "b"]): rng.choice(TEXTS)}
    return value


def changed_list(rng: random.Random, value: list[Any]) -> list[Any]:
    kind = rng.choice(["reverse", "drop", "add", "twice", "shuffle", "insert"])
    items = copy.deepcopy(value)
    if kind == "reverse":
        items.reverse()
    elif kind == "shuffle":
        rng.shuffle(items)
    elif kind == "drop" and items:
        items.pop(rng.randrange(len(items)))
    elif kind == "twice" and items:
        items.insert(rng.randrange(len(items) + 1), copy.deepcopy(rng.choice(items)))
    else:
        items.insert(0 if kind == "insert" else len(items), another_item(rng, items))
    return items


def another_item(rng: random.Random, items: list[Any]) -> Any:
    if not items or not isinstance(items[0], dict):
        return (max(items) + 1) if items and isinstance(items[0], int) else f"oracle.test/{rng.choice(NAMES)}x"
    item = copy.deepcopy(rng.choice(items))
    for name in ("name", "mountPath", "topologyKey", "key"):
        if name in item:
            item[name] = f"{item[name]}-x"
            break
    for name in ("port", "containerPort"):
        if name in item and isinstance(item[name], int):
            item[name] += rng.randint(1, 9)
    return item


def mutation(rng: random.Random, obj: Any, subresource: str | None) -> tuple[Path, Any] | None:
    """Return (path, new value); None as value takes the field away."""
    found = [
        (path, value)
        for path, value in editable(obj, subresource)
        if path and not (isinstance(path[-1], str) and path[-1] in KEYS and rng.random() < 0.9)
    ]
    if not found:
        return None
    path, value = rng.choice(found)
    if path == OWNERS or (rng.random() < 0.25 and len(path) > 1):
        return path, None
    return path, changed(rng, value)


def put_at(obj: Any, path: Path, value: Any) -> Any:
    """Return a copy of JSON data with one value set, or taken away where it is None."""
    obj = copy.deepcopy(obj)
    node = obj
    for step in path[:-1]:
        if isinstance(step, str) and step not in node:
            node[step] = {}
        node = node[step]
    last = path[-1]
    if value is not None:
        node[last] = value
    elif isinstance(last, int):
        node.pop(last)
    else:
        node.pop(last, None)
    return obj


def as_merge_patch(obj: Any, path: Path, value: Any) -> Any:
    """Return the RFC 7386 patch; a list is replaced as a whole."""
    for number, step in enumerate(path):
        if isinstance(step, int):
            whole = put_at(obj, path, value)
            for name in path[:number]:
                whole = whole[name]
            path, value = path[:number], whole
            break
    patch = value
    for step in reversed(path):
        patch = {step: patch}
    return patch


def as_json_patch(obj: Any, path: Path, value: Any) -> Any:
    node = obj
    for step in path[:-1]:
        if isinstance(step, str) and step not in node:
            return [{"op": "add", "path": "/metadata/" + str(path[1]), "value": value}]
        node = node[step]
    there = isinstance(path[-1], int) or path[-1] in node
    pointer = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
    if value is None:
        return [{"op": "remove", "path": pointer}] if there else []
    return [{"op": "replace" if there else "add", "path": pointer, "value": value}]


def part_of(rng: random.Random, value: Any) -> Any:
    """Return a random part of a manifest that another applier could want, keys of items kept."""
    if isinstance(value, dict):
        return {
            name: part_of(rng, item)
            for name, item in value.items()
            if name in KEYS or name == "metadata" or rng.random() < 0.6
        }
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return [part_of(rng, item) for item in value if rng.random() < 0.7]
    return copy.deepcopy(value)


class Edits:
    """Random edits of one object; each returns whether it changed anything."""

    def __init__(self, target: Target, want: Any, rng: random.Random) -> None:
        self.target, self.want, self.rng = target, want, rng

    def run(self, kind: str) -> bool:
        before = self.target.read()["metadata"]["resourceVersion"]
        for _ in range(4):
            answer = getattr(self, kind)()
            if answer is not None and answer.ok and answer.body["metadata"]["resourceVersion"] != before:
                return True
        return False

    def put(self) -> Answer | None:
        live = self.target.read()
        for _ in range(self.rng.randint(1, 2)):
            found = mutation(self.rng, live, self.target.subresource)
            if found is None:
                return None
            live = put_at(live, *found)
        return self.target.server.request("PUT", self.target.url, live, fieldManager="putter")

    def json_patch(self) -> Answer | None:
        live = self.target.read()
        found = mutation(self.rng, live, self.target.subresource)
        if found is None or not (patch := as_json_patch(live, *found)):
            return None
        return self._patch(patch, JSON_PATCH, "json-patcher")

    def merge_patch(self) -> Answer | None:
        live = self.target.read()
        found = mutation(self.rng, live, self.target.subresource)
        return found and self._patch(as_merge_patch(live, *found), MERGE_PATCH, "merge-patcher")

    def strategic_patch(self) -> Answer | None:
        live = self.target.read()
        found = mutation(self.rng, live, self.target.subresource)
        return found and self._patch(as_merge_patch(live, *found), STRATEGIC_PATCH, "strategic-patcher")

    def add_foreign(self) -> Answer | None:
        """Add fields beside ours, which leaves ours as they are."""
        patch: Any
        if self.target.subresource:
            patch = {"status": {"map": {"foreign": self.rng.choice(TEXTS)}, "text": "foreign"}}
        else:
            patch = {"metadata": {"labels": {"foreign": self.rng.choice(["x", "y"])}, "annotations": {"foreign": "z"}}}
        return self._patch(patch, MERGE_PATCH, "adder")

    def reorder(self) -> Answer | None:
        """Turn a list around."""
        live = self.target.read()
        lists = [(path, value) for path, value in editable(live, self.target.subresource) if isinstance(value, list)]
        found = [(path, value[::-1]) for path, value in lists if value[::-1] != value]
        return self._patch(as_json_patch(live, *self.rng.choice(found)), JSON_PATCH, "orderer") if found else None

    def replace_empty(self) -> Answer | None:
        """Take away an empty value that we want, or fill it."""
        live = self.target.read()
        wanted = [path for path, value in editable(self.want, self.target.subresource) if value in ({}, [])]
        found = [
            path for path, value in editable(live, self.target.subresource) if path in wanted and value in ({}, [])
        ]
        if not found:
            return None
        path = self.rng.choice(found)
        new = None
        if self.rng.random() < 0.7:
            new = (
                []
                if path[-1] in {"ingress", "egress", "from", "to"}
                else {"medium": "Memory"}
                if path[-1] == "emptyDir"
                else changed(self.rng, {})
            )
            new = [{}] if new == [] else new
        return self._patch(as_json_patch(live, path, new), JSON_PATCH, "filler")

    def take_and_return(self) -> Answer | None:
        """Change a text of ours and put it back: the value is right, and not ours any more."""
        place: Path = ("status", "text") if self.target.subresource else ("metadata", "annotations", "ours")
        found = [value for path, value in editable(self.want, self.target.subresource) if path == place]
        if not found:
            return None
        for value in ("taken", found[0]):
            answer = self._patch(as_merge_patch({}, place, value), MERGE_PATCH, "taker")
        return answer

    def apply_forced(self) -> Answer | None:
        return self._apply(force=True)

    def apply_unforced(self) -> Answer | None:
        return self._apply(force=False)

    def apply_same(self) -> Answer | None:
        """Become a co-owner of some of our fields."""
        return self.target.server.apply(self.target.url, self._part(self.want), "co-owner", force=False)

    def forget_managers(self) -> Answer | None:
        patch: Any = {"metadata": {"managedFields": [{}]}}
        return self._patch(patch, MERGE_PATCH, "forgetter")

    def forget_us(self) -> Answer | None:
        """Put the object with our entry taken out of managedFields."""
        live = self.target.read()
        kept = [entry for entry in live["metadata"].get("managedFields", ()) if entry["manager"] != "redisop"]
        live["metadata"]["managedFields"] = kept or [{}]
        return self.target.server.request("PUT", self.target.url, live, fieldManager="forgetter")

    def admission_sets(self) -> Answer | None:
        """Touch the object so that an admission policy rewrites a field of ours."""
        return self._touch("trigger-set")

    def admission_removes(self) -> Answer | None:
        """Touch the object so that an admission policy removes a field of ours."""
        return self._touch("trigger-remove")

    def delete_and_recreate(self) -> Answer | None:
        """Delete the object; somebody POSTs one of the same name and contents."""
        live = self.target.read()
        server, path = self.target.server, self.target.path
        server.request("PATCH", path, {"metadata": {"finalizers": None}}, MERGE_PATCH)
        server.request("DELETE", path, {"propagationPolicy": "Background"})
        live["metadata"] = {
            name: value for name, value in live["metadata"].items() if name in {"name", "labels", "annotations"}
        }
        for name in ("clusterIP", "clusterIPs", "volumeName"):
            live.get("spec", {}).pop(name, None)
        answer = server.request("POST", path.rsplit("/", 1)[0], live, fieldManager="creator")
        return answer if answer.ok else server.apply(path, self.want)

    def _touch(self, manager: str) -> Answer:
        return self._patch({"metadata": {"labels": {"touched": str(self.rng.random())}}}, MERGE_PATCH, manager)

    def _patch(self, patch: Any, content_type: str, manager: str) -> Answer:
        return self.target.server.request("PATCH", self.target.url, patch, content_type, fieldManager=manager)

    def _part(self, obj: Any) -> Any:
        part = part_of(self.rng, {name: value for name, value in obj.items() if name != "metadata"})
        metadata = part_of(
            self.rng, {k: v for k, v in obj["metadata"].items() if k in {"labels", "annotations", "finalizers"}}
        )
        return {
            **part,
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "metadata": {**({} if self.target.subresource else metadata), "name": obj["metadata"]["name"]},
        }

    def _apply(self, *, force: bool) -> Answer | None:
        part = self._part(self.want)
        for _ in range(self.rng.randint(0, 2)):
            found = mutation(self.rng, part, self.target.subresource)
            if found is not None:
                part = put_at(part, *found)
        manager = self.rng.choice(["applier-1", "applier-2"])
        return self.target.server.apply(self.target.url, part, manager, force=force)


KINDS = (
    "put",
    "json_patch",
    "merge_patch",
    "strategic_patch",
    "add_foreign",
    "reorder",
    "replace_empty",
    "take_and_return",
    "apply_forced",
    "apply_unforced",
    "apply_same",
    "forget_managers",
    "forget_us",
    "admission_sets",
    "admission_removes",
    "delete_and_recreate",
)


def possible(kind: str, name: str) -> bool:
    """Tell whether an edit can be made to a kind of object."""
    if name.endswith("/status"):
        return kind not in {"strategic_patch", "admission_sets", "admission_removes", "delete_and_recreate"}
    return not (name == "Sample" and kind == "strategic_patch") and not (
        name == "PersistentVolumeClaim" and kind == "delete_and_recreate"
    )


def show(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=repr)
