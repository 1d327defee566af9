"""Reading a manifest that somebody wrote, as strictly as the API server would, with errors in the words of its YAML."""

import json
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from redisop.api.apikey import ApiKey
from redisop.api.instance import RedisHttpInstance
from redisop.api.markers import STRICT
from redisop.errors import InputError
from redisop.kinds import API_KEY, INSTANCE, Object

_RESOURCES: dict[tuple[str, str], type[RedisHttpInstance | ApiKey]] = {
    (INSTANCE.api_version, INSTANCE.name): RedisHttpInstance,
    (API_KEY.api_version, API_KEY.name): ApiKey,
}
_ONLY_KUBERNETES = frozenset(
    {
        "annotations",
        "deletionGracePeriodSeconds",
        "generateName",
        "labels",
        "managedFields",
        "ownerReferences",
        "selfLink",
    }
)
"""Fields of ObjectMeta that no decision needs."""


def parse(obj: Object) -> RedisHttpInstance | ApiKey:
    """Return the resource of a manifest.

    Checks what the API server checks at creation: types, bounds, unknown fields, rules. InputError names the first field
    that is wrong (`where`) and lists the others. Rules about changes need the object as it was: only the server knows it.
    """
    identity = (str(obj.get("apiVersion")), str(obj.get("kind")))
    model = _RESOURCES.get(identity)
    if model is None:
        known = ", ".join(f"{version} {kind}" for version, kind in _RESOURCES)
        raise InputError(f"is not a resource of redisop: {' '.join(identity)}; known are {known}", where="kind")
    given = {key: value for key, value in obj.items() if key != "status"}
    if isinstance(metadata := given.get("metadata"), dict):
        given["metadata"] = {key: value for key, value in metadata.items() if key not in _ONLY_KUBERNETES}
    try:
        return model.model_validate(given, context=STRICT, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        first, *others = ((_where(found), _what(found)) for found in error.errors(include_url=False))
        message = "\n".join([first[1], *(f"{where}: {what}" for where, what in others)])
        raise InputError(message, where=first[0]) from None


def _where(found: ErrorDetails) -> str:
    return f"{_path(found['loc'])}{found.get('ctx', {}).get('path', '')}".lstrip(".")


def _path(steps: Iterable[int | str]) -> str:
    """Join a location as kubectl prints it: spec.scheduling.tolerations[0].key."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps if step != "[key]")


def _what(found: ErrorDetails) -> str:
    match found["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not a field of this resource"
        case "rule" | "duplicate":
            return found["msg"]
        case "string_type":
            must = "text; quote what YAML would read as something else"
        case "bool_type":
            must = "true or false"
        case "tuple_type":
            must = "a list"
        case "dict_type" | "model_type" | "model_attributes_type":
            must = "an object with fields"
        case "string_pattern_mismatch":
            return f"must match {found['ctx']['pattern']}; given is {_short(found['input'])}"
        case _:
            return f"{found['msg'][:1].lower()}{found['msg'][1:]}; given is {_short(found['input'])}"
    return f"must be {must}; given is {_short(found['input'])}"


def _short(value: Any, limit: int = 60) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= limit else text[: limit - 1] + "…"
