"""Reads manifests from files and streams, as `kubectl apply -f` does."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import yaml

from redisop.errors import InputError
from redisop.kinds import GROUP, INSTANCE, Object

# libyaml is ten times faster where PyYAML was built with it; both are safe.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

UNKNOWN_UID = "unknown"


@dataclass(frozen=True, slots=True)
class Documents:
    """What a stream of manifests holds: our instances, other objects of our group, and a count of foreign kinds."""

    instances: tuple[Object, ...]
    others: tuple[Object, ...]
    foreign: Counter[str]


def read(streams: Iterable[tuple[str, IO[str]]]) -> Documents:
    """Read YAML or JSON documents, and Lists of them, from named `streams`.

    InputError names the stream and the document where one is not a Kubernetes object.
    """
    instances: list[Object] = []
    others: list[Object] = []
    foreign: Counter[str] = Counter()
    for where, obj in _objects(streams):
        if not str(obj["apiVersion"]).startswith(f"{GROUP}/"):
            foreign[str(obj["kind"])] += 1
        elif obj["kind"] == INSTANCE.name:
            if obj["apiVersion"] != INSTANCE.api_version:
                raise InputError(
                    f"{obj['apiVersion']} is not known, only {INSTANCE.api_version}", where=f"{where}: apiVersion"
                )
            instances.append(obj)
        else:
            others.append(obj)
    return Documents(tuple(instances), tuple(others), foreign)


def as_new(obj: Object) -> Object:
    """Return `obj` as the API server would have just created it, with a uid that nothing real has."""
    return {**obj, "metadata": {**obj["metadata"], "uid": UNKNOWN_UID, "generation": 1}}


def _objects(streams: Iterable[tuple[str, IO[str]]]) -> Iterator[tuple[str, Object]]:
    for name, stream in streams:
        try:
            documents: list[Any] = list(yaml.load_all(stream, _LOADER))
        except yaml.YAMLError as error:
            # The error's own text quotes the line, which may be one of a Secret in the same stream.
            mark = getattr(error, "problem_mark", None)
            place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
            raise InputError(f"{place}not valid YAML", where=name) from None
        except UnicodeDecodeError:
            raise InputError("not UTF-8 text", where=name) from None
        for number, document in enumerate(documents, 1):
            if document is not None:
                yield from _flat(f"{name}: document {number}", document)


def _flat(where: str, document: Any) -> Iterator[tuple[str, Object]]:
    if not isinstance(document, dict) or not {"apiVersion", "kind"} <= document.keys():
        raise InputError("not a Kubernetes object: apiVersion and kind are missing", where=where)
    if document["kind"] == "List" and isinstance(document.get("items"), list):
        for index, item in enumerate(document["items"]):
            yield from _flat(f"{where}, items[{index}]", item)
        return
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise InputError("metadata.name is missing", where=where)
    yield where, document
