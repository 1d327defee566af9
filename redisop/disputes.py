"""Tells a war over a field from an accident: who else keeps setting it, and when to try again instead of at once. Pure.

Taking a field back is right once or a few times. Somebody who takes it again every time wants it as firmly as we do; then
writing on helps nobody, floods the API server, and flips the object between two states. After LIMIT times within WINDOW the
object is left alone but for one attempt after each of ever longer holds, and the dispute is over once a field has kept our
value for QUIET. Only changes that are all in dispute are held back: what else the instance asks for is still written.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from redisop.errors import Disputed
from redisop.kinds import Ref
from redisop.observation import Failure
from redisop.plan import Action, Change, Plan, Step

LIMIT = 5
"""Times that one field is taken back within WINDOW before that counts as a dispute."""
WINDOW = 300.0
FIRST_HOLD, LAST_HOLD = 20.0, 600.0
"""Seconds between two attempts during a dispute: at first, and at most."""
QUIET = 10.0
"""Seconds for which everything has to be as wanted before a dispute counts as over."""


@dataclass(slots=True)
class _Object:
    """What is remembered of one object; `fields` are those in dispute, each with the managers seen."""

    taken_back: dict[str, list[float]] = field(default_factory=dict)
    fields: dict[str, set[str]] = field(default_factory=dict)
    attempts: int = 0
    until: float = 0.0
    quiet_since: float | None = None


class Disputes:
    """The disputes about the objects of one instance."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._objects: dict[Ref, _Object] = {}

    def hold(self, plan: Plan) -> tuple[Plan, tuple[Failure, ...]]:
        """Return what of `plan` may be written now, and a Failure (Disputed) for each object in dispute."""
        now = self._clock()
        held, failures = set(), []
        for step in plan.steps:
            known = self._in_dispute(step.ref)
            if known is None or step.subresource is not None:
                continue
            if step.action is Action.UNCHANGED:
                known.quiet_since = now if known.quiet_since is None else known.quiet_since
                if now - known.quiet_since >= QUIET:
                    # What was counted stays, so that it takes one more flip and not LIMIT to be in dispute again.
                    known.fields = {}
                    continue
            else:
                known.quiet_since = None
            if now < known.until and _is_only_about(step, known.fields.keys()):
                held.add(step.ref)
            failures.append(Failure(step, Disputed(_message(known))))
        return replace(plan, steps=tuple(step for step in plan.steps if step.ref not in held)), tuple(failures)

    def carried_out(self, steps: Iterable[Step]) -> None:
        """Count the fields that `steps`, which were written, took back."""
        now = self._clock()
        for step in steps:
            known = self._objects.setdefault(step.ref, _Object()) if any(_contested(step)) else None
            if known is None:
                continue
            recent = {path: [at for at in times if now - at < WINDOW] for path, times in known.taken_back.items()}
            known.taken_back = {path: times for path, times in recent.items() if times}
            for change in _contested(step):
                times = known.taken_back.setdefault(change.path, [])
                times.append(now)
                if len(times) >= LIMIT or change.path in known.fields:
                    known.fields.setdefault(change.path, set()).update({change.manager} if change.manager else ())
                    del times[:-LIMIT]
            if known.fields:
                known.until = now + min(LAST_HOLD, FIRST_HOLD * 2 ** min(known.attempts, 16))
                known.attempts += 1
            else:
                known.attempts = 0

    def due(self) -> float | None:
        """Return in how many seconds the instance should be looked at again; None where nothing is in dispute."""
        now = self._clock()
        times = [
            max(0.0, (known.until if known.quiet_since is None else known.quiet_since + QUIET) - now)
            for known in self._objects.values()
            if known.fields
        ]
        return min(times, default=None)

    def _in_dispute(self, ref: Ref) -> _Object | None:
        known = self._objects.get(ref)
        return known if known is not None and known.fields else None


def _contested(step: Step) -> Iterator[Change]:
    """Yield the changes that undo somebody else's: they own the field, or nothing is new on our side."""
    if step.action in {Action.APPLY, Action.REPLACE} and step.subresource is None:
        yield from (change for change in step.changes if change.manager is not None or step.repeated)


def _is_only_about(step: Step, paths: Iterable[str]) -> bool:
    # What the instance has only now asked for is written, even to a field in dispute: it may end it.
    again = step.repeated or step.action is Action.REPLACE
    return again and any(_contested(step)) and {change.path for change in step.changes} <= set(paths)


def _message(known: _Object) -> str:
    managers = sorted({manager for seen in known.fields.values() for manager in seen})
    who = " and ".join(f'"{manager}"' for manager in managers) or "somebody (an admission policy, or another operator)"
    return (
        f"{who} sets {', '.join(sorted(known.fields))} again whenever the operator does, so the operator tries only "
        "now and then. Make them give up the field."
    )
