"""Compares running Redis servers with what is wanted, beside the workers, so that one that is unreachable delays nobody else."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from redisop import liveconfig, rollout
from redisop.api import RedisHttpInstance
from redisop.kinds import Object, Ref
from redisop.observation import ConfigState

RETRY = 30.0
"""Seconds until a Redis that is not as wanted is asked again."""
PROMPT = 0.5
"""Seconds within which an answer is worth waiting for before a status is written without it."""
AT_ONCE = 16


@dataclass(slots=True)
class _Check:
    target: liveconfig.Target
    ready: bool
    since: float
    state: ConfigState | None = None
    running: bool = True


class ConfigChecks:
    """One check for each new Target, and again when its Pod becomes ready; later once more where Redis was not as wanted.

    `finished` is called with the key when there is news, `later` with the key and the seconds after which to ask for it again,
    `changed` with the key and the directives that Redis was given other values of.
    """

    def __init__(
        self,
        group: TaskGroup,
        finished: Callable[[Ref], None],
        later: Callable[[Ref, float], None],
        changed: Callable[[Ref, Sequence[str]], None] = lambda _key, _directives: None,
    ) -> None:
        self._group = group
        self._changed = changed
        self._finished = finished
        self._later = later
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._checks: dict[Ref, _Check] = {}

    def state(self, key: Ref, instance: RedisHttpInstance, live: Mapping[Ref, Object]) -> ConfigState | None:
        """Return what is known of the Redis that runs now, None if nothing; begin a check where one is due."""
        target = liveconfig.target(instance, live)
        child = rollout.pod(instance, live)
        if target is None or child is None:
            self._checks.pop(key, None)
            return None
        check, ready, now = self._checks.get(key), rollout.is_ready(child), time.monotonic()
        if check is None or check.target != target:
            check = self._checks[key] = _Check(target, ready, now)
        elif check.running or (check.ready == ready and (_is_good(check) or now - check.since < RETRY)):
            return check.state
        else:
            check.ready, check.since, check.running = ready, now, True
        self._group.start_soon(self._run, key, check)
        return check.state

    def is_pending(self, key: Ref) -> bool:
        """Tell whether the first answer is still expected any moment."""
        check = self._checks.get(key)
        return check is not None and check.state is None and time.monotonic() - check.since < PROMPT

    def forget(self, key: Ref) -> None:
        """Forget an instance that is gone."""
        self._checks.pop(key, None)

    async def _run(self, key: Ref, check: _Check) -> None:
        async with self._limiter:
            state = await liveconfig.reconcile_config(check.target)
        if state.set:
            self._changed(key, state.set)
        news = state != check.state
        check.state, check.running = state, False
        if self._checks.get(key) is not check:
            return
        if not _is_good(check):
            self._later(key, RETRY)
        if news:
            self._finished(key)


def _is_good(check: _Check) -> bool:
    return check.state is not None and check.state.applied
