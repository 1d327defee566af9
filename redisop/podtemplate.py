"""What of a Pod differs from the template that it should be made from. Pure."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from redisop import quantity, redisconf
from redisop.kinds import Object
from redisop.manifests.pod import CREDENTIALS_UID, REDIS, RESTART_CONFIG, TEMPLATE_DIGEST
from redisop.plan import MISSING

_AT_START = sorted(redisconf.DEFAULTS.keys() - redisconf.LIVE)
_RESOURCES = f'.spec.containers[name="{REDIS}"].resources.'
_MEMORY = (".resources.limits.memory", ".resources.requests.memory")


class Difference(NamedTuple):
    """One field of a Pod that is not what the template says; `old` is None where the Pod lacks it."""

    path: str
    old: Any
    new: Any

    def __str__(self) -> str:
        if self.path.endswith(CREDENTIALS_UID):
            return "the Secret of the passwords was made anew"
        if self.path.endswith(RESTART_CONFIG):
            return f"redis.conf: a directive changed that Redis reads only at start ({', '.join(_AT_START)})"
        return f"{self.path}: {show(self.old)} → {show(self.new)}"


def differences(template: Object, child: Object) -> tuple[Difference, ...]:
    """Return the fields in which a Pod is not what the template says; what only the Pod has is not among them."""
    pairs = (
        (f".metadata.{key}", template.get("metadata", {}).get(key, {}), child["metadata"].get(key, {}))
        for key in ("labels", "annotations")
    )
    found = [
        Difference(f"{path}.{name}", have.get(name), value)
        for path, want, have in pairs
        for name, value in want.items()
        if have.get(name) != value
    ]
    return (*found, *_walk(".spec", template.get("spec", {}), child.get("spec", {})))


def is_same_but_for_resources(template: Object, child: Object) -> bool:
    """Tell whether a Pod was made from a template that differs in nothing but the resources of the Redis container.

    What the older template had and this one lacks shows only in the digest that ours carry; what others added to it (`kubectl
    rollout restart` does) only in a comparison.
    """
    digests = [obj.get("metadata", {}).get("annotations", {}).get(TEMPLATE_DIGEST) for obj in (template, child)]
    if digests[0] is None or digests[0] != digests[1]:
        return False
    return all(difference.path.startswith(_RESOURCES) for difference in differences(template, child))


def resources_of(containers: Iterable[Object]) -> dict[str, dict[str, str]]:
    """Return `limits` and `requests` of the Redis container among containers of a spec, or container statuses."""
    redis: Object = next((it for it in containers if it.get("name") == REDIS), {})
    return {key: dict(redis.get("resources", {}).get(key, {})) for key in ("limits", "requests")}


def shrinks(difference: Difference) -> bool:
    """Tell whether a difference only asks for less memory, which Redis can respect without a restart."""
    old, new = difference.old, difference.new
    if not difference.path.endswith(_MEMORY) or not isinstance(old, str) or not isinstance(new, str):
        return False
    return quantity.parse(new) <= quantity.parse(old)


def is_resizable(template: Object, child: Object) -> bool:
    """Tell whether a running Pod can be given the template's resources in place (KEP-1287, on by default since 1.33).

    A kubelet that can do so reports the resources of containers. A resize changes values: it neither adds nor removes any, and
    not the Pod's QoS class. A lower memory limit is left to the next restart: it could end Redis before it has freed memory.
    """
    wanted, found = (resources_of(obj["spec"].get("containers", ())) for obj in (template, child))
    reported = [it for it in child.get("status", {}).get("containerStatuses", ()) if it.get("name") == REDIS]
    if not reported or "resources" not in reported[0]:
        return False
    if any(wanted[key].keys() != found[key].keys() for key in wanted):
        return False
    if (wanted["limits"] == wanted["requests"]) != (found["limits"] == found["requests"]):
        return False
    old, new = found["limits"].get("memory"), wanted["limits"].get("memory")
    return old is not None and new is not None and quantity.parse(new) >= quantity.parse(old)


def show(value: Any) -> str:
    """Return a value as it stands in a reason: short, and on one line."""
    if value is None or value is MISSING:
        return "(none)"
    if isinstance(value, dict | list):
        return f"({len(value)} entries)"
    text = str(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _walk(path: str, want: Any, have: Any) -> Iterator[Difference]:
    if isinstance(want, dict) and isinstance(have, dict):
        for key, value in want.items():
            yield from _walk(f"{path}.{key}", value, have.get(key))
    elif isinstance(want, list) and isinstance(have, list) and all(isinstance(item, dict) for item in (*want, *have)):
        yield from _walk_list(path, want, have)
    elif want != have:
        yield Difference(path, have, want)


def _walk_list(path: str, want: list[Object], have: list[Object]) -> Iterator[Difference]:
    for item in want:
        key = next((name for name in ("name", "containerPort", "mountPath") if name in item), None)
        if key is None:
            if item not in have:
                yield Difference(path, have, want)
                return
            continue
        found = next((other for other in have if other.get(key) == item[key]), None)
        spelled = f'"{item[key]}"' if isinstance(item[key], str) else item[key]
        yield from _walk(f"{path}[{key}={spelled}]", item, found)
