"""FieldsV1: whose fields, which part of an object they cover, how a path is written.

A key is `f:<field>`, `k:<JSON of a list-map item's keys>`, `v:<JSON of a set's member>`, or `.` (the item itself);
an empty node is a scalar or an atomic value.
"""

import json
from collections.abc import Callable, Hashable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

Fields: TypeAlias = Mapping[str, Any]
"""FieldsV1, or a part of it."""

Path: TypeAlias = tuple[str, ...]
"""Keys of FieldsV1 from the root."""


class Entry(NamedTuple):
    """One manager's entry in `metadata.managedFields`; `time` is RFC 3339."""

    api_version: str
    fields: Fields
    time: str


# What the server calls the managers of the time before it began to track them.
_NOBODY = "before-first-apply"


def entry(obj: Mapping[str, Any], manager: str, subresource: str | None = None) -> Entry | None:
    """Return the entry of `manager`'s server-side applies to `obj`, or to its subresource."""
    for item in obj["metadata"].get("managedFields", ()):
        if _applied_by(item, manager, subresource):
            return Entry(item.get("apiVersion", ""), item.get("fieldsV1", {}), item.get("time", ""))
    return None


def holder(obj: Mapping[str, Any], path: Path, manager: str, subresource: str | None = None) -> tuple[str, str] | None:
    """Return (manager, time) of the latest entry that is not ours and owns `path`, or something below it.

    Where there is none, of one that owns an atomic value above it.
    """
    entries = obj["metadata"].get("managedFields", ())
    found = []
    for item in entries:
        if not _applied_by(item, manager, subresource) and (end := _reach(item.get("fieldsV1", {}), path)):
            exact = end == len(path)
            # FieldsV1 writes an atomic value like a map of which a manager owns no key any more. Of an atomic one nobody owns keys.
            if exact or not any(_node(other.get("fieldsV1", {}), path[:end]) for other in entries):
                found.append((exact, item.get("time", ""), item.get("manager", "") != _NOBODY, item.get("manager", "")))
    if not found:
        return None
    _, time, _, name = max(found)
    return name, time


def divided(obj: Mapping[str, Any], mine: Entry, manager: str, subresource: str | None = None) -> Path | None:
    """Return the first path that `mine` owns as a leaf and another entry key by key: a map that we once applied empty.

    Then an apply would make us owner of the keys. FieldsV1 writes such a leaf like an atomic value.
    """
    for item in obj["metadata"].get("managedFields", ()):
        if not _applied_by(item, manager, subresource):
            found = _divided(mine.fields, item.get("fieldsV1", {}))
            if found is not None:
                return found
    return None


def project(fields: Fields, live: Any) -> Any:
    """Return the part of `live` that `fields` covers; list items keep their live order."""
    if not fields:
        return live
    if type(live) is dict:
        return {
            key[2:]: project(node, live[key[2:]]) for key, node in fields.items() if key[0] == "f" and key[2:] in live
        }
    if type(live) is list:
        nodes, identify = index(fields)
        covered = ((nodes.get(identify(item)), item) for item in live)
        return [project(found[1], item) for found, item in covered if found is not None]
    return live


def restrict(want: Any, fields: Fields | None, live: Any) -> Any:
    """Return the part of `live` that `fields` covers or `want` speaks of; a list without item keys as a whole.

    `fields` is None where nothing is covered.
    """
    if fields is not None and not fields:
        return live
    fields = fields or {}
    if type(want) is dict and type(live) is dict:
        part = {}
        for name, there in live.items():
            node = fields.get("f:" + name)
            if want.get(name) is not None:
                part[name] = restrict(want[name], node, there)
            elif node is not None:
                part[name] = project(node, there)
        return part
    if type(want) is list and type(live) is list:
        nodes, identify = index(fields)
        wanted = {identify(item): item for item in want} if nodes else {}
        if not nodes or None in wanted:
            return live
        found = ((identify(item), item) for item in live)
        return [
            restrict(wanted.get(identity, {}), nodes[identity][1] if identity in nodes else None, item)
            for identity, item in found
            if identity in nodes or identity in wanted
        ]
    return live


def same(want: Any, live: Any) -> bool:
    """Tell whether two leaves are equal: strictly by type and value, but that null in an atomic map counts as absent.

    Older API servers store nulls (`creationTimestamp`) inside atomic values.
    """
    if type(want) is dict and type(live) is dict:
        return all(same(item, live.get(name)) for name, item in want.items()) and all(
            item is None or want.get(name) is not None for name, item in live.items()
        )
    if type(want) is list and type(live) is list:
        return len(want) == len(live) and all(map(same, want, live))
    if type(want) is not type(live) and not (_is_number(want) and _is_number(live)):
        return False
    return bool(want == live)


def index(
    fields: Fields,
) -> tuple[dict[Hashable, tuple[str, Fields]], Callable[[Any], Hashable]]:
    """Return the items of a list that `fields` covers, by identity, and what gives an item's identity (None: it has none)."""
    nodes: dict[Hashable, tuple[str, Fields]] = {}
    names: tuple[str, ...] | None = None
    for key, node in fields.items():
        if key[0] == "k":
            names, values = _item_key(key)
            nodes[values] = (key, node)
        elif key[0] == "v":
            nodes[_member(key)] = (key, node)
    return nodes, _by_keys(names) if names is not None else _by_value


def key_like(key: str, item: Any) -> str:
    """Return the FieldsV1 key of a list item, of the same form as its sibling `key`."""
    if key[0] == "v":
        return "v:" + json.dumps(item, ensure_ascii=False)
    names, _ = _item_key(key)
    return "k:" + json.dumps({name: item.get(name) for name in names}, ensure_ascii=False, separators=(",", ":"))


def path_text(path: Path) -> str:
    """Return a path as the API server writes it in conflicts: `.spec.ports[port=6379,protocol="TCP"].name`."""
    return "".join(map(element_text, path))


def element_text(key: str) -> str:
    """Return one element of a path as the API server writes it."""
    form, text = key[0], key[2:]
    if form == "f":
        return "." + text
    if form == "k":
        names, values = _item_key(key)
        return (
            "[" + ",".join(f"{name}={_literal(value)}" for name, value in sorted(zip(names, values, strict=True))) + "]"
        )
    return f"[={_literal(json.loads(text))}]" if form == "v" else f"[{text}]"


def _applied_by(item: Mapping[str, Any], manager: str, subresource: str | None) -> bool:
    return (
        item.get("manager") == manager
        and item.get("operation") == "Apply"
        and (item.get("subresource") or None) == subresource
    )


def _divided(mine: Fields, theirs: Fields) -> Path | None:
    for key in mine.keys() & theirs.keys():
        if mine[key]:
            found = _divided(mine[key], theirs[key])
            if found is not None:
                return (key, *found)
        elif theirs[key]:
            return (key,)
    return None


def _reach(fields: Fields, path: Path) -> int:
    """Return how many keys of `path` lead to a node: all, as many as lead to a leaf, or 0."""
    node = fields
    for number, key in enumerate(path):
        child = _child(node, key)
        if child is None:
            return 0 if node else number
        node = child
    return len(path)


def _node(fields: Fields, path: Path) -> Fields | None:
    node: Fields | None = fields
    for key in path:
        if node is None:
            return None
        node = _child(node, key)
    return node


def _child(node: Fields, key: str) -> Fields | None:
    child: Fields | None = node.get(key)
    if child is None and key[0] == "k":
        return next((node[other] for other in node if other[0] == "k" and _same_item(other, key)), None)
    return child


def _same_item(one: str, other: str) -> bool:
    return dict(zip(*_item_key(one), strict=True)) == dict(zip(*_item_key(other), strict=True))


@lru_cache(maxsize=4096)
def _item_key(key: str) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    parsed = json.loads(key[2:])
    return tuple(parsed), tuple(parsed.values())


@lru_cache(maxsize=4096)
def _member(key: str) -> Hashable:
    value: Hashable = json.loads(key[2:])
    return value


@lru_cache(maxsize=256)
def _by_keys(names: tuple[str, ...]) -> Callable[[Any], Hashable]:
    def identify(item: Any) -> Hashable:
        if type(item) is not dict:
            return None
        values = tuple([item.get(name) for name in names])
        return None if None in values else values

    return identify


def _by_value(item: Any) -> Hashable:
    return None if isinstance(item, dict | list) else item


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float
