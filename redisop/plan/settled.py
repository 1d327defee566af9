"""What applies left behind: recognises as unchanged what the server answered differently from what was sent."""

import hashlib
import json
from typing import NamedTuple, TypeAlias

from redisop.fieldset import MISSING, Difference, Entry, Fields, Op, diff, entry
from redisop.kinds import MANAGER, Object
from redisop.values import Generated


class Settlement(NamedTuple):
    """What one apply left behind: our fields, and what diff still finds. `certain`: the same apply would change nothing."""

    want_hash: str
    api_version: str
    fields: Fields | None
    differences: tuple[Difference, ...]
    certain: bool


Settled: TypeAlias = dict[tuple[str, str | None], Settlement]
"""Settlements by (uid, subresource)."""


def is_settled(
    settled: Settled,
    want: Object,
    live: Object,
    mine: Entry | None,
    differences: tuple[Difference, ...],
    subresource: str | None,
) -> bool:
    """Tell whether all an apply of `want` decides by is as our last apply of it left it."""
    last = settled.get((live["metadata"]["uid"], subresource))
    return (
        last is not None
        and mine is not None
        and last == Settlement(_digest(want), mine.api_version, mine.fields, differences, certain=True)
    )


def is_repeated(settled: Settled, want: Object, live: Object, subresource: str | None) -> bool:
    """Tell whether `want` is what we applied last."""
    last = settled.get((live["metadata"]["uid"], subresource))
    return last is not None and last.want_hash == _digest(want)


def settle(settled: Settled, want: Object, response: Object, subresource: str | None = None) -> None:
    """Remember what an apply of `want` left behind (`response`), so that the same want is not applied again."""
    key = (response["metadata"]["uid"], subresource)
    want = resolve(want, response)
    mine = entry(response, MANAGER, subresource)
    if mine is None:
        settled.pop(key, None)
        return
    found = diff(want, mine.fields, response)
    # What was sent, and is neither there nor ours, may be there after the next apply: seen with empty lists in custom resources.
    certain = not any(lost.op is Op.SET and lost.old is MISSING and not lost.ours for lost in found)
    # Fields are kept only where they are needed: for most objects diff alone finds nothing to do.
    new = Settlement(_digest(want), mine.api_version, mine.fields if found else None, found, certain)
    last = settled.get(key)
    again = last is not None and last._replace(certain=certain) == new
    settled[key] = new._replace(certain=certain or again)


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
