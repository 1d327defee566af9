"""Live objects as last seen, from watches and from the responses to our own writes, and which instance each belongs to.

Guarantees: an object never goes back to an older resource version; the end of one object never removes its successor of the same name;
what was deleted does not come back with a late response. Objects are shared, so whoever reads one must not change it.
Resource versions are compared only between objects of one kind, by length and then as text:
https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions
"""

import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anyio

from redisop.kinds import GROUP, INSTANCE, INSTANCE_LABEL, Kind, Object, Ref, controller_of, ref_of

REMEMBER = 120.0
"""Seconds for which the end of an object is remembered: longer than any request that could still bring it back."""

_END_OF_TIME = "~"


def newer(left: str, right: str) -> bool:
    """Tell whether resource version `left` is later than `right`, both of one kind."""
    return (len(left), left) > (len(right), right)


def key_of(obj: Mapping[str, Any]) -> Ref | None:
    """Return the key of the instance that `obj` is or belongs to.

    Its controller says so; for Pods, claims and whatever has lost its owner reference, the instance label does.
    """
    metadata = obj["metadata"]
    if obj["kind"] == INSTANCE.name and obj["apiVersion"] == INSTANCE.api_version:
        return ref_of(obj)
    namespace = metadata.get("namespace", "")
    owner = controller_of(obj)
    if owner is not None and owner["kind"] == INSTANCE.name and owner["apiVersion"].split("/")[0] == GROUP:
        return Ref(INSTANCE.api_version, INSTANCE.name, namespace, owner["name"])
    name = (metadata.get("labels") or {}).get(INSTANCE_LABEL)
    return Ref(INSTANCE.api_version, INSTANCE.name, namespace, name) if name else None


class Store:
    """The cache that every decision is made from."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: defaultdict[tuple[str, str], dict[Ref, Object]] = defaultdict(dict)
        self._keys: defaultdict[Ref, dict[Ref, Object]] = defaultdict(dict)
        self._ended: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._waiting: defaultdict[Ref, list[anyio.Event]] = defaultdict(list)
        self._synced: set[tuple[Kind, str | None]] = set()

    def get(self, ref: Ref) -> Object | None:
        """Return the object of this name, whoever owns it."""
        return self._kinds[ref.api_version, ref.kind].get(ref)

    def of_kind(self, kind: Kind) -> tuple[Object, ...]:
        """Return all objects of `kind`."""
        return tuple(self._kinds[kind.api_version, kind.name].values())

    def children(self, key: Ref) -> dict[Ref, Object]:
        """Return a snapshot of the objects that belong to the instance `key` by owner reference or by label."""
        return dict(self._keys.get(key, ()))

    def put(self, obj: Object) -> bool:
        """Keep `obj` unless something as new or newer of this name is known; tell whether it changed anything."""
        ref = ref_of(obj)
        metadata = obj["metadata"]
        version = metadata["resourceVersion"]
        old = self.get(ref)
        if old is not None and not newer(version, old["metadata"]["resourceVersion"]):
            return False
        ended = self._ended.get(metadata["uid"])
        if ended is not None and not newer(version, ended[1]):
            return False
        if old is not None:
            self._drop(ref, old)
        self._kinds[ref.api_version, ref.kind][ref] = obj
        key = key_of(obj)
        if key is not None and key != ref:
            self._keys[key][ref] = obj
        self._wake(ref)
        return True

    def remove(self, obj: Object) -> bool:
        """Forget `obj`, which was deleted (or no longer matches a watch) at its resource version; tell whether it was known."""
        metadata = obj["metadata"]
        return self._end(ref_of(obj), metadata["uid"], metadata["resourceVersion"])

    def discard(self, ref: Ref, uid: str) -> bool:
        """Forget the object of this uid for good, since the server said that it is gone; tell whether it was known."""
        return self._end(ref, uid, _END_OF_TIME * 99)

    def replace(
        self, kind: Kind, objects: Iterable[Object], namespace: str | None, resource_version: str
    ) -> list[tuple[Object | None, Object | None]]:
        """Take over a complete list of `kind` as of `resource_version`; return (old, new) of each object that differs.

        What is known and not in the list is gone, unless it is newer than the list.
        """
        changes: list[tuple[Object | None, Object | None]] = []
        listed = set()
        for obj in objects:
            ref = ref_of(obj)
            listed.add(ref)
            old = self.get(ref)
            if self.put(obj):
                changes.append((old, obj))
        for ref, obj in list(self._kinds[kind.api_version, kind.name].items()):
            inside = namespace is None or ref.namespace == namespace
            if inside and ref not in listed and not newer(obj["metadata"]["resourceVersion"], resource_version):
                self._end(ref, obj["metadata"]["uid"], resource_version)
                changes.append((obj, None))
        self._synced.add((kind, namespace))
        return changes

    def synced(self, kind: Kind, namespace: str | None = None) -> bool:
        """Tell whether a complete list of `kind` has been seen."""
        return (kind, namespace) in self._synced

    async def passed(self, ref: Ref, resource_version: str) -> None:
        """Wait until the object is known to be newer than `resource_version`, or gone."""
        while (obj := self.get(ref)) is not None and not newer(obj["metadata"]["resourceVersion"], resource_version):
            event = anyio.Event()
            self._waiting[ref].append(event)
            await event.wait()

    def _end(self, ref: Ref, uid: str, version: str) -> bool:
        now = self._clock()
        while self._ended and next(iter(self._ended.values()))[0] < now - REMEMBER:
            self._ended.popitem(last=False)
        known = self._ended.pop(uid, None)
        self._ended[uid] = (now, version if known is None or newer(version, known[1]) else known[1])
        old = self.get(ref)
        if old is None or old["metadata"]["uid"] != uid or newer(old["metadata"]["resourceVersion"], version):
            return False
        self._drop(ref, old)
        self._wake(ref)
        return True

    def _drop(self, ref: Ref, old: Object) -> None:
        del self._kinds[ref.api_version, ref.kind][ref]
        key = key_of(old)
        if key is not None and key in self._keys:
            self._keys[key].pop(ref, None)
            if not self._keys[key]:
                del self._keys[key]

    def _wake(self, ref: Ref) -> None:
        for event in self._waiting.pop(ref, ()):
            event.set()
