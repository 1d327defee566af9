"""What one pass of the controller saw and did: the input of a status."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from redisop.conditions import Reason
from redisop.errors import RedisopError
from redisop.kinds import Object, Ref
from redisop.plan import Plan, Step


class Refusal(Protocol):
    """Why an instance cannot be followed under the operator's settings; its text is the message."""

    reason: str
    field: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that could not be carried out. A 409 for a stale precondition is none: it only asks for another decision."""

    step: Step
    error: RedisopError


@dataclass(frozen=True, slots=True)
class ConfigState:
    """How Redis' own configuration compares with what is wanted; `set` are the directives just changed."""

    applied: bool
    reason: Reason
    message: str
    set: tuple[str, ...] = ()
    redis_version: str | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """`live` is what is there after the pass, `plan` the last decision, `done` the steps carried out in the whole pass.

    `config` is None where Redis was not asked.
    """

    live: Mapping[Ref, Object]
    plan: Plan
    done: tuple[Step, ...] = ()
    refusal: Refusal | None = None
    failures: tuple[Failure, ...] = ()
    config: ConfigState | None = None
