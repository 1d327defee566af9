"""What a plan is made of."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from redisop.fieldset import Op
from redisop.kinds import Object, Ref


class Action(StrEnum):
    """What a Step does to its object."""

    CREATE = "create"
    APPLY = "apply"
    REPLACE = "replace"
    """Delete with orphaned dependants, then create: an apply cannot change it. The reasons say why."""
    DELETE = "delete"
    RESTART = "restart"
    """Delete a Pod, so that its controller makes a new one."""
    CONFLICT = "conflict"
    """Never written: not ours, or it cannot be changed. The reasons say which."""
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs. `path` is written as the API server writes it in a conflict.

    `manager` and `time` name who else owns the field now; both are None where nobody else does: then we changed our
    mind, or (`ours`, and nothing new wanted) an admission policy changed the value.
    """

    path: str
    op: Op
    old: Any
    new: Any
    manager: str | None = None
    time: str | None = None
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one object. `live` is what was planned against; `want` is None for delete and restart."""

    action: Action
    ref: Ref
    wave: int
    want: Object | None
    live: Object | None
    changes: tuple[Change, ...] = ()
    reasons: tuple[str, ...] = ()
    subresource: str | None = None
    pending: bool = False
    """Holds a value that is known only after an earlier wave: shown, not written."""
    repeated: bool = False
    """The same manifest was applied before by this process: what differs now is somebody else's doing."""

    @property
    def writes(self) -> bool:
        """Whether the step sends anything."""
        return self.action not in {Action.CONFLICT, Action.UNCHANGED} and not self.pending


@dataclass(frozen=True, slots=True)
class Plan:
    """The Steps of one custom resource by wave; deletes come last."""

    key: Ref
    steps: tuple[Step, ...]

    @property
    def writes(self) -> tuple[Step, ...]:
        """The steps that send something."""
        return tuple(step for step in self.steps if step.writes)

    @property
    def restarts(self) -> tuple[Step, ...]:
        """The Pods to restart."""
        return tuple(step for step in self.steps if step.action is Action.RESTART)

    @property
    def empty(self) -> bool:
        """Whether every object is as it should be: nothing to write, nothing pending, no conflict."""
        return all(step.action is Action.UNCHANGED for step in self.steps)

    def counts(self) -> dict[Action, int]:
        """Return how many steps there are of each action; every action is a key."""
        return {action: sum(step.action is action for step in self.steps) for action in Action}


def request(step: Step) -> Object:
    """Return the body to apply for a create, apply or replace, with its preconditions; Generated values still stand in it.

    A new object is asked for by resourceVersion "1", which no existing object has: 409 instead of a silent adoption.
    """
    if step.want is None:
        raise ValueError(f"{step.action} of {step.ref} has nothing to apply")
    if step.live is None or step.action is Action.REPLACE:
        return {**step.want, "metadata": {**step.want["metadata"], "resourceVersion": "1"}}
    there = step.live["metadata"]
    metadata = {**step.want["metadata"], "uid": there["uid"], "resourceVersion": there["resourceVersion"]}
    return {**step.want, "metadata": metadata}
