"""The five oracles: pure functions from what a plan left behind to the promises that it broke, in words."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.arena import condition, pattern
from tests.faults.proxy import Request

MISSING = "(missing)"


@dataclass(frozen=True)
class Reference:
    """What undisturbed runs of a workload come to; `mask` holds the paths in which two of them differ."""

    end: Mapping[str, Any]
    mask: frozenset[str]
    creates: Mapping[str, int]
    deletes: Mapping[str, int]
    applies: Mapping[str, int]
    writes: int


def learn(first: Mapping[str, Any], second: Mapping[str, Any]) -> frozenset[str]:
    """Return the patterns of the paths in which two undisturbed runs differ."""
    return frozenset(pattern(path) for path in first.keys() | second.keys() if first.get(path) != second.get(path))


def end_state(end: Mapping[str, Any], reference: Reference) -> list[str]:
    """O1: the end state is the one of an undisturbed run."""
    problems = []
    for path in sorted(end.keys() | reference.end.keys()):
        if pattern(path) in reference.mask:
            continue
        found, wanted = end.get(path, MISSING), reference.end.get(path, MISSING)
        if found != wanted:
            problems.append(f"O1: {path} is {found!r}, should be {wanted!r}")
    return problems[:8]


def counts(log: Iterable[Request], reference: Reference, spare: int, again: int = 0) -> list[str]:
    """O2: each object is created and deleted as often as in an undisturbed run, and applied at most `spare` times more.

    Creates may be up to `again` more, for what the garbage collector took before we could know that its owner was gone.
    """
    created, deleted, applied = tally(log)
    problems = [
        f"O2: {target} was {what} {found[target]} times, should be {wanted.get(target, 0)}"
        for what, found, wanted in (("created", created, reference.creates), ("deleted", deleted, reference.deletes))
        for target in sorted(found.keys() | wanted.keys())
        if not 0 <= found[target] - wanted.get(target, 0) <= (again if what == "created" else 0)
    ]
    problems += [
        f"O2: {target} was applied {count} times, should be at most {reference.applies.get(target, 0) + spare}"
        for target, count in sorted(applied.items())
        if count > reference.applies.get(target, 0) + spare
    ]
    return problems


def tally(log: Iterable[Request]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Count what the API server accepted, by object: creates, deletes, applies (but for statuses)."""
    created: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    applied: Counter[str] = Counter()
    for request in log:
        if request.accepted and not request.subresource:
            if request.verb == "delete":
                deleted[request.target] += 1
            elif request.code == 201:
                created[request.target] += 1
            else:
                applied[request.target] += 1
    return created, deleted, applied


def preconditions(log: Iterable[Request]) -> list[str]:
    """O4: every write names the object it was decided on, or that there must be none."""
    problems = []
    for request in log:
        if not request.write:
            continue
        said: dict[str, Any] = request.body.get("preconditions" if request.verb == "delete" else "metadata") or {}
        version, uid = said.get("resourceVersion"), said.get("uid")
        fresh = request.verb == "apply" and version == "1"
        if not version or not (uid or fresh):
            problems.append(f"O4: {request.verb} {request.target} has no precondition (uid={uid}, version={version})")
    return problems[:4]


def ownership(log: Iterable[Request], uids: Collection[str]) -> list[str]:
    """O4: every object we wrote belongs to the instance."""
    problems = []
    for request in log:
        obj = request.answer
        if not request.accepted or request.verb == "delete" or request.resource in {"redishttpinstances", "pods"}:
            continue
        if request.resource == "persistentvolumeclaims":
            continue
        owners = obj.get("metadata", {}).get("ownerReferences") or []
        if [it["uid"] for it in owners if it.get("controller")] not in [[uid] for uid in uids]:
            problems.append(f"O4: {request.verb} {request.target} took an object with owners {owners}")
    return problems[:4]


def strangers(log: Iterable[Request], targets: Collection[str], until: float) -> list[str]:
    """O4: nothing was written, before `until`, to an object that somebody else had made."""
    return [
        f"O4: {it.verb} {it.target} changed a stranger's object"
        for it in log
        if it.accepted and it.target in targets and it.at < until
    ][:4]


def passwords(log: Iterable[Request]) -> list[str]:
    """O4: generated values are made once in the life of a Secret."""
    known: dict[str, Any] = {}
    problems = []
    for request in log:
        obj = request.answer
        if (
            request.accepted
            and request.resource == "secrets"
            and request.name.endswith("-credentials")
            and obj.get("data")
        ):
            uid, data = obj["metadata"]["uid"], obj["data"]
            if known.setdefault(uid, data) != data:
                problems.append(f"O4: {request.target} was given other passwords")
            known[uid] = data
    return problems[:2]


def truthful(log: Iterable[Request]) -> list[str]:
    """O4: Ready=True is said of the present generation only, and only of what is ready."""
    problems = []
    for request in log:
        obj = request.answer
        if not request.accepted or request.subresource != "status" or condition(obj).get("status") != "True":
            continue
        generation = obj["metadata"]["generation"]
        said = {obj["status"].get("observedGeneration"), condition(obj).get("observedGeneration", generation)}
        if said != {generation}:
            problems.append(f"O4: Ready=True of generations {said}, the present one is {generation}")
        if "not ready" in request.note:
            problems.append(f"O4: Ready=True while {request.note}")
    return problems[:4]


def retry_after(log: Sequence[Request]) -> list[str]:
    """No write is tried again before the time that the API server asked for."""
    problems = []
    for index, request in enumerate(log):
        if not request.note.startswith("Retry-After "):
            continue
        asked = float(request.note.split()[1])
        for later in log[index + 1 :]:
            waited = later.at - request.told_at
            same = (later.replica, later.verb, later.target) == (request.replica, request.verb, request.target)
            if same and 0 < waited < asked - 0.02:
                problems.append(f"{request.verb} {request.target} again after {waited:.2f} s, told to wait {asked} s")
                break
    return problems[:4]


def no_hot_loop(log: Iterable[Request], seconds: float, most: float = 60.0) -> list[str]:
    """No read is repeated without a pause."""
    found = Counter((it.replica, it.verb, it.target) for it in log if not it.write)
    limit = most + 2 * seconds
    return [
        f"O3: {verb} {target} {count} times in {seconds:.0f} s"
        for (_, verb, target), count in found.items()
        if count > limit
    ]


def secrecy(
    secrets: Collection[str], lines: Iterable[str], log: Iterable[Request], end: Mapping[str, Any]
) -> list[str]:
    """O5: no password outside Secrets: logs, statuses, annotations."""
    places = {"the log": "\n".join(lines)}
    places |= {it.target: str(it.body) for it in log if it.resource == "events" or it.subresource == "status"}
    places["the end state"] = "\n".join(
        f"{path}={value}" for path, value in end.items() if not path.startswith("Secret/")
    )
    return [f"O5: a password stands in {name}" for name, text in places.items() if any(it in text for it in secrets)]
