"""Fields of which the API server allows only one.

Where somebody put one in the place of ours, an apply only adds ours again, and is refused with 422 while the other stands beside
it: for ever. Not even an explicit null takes the other one away.
"""

from collections.abc import Iterator
from typing import Any

from redisop.fieldset import Path
from redisop.kinds import DISRUPTION_BUDGET, STATEFUL_SET, Object

_HANDLERS = {"f:livenessProbe", "f:readinessProbe", "f:startupProbe", "f:postStart", "f:preStop"}
_HANDLER = {"exec", "grpc", "httpGet", "sleep", "tcpSocket"}
_BUDGET = {"maxUnavailable", "minAvailable"}


def rivals(want: Object, live: Object) -> tuple[tuple[Path, Any], ...]:
    """Return path and value of each field of `live` that is not wanted and took the place of one that is."""
    if want["kind"] not in {STATEFUL_SET.name, DISRUPTION_BUDGET.name}:
        return ()
    return tuple(_rivals(want.get("spec"), live.get("spec"), ("f:spec",)))


def _rivals(want: Any, live: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if not (isinstance(want, dict) and isinstance(live, dict)):
        return
    for name, there in live.items():
        mine = want.get(name)
        here = (*path, "f:" + name)
        if mine is None:
            excluded = _excluded(path, name, want)
            if there is not None and any(want[field] != live.get(field) for field in excluded):
                yield here, there
        elif isinstance(mine, list) and isinstance(there, list):
            items = {item.get("name"): item for item in there if isinstance(item, dict)}
            for item in mine:
                if isinstance(item, dict) and "name" in item:
                    key = f'k:{{"name":"{item["name"]}"}}'
                    yield from _rivals(item, items.get(item["name"]), (*here, key))
        else:
            yield from _rivals(mine, there, here)


def _excluded(path: Path, name: str, want: dict[str, Any]) -> set[str]:
    """Return the fields of `want` that cannot stand beside `name`."""
    group: set[str] = set()
    if path == ("f:spec",) and name in _BUDGET:
        group = _BUDGET
    elif path == ("f:spec", "f:updateStrategy") and want.get("type") == "OnDelete":
        group = {"type"} if name == "rollingUpdate" else group
    elif path[-1] in _HANDLERS and name in _HANDLER:
        group = _HANDLER
    elif path[-1] == "f:valueFrom" or path[-2:-1] in {("f:volumes",), ("f:env",)}:
        # A source of a value is one of many; so is the source of a volume, or the value of a variable, besides its name.
        group = want.keys() - {"name"}
    return group & want.keys()
