"""What applies left behind: recognises as unchanged what the server answered differently from what was sent."""

import hashlib
import json
from typing import Any, NamedTuple, TypeAlias

from redisop.fieldset import Entry, Fields, diff, entry, project
from redisop.kinds import MANAGER, Object
from redisop.values import Generated


class Settlement(NamedTuple):
    """What one apply left behind. `fields` is None where diff alone will find nothing to do."""

    want_hash: str
    api_version: str
    fields: Fields | None
    projection: Any


Settled: TypeAlias = dict[tuple[str, str | None], Settlement]
"""Settlements by (uid, subresource)."""


def is_settled(
    settled: Settled,
    want: Object,
    live: Object,
    mine: Entry | None,
    subresource: str | None,
) -> bool:
    """Tell whether all an apply of `want` decides by is as our last apply of it left it."""
    last = settled.get((live["metadata"]["uid"], subresource))
    return (
        last is not None
        and mine is not None
        and last.api_version == mine.api_version
        and last.fields == mine.fields
        and last.projection == project(mine.fields, live)
        and last.want_hash == _digest(want)
    )


def is_repeated(settled: Settled, want: Object, live: Object, subresource: str | None) -> bool:
    """Tell whether `want` is what we applied last."""
    last = settled.get((live["metadata"]["uid"], subresource))
    return last is not None and last.want_hash == _digest(want)


def settle(settled: Settled, want: Object, response: Object, subresource: str | None = None) -> None:
    """Remember what an apply of `want` left behind (`response`), so that the same want is not applied again."""
    want = resolve(want, response)
    mine = entry(response, MANAGER, subresource)
    if mine is None:
        settled.pop((response["metadata"]["uid"], subresource), None)
        return
    explained = mine.api_version == want["apiVersion"] and not diff(want, mine.fields, response)
    settled[response["metadata"]["uid"], subresource] = Settlement(
        _digest(want),
        mine.api_version,
        None if explained else mine.fields,
        None if explained else project(mine.fields, response),
    )


def forget(settled: Settled, uid: str) -> None:
    """Forget an object that is gone."""
    settled.pop((uid, None), None)
    settled.pop((uid, "status"), None)


def resolve(want: Object, live: Object | None) -> Object:
    """Return `want` with each Generated value of a Secret replaced by the live one, where there is one that is not empty.

    A value that somebody removed or emptied is lost: nothing else holds it, so a new one is generated.
    """
    data = want.get("data")
    if not isinstance(data, dict) or not any(isinstance(value, Generated) for value in data.values()):
        return want
    there = (live or {}).get("data") or {}
    kept = {name: (there.get(name) or value) if isinstance(value, Generated) else value for name, value in data.items()}
    return {**want, "data": kept}


def _digest(want: Object) -> str:
    text = json.dumps(want, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
