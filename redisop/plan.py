"""Decides what to write: desired objects against live ones. Pure: no clock, no network, no randomness.

The rules and their proofs are in docs/reconciliation.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

from redisop.graph import Graph
from redisop.kinds import Object, Ref


class Action(StrEnum):
    """What a Step does to its object."""

    CREATE = "create"
    APPLY = "apply"
    REPLACE = "replace"
    """Delete with orphaned dependants, then create: an immutable field differs."""
    DELETE = "delete"
    RESTART = "restart"
    """Delete a Pod, so that its controller makes a new one."""
    CONFLICT = "conflict"
    """Never written: not ours, or it cannot be changed. The reasons say which."""
    UNCHANGED = "unchanged"


class Op(StrEnum):
    """How a field differs."""

    SET = "set"
    OWN = "own"
    """The value is right, but it is not ours yet."""
    DROP = "drop"
    """Ours, and no longer wanted."""
    ORDER = "order"
    """The list has our items in another order."""


class Missing:
    """Type of MISSING."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()
"""Stands for a value that is not there, in `Change.old` and `Change.new`."""


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


class Settlement(NamedTuple):
    """What one apply left behind, and which diff alone would not recognise as unchanged."""

    want_hash: str
    api_version: str
    fields: Mapping[str, Any]
    projection: Any


Settled: TypeAlias = dict[tuple[str, str | None], Settlement]
"""Settlements by (uid, subresource)."""


def plan(graph: Graph, live: Mapping[Ref, Object], settled: Settled) -> Plan:
    """Return the Plan that makes `live` what `graph` wants.

    `live` holds every object at a Ref of the graph, whoever owns it, and every object whose controller owner is ours.
    """
    raise NotImplementedError


def plan_object(
    want: Object,
    live: Object | None,
    settled: Settled,
    *,
    owner_uid: str | None,
    subresource: str | None = None,
    wave: int = 0,
) -> Step:
    """Return the Step for one object; `owner_uid` None where no controller owner is required (a custom resource's status)."""
    raise NotImplementedError


def request(step: Step) -> Object:
    """Return the body to apply for a create, apply or replace, with its preconditions; Generated values still stand in it."""
    raise NotImplementedError


def settle(settled: Settled, want: Object, response: Object, subresource: str | None = None) -> None:
    """Remember what an apply of `want` left behind (`response`)."""
    raise NotImplementedError


def forget(settled: Settled, uid: str) -> None:
    """Forget an object that is gone."""
    raise NotImplementedError


def resolve(want: Object, live: Object | None) -> Object:
    """Return `want` with each Generated value replaced by the live one, where there is one."""
    raise NotImplementedError
