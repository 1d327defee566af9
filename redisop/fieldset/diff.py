"""Walks a manifest, the fields we own and the live object together.

A server-side apply merges the manifest into the live object, takes away what our last apply set and nobody else owns, and
moves ownership only where something changed. So where fields, owned leaves and the order of our items all match, the
apply would change nothing.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

from redisop.fieldset.fields import Fields, Path, element_text, index, key_like, project, same


class Op(StrEnum):
    """How a field differs."""

    SET = "set"
    OWN = "own"
    """The value is right, but it is not ours yet."""
    DROP = "drop"
    """Ours, and no longer wanted."""
    ORDER = "order"
    """The list has our items in another order."""


class Missing:
    """Type of MISSING."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()
"""Stands for a value that is not there."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs; `ours` tells whether our entry owns it now.

    For ORDER, `old` and `new` list the path elements of the items.
    """

    op: Op
    path: Path
    old: Any
    new: Any
    ours: bool


def diff(want: Mapping[str, Any], fields: Fields, live: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Return what an apply of `want` would change in `live`, given the fields we own; empty where it would change nothing.

    An explicit null in `want` counts as absent.
    """
    found = _mapping(_owned_part(want), fields, live)
    return tuple(Difference(op, tuple(reversed(path)), old, new, ours) for op, path, old, new, ours in found or ())


# The server takes these out of every applied set of fields (managedfields/internal/stripmeta.go).
_STRIPPED = frozenset({"apiVersion", "kind"})
_STRIPPED_METADATA = frozenset(
    {
        "creationTimestamp",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)

_Found: TypeAlias = list[tuple[Op, list[str], Any, Any, bool]]
"""(op, keys from the leaf up to the root, old, new, ours): a path costs nothing until something differs."""


def _owned_part(want: Mapping[str, Any]) -> dict[str, Any]:
    part = {name: value for name, value in want.items() if name not in _STRIPPED}
    metadata = {name: value for name, value in want["metadata"].items() if name not in _STRIPPED_METADATA}
    part["metadata"] = metadata or None
    return part


def _compare(want: Any, fields: Fields, live: Any) -> _Found | None:
    if not fields or live is MISSING:
        return None if same(want, live) else [(Op.SET, [], live, want, True)]
    if want and type(want) is dict:
        return _mapping(want, fields, live if type(live) is dict else {})
    if want and type(want) is list:
        return _listing(want, fields, live if type(live) is list else [])
    return _unowned(want, live) + _dropped(fields, live)


def _mapping(want: Mapping[str, Any], fields: Fields, live: Mapping[str, Any]) -> _Found | None:
    found: _Found | None = None
    matched = 1 if "." in fields else 0
    for name, value in want.items():
        if value is None:
            continue
        key = "f:" + name
        node = fields.get(key)
        there = live.get(name, MISSING)
        if node is None:
            found = _add(found, key, _unowned(value, there))
            continue
        matched += 1
        if not node and type(value) is str and value == there:
            continue
        more = _compare(value, node, there)
        if more is not None:
            found = _add(found, key, more)
    if matched != len(fields):
        for key, node in fields.items():
            if key != "." and (key[0] != "f" or want.get(key[2:]) is None):
                found = _add(found, key, _dropped(node, live.get(key[2:], MISSING)))
    return found


def _listing(want: list[Any], fields: Fields, live: list[Any]) -> _Found | None:
    nodes, identify = index(fields)
    wanted = {identify(item): item for item in want}
    present: dict[Hashable, Any] = {}
    for item in live:
        identity = identify(item)
        if identity in wanted and identity in present:
            # An apply would merge the duplicates into one item.
            return [(Op.SET, [], live, want, False)]
        present[identity] = item
    if not nodes or None in wanted or len(wanted) != len(want):
        return [(Op.SET, [], live, want, False)]
    found: _Found | None = None
    sibling = next(iter(nodes.values()))[0]
    for identity, item in wanted.items():
        there = present.get(identity, MISSING)
        owned = nodes.get(identity)
        if owned is None:
            found = _add(found, key_like(sibling, item), _unowned(item, there))
            continue
        key, node = owned
        more = _compare(item, node, there) if not node or "." in node else _unowned(item, there)
        if more is not None:
            found = _add(found, key, more)
    for identity, (key, node) in nodes.items():
        if identity not in wanted:
            gone = present.get(identity, MISSING)
            found = _add(found, key, [(Op.DROP, [], project(node, gone), MISSING, True)])
    old = [identity for identity in present if identity in wanted]
    new = [identity for identity in wanted if identity in present]
    if old != new:
        names = {identity: element_text(key_like(sibling, item)) for identity, item in wanted.items()}
        found = [*(found or ()), (Op.ORDER, [], [names[i] for i in old], [names[i] for i in new], True)]
    return found


def _unowned(want: Any, live: Any) -> _Found:
    found: _Found | None = None
    if type(want) is dict and type(live) is dict:
        for name, value in want.items():
            if value is not None:
                found = _add(found, "f:" + name, _unowned(value, live.get(name, MISSING)))
    return found or [(Op.OWN if same(want, live) else Op.SET, [], live, want, False)]


def _dropped(fields: Fields, live: Any) -> _Found:
    found: _Found | None = None
    if "." not in fields:
        for key, node in fields.items():
            if key[0] == "f":
                there = live.get(key[2:], MISSING) if type(live) is dict else MISSING
                found = _add(found, key, _dropped(node, there))
    return found or [(Op.DROP, [], project(fields, live), MISSING, True)]


def _add(found: _Found | None, key: str, more: _Found) -> _Found:
    for _, path, *_rest in more:
        path.append(key)
    return more if found is None else found + more
