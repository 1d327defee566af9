"""What the controller tells of its passes, to whoever wants to count, log or report it. Nothing here can fail a pass."""

from collections.abc import Sequence
from dataclasses import dataclass

from redisop.kinds import Object, Ref
from redisop.observation import Failure
from redisop.plan import Plan, Step


@dataclass(frozen=True, slots=True)
class Report:
    """One pass: the last plan, the steps carried out over all of its rounds, and why steps were not.

    `again`: its rounds ran out before nothing was left to decide.
    """

    key: Ref
    generation: int
    plan: Plan
    done: Sequence[Step]
    failures: Sequence[Failure]
    seconds: float
    again: bool = False


class Observer:
    """Listens to nothing; override what is of interest."""

    def carried_out(self, instance: Object, done: Sequence[Step]) -> None:
        """Hear that steps were carried out for `instance`, as it was decided about: with the status from before."""

    def status_written(self, instance: Object, status: Object) -> None:
        """Hear that `status` was written over the one that `instance` has."""

    def reconciled(self, report: Report) -> None:
        """Hear that a pass is over."""

    def crashed(self, key: Ref, seconds: float) -> None:
        """Hear that a pass ended in an exception that nobody foresaw."""

    def config_set(self, instance: Object, directives: Sequence[str]) -> None:
        """Hear that the running Redis of `instance` was given other values of `directives`."""

    def planned(self, instance: Object, steps: Sequence[Step], notes: Sequence[str]) -> None:
        """Hear that `steps` would be carried out for `instance` by an operator that does not only look."""
