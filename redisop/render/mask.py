"""Takes the secrets out of what is shown, and turns placeholders into their text.

Of a Secret only the names of its keys and whether a value changes are shown: `data` and `stringData`, and every annotation but
ours, because tools copy whole objects into annotations (kubectl's last-applied-configuration).
"""

import copy
from typing import Any

from redisop.fieldset import MISSING
from redisop.kinds import GROUP, SECRET, Object
from redisop.values import Generated, Pending

HIDDEN = "(hidden)"
CHANGED = "(hidden, changed)"

_SECRET_PATHS = (".data", ".stringData", ".metadata.annotations")
_OURS = GROUP + "/"


def printable(value: Any) -> Any:
    """Return plain JSON data, with the text of each placeholder."""
    if isinstance(value, dict):
        return {name: printable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable(item) for item in value]
    return str(value) if isinstance(value, Generated | Pending) else value


def mask_change(kind: str, path: str, old: Any, new: Any) -> tuple[Any, Any]:
    """Return `old` and `new` of one changed field as they may be shown; MISSING stays."""
    if kind != SECRET.name or not path.startswith(_SECRET_PATHS) or path.startswith(f".metadata.annotations.{_OURS}"):
        return printable(old), printable(new)
    return _mask_pair(old, new)


def mask_objects(old: Object | None, new: Object | None) -> tuple[Object | None, Object | None]:
    """Return two versions of one object as they may be shown; either may be missing."""
    if (old or new or {}).get("kind") != SECRET.name:
        return printable(old), printable(new)
    old, new = copy.deepcopy(old), copy.deepcopy(new)
    for path in (("data",), ("stringData",), ("metadata", "annotations")):
        before, after = _at(old, path), _at(new, path)
        for name in {**before, **after}:
            if not name.startswith(_OURS) or path != ("metadata", "annotations"):
                shown = _mask_pair(before.get(name, MISSING), after.get(name, MISSING))
                for where, value in zip((before, after), shown, strict=True):
                    if value is not MISSING:
                        where[name] = value
    return printable(old), printable(new)


def _mask_pair(old: Any, new: Any) -> tuple[Any, Any]:
    if isinstance(old, dict) or isinstance(new, dict):
        before, after = (value if isinstance(value, dict) else {} for value in (old, new))
        pairs = {name: _mask_pair(before.get(name, MISSING), after.get(name, MISSING)) for name in {**before, **after}}
        return (
            {name: pairs[name][0] for name in before} if isinstance(old, dict) else old if old is MISSING else HIDDEN,
            {name: pairs[name][1] for name in after} if isinstance(new, dict) else new if new is MISSING else HIDDEN,
        )
    return _hide(old, HIDDEN), _hide(new, HIDDEN if old is MISSING or old == new else CHANGED)


def _hide(value: Any, placeholder: str) -> Any:
    if value is MISSING:
        return value
    return str(value) if isinstance(value, Generated | Pending) else placeholder


def _at(obj: Object | None, path: tuple[str, ...]) -> dict[str, Any]:
    node: Any = obj
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}
