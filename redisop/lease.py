"""Leader election: of all replicas, the one that holds the Lease works, and the others stand by.

    STANDBY ──the Lease is free, ours, or unchanged for its duration──► claim ──accepted──► LEADING
       ▲                                                                                      │
       └── another holder seen, or no claim accepted within the renew deadline ───────────────┘

Guarantees: a leader stops `renew_deadline` after it *sent* its last accepted claim, and nobody else claims before having seen the
Lease unchanged for `duration`; losing the API server, for however long, ends neither the process nor the competition.
Caveat: no election can stop a request that is on its way already. The preconditions of every write do (docs/leader-election.md).
"""

import logging
import math
import os
import random
import secrets
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial

import anyio

from redisop.client import Client
from redisop.election import Election, Timing
from redisop.errors import ApiError, Conflict, ConnectionFailed, NotFound, NotLeading
from redisop.kinds import LEASE, Object

logger = logging.getLogger(__name__)

NAME = "redisop"
"""The name of the Lease. It never changes: two versions that disagree about it would both lead during an upgrade."""
RELEASE_SECONDS = 1.5
"""Seconds that releasing the Lease may take at shutdown; after that it is left to expire."""


def identity() -> str:
    """Return a name for this process that no other has, and no later one of the same Pod."""
    return f"{os.environ.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}"


class Lease:
    """One candidate for the Lease `namespace/name`; `run` competes for it and works while it leads.

    `client` must not be fenced by `check`, or it could never claim.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str = NAME,
        *,
        candidate: str | None = None,
        timing: Timing | None = None,
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.identity = candidate or identity()
        self._client = client
        self._timing = timing or Timing()
        self._election = Election(self.identity, self._timing)
        self._term: anyio.CancelScope | None = None
        self._changed = anyio.Event()
        self._not_before = -math.inf
        self._claimed = False
        self._claiming = _Trouble("claim", self)
        self._watching = _Trouble("watch", self)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def leading(self) -> bool:
        """Whether this process may write now."""
        return self._election.leading

    @property
    def holder(self) -> str:
        """Who leads, or may still believe to; empty where nobody does."""
        return self._election.holder

    def check(self) -> None:
        """Raise NotLeading unless this process may write now: to be called before each write."""
        if not self._election.leading:
            raise NotLeading(f"{self.identity} does not hold the Lease {self}")

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Compete for ever, with `work` running whenever this process leads and cancelled as soon as it does not.

        Returns when `work` does. However this ends, the Lease is released after `work` has stopped.
        """
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._observe)
                while not await self._lead(work):
                    pass
                group.cancel_scope.cancel()
        finally:
            with anyio.move_on_after(RELEASE_SECONDS, shield=True):
                await self._release()

    async def _lead(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Wait for leadership and work under it; tell whether the work was done before leadership was lost."""
        while not self.leading:
            await self._claim_when_due()
        logger.info("leading: %s holds the Lease %s", self.identity, self)
        done = False
        # The event loop itself ends the term at the fence, whatever hangs.
        with anyio.CancelScope(deadline=self._election.fence) as self._term:
            async with anyio.create_task_group() as group:
                group.start_soon(self._renew)
                await work()
                done = True
                group.cancel_scope.cancel()
        if not done:
            logger.warning("not leading any more, standing by: the Lease %s is held by %s", self, self.holder)
        return done

    def _limit_term(self) -> None:
        if self._term is not None:
            self._term.deadline = self._election.fence

    async def _renew(self) -> None:
        while True:
            await self._claim_when_due()

    async def _claim_when_due(self) -> None:
        delay = max(self._election.wait(), self._not_before - time.monotonic())
        if delay <= 0:
            await self._claim()
            return
        with anyio.move_on_after(delay):
            await self._changed.wait()

    async def _claim(self) -> None:
        claim = self._election.claim(datetime.now(UTC), self.namespace, self.name)
        create = "resourceVersion" not in claim["metadata"]
        sent = time.monotonic()
        self._claimed = True
        try:
            try:
                answer = await self._answer(lambda client: (client.create if create else client.update)(claim))
                self._election.accepted(answer, sent)
            except (Conflict, NotFound):
                # Whoever refuses everything is not asked without a pause.
                self._not_before = sent + self._timing.retry_period * random.uniform(0.02, 0.05)  # noqa: S311
                self._election.saw(await self._read())
            self._claiming.over()
        except (ApiError, ConnectionFailed) as error:
            self._not_before = time.monotonic() + self._pause(error)
            self._claiming.met(error)
        self._limit_term()

    async def _observe(self) -> None:
        """Follow the Lease for ever, so that a release is noticed at once."""
        while True:
            started = time.monotonic()
            try:
                await self._watch()
                pause = started + self._timing.retry_period - time.monotonic()
            except (ApiError, ConnectionFailed) as error:
                self._watching.met(error)
                pause = self._pause(error)
            # Streams that end at once do not make a hot loop either.
            await anyio.sleep(max(0.0, pause))

    async def _watch(self) -> None:
        found = await self._read()
        self._take("ADDED" if found else "DELETED", found)
        version = self._election.resource_version
        async with self._client.watch(
            LEASE, self.namespace, fields=f"metadata.name={self.name}", resource_version=version
        ) as stream:
            self._watching.over()
            async for event in stream:
                self._take(event.type, event.object)

    def _take(self, event: str, lease: Object | None) -> None:
        before = self.holder
        if lease is None:
            self._election.saw(None)
        else:
            self._election.saw_event(event, lease)
        self._limit_term()
        if self.holder not in {before, "", self.identity}:
            logger.info("standing by: the Lease %s is held by %s", self, self.holder)
        self._changed.set()
        self._changed = anyio.Event()

    async def _release(self) -> None:
        self._election.resign()
        while self._claimed:
            try:
                # Read first: a claim whose answer was lost may have been accepted.
                self._election.saw(await self._read())
                given_up = self._election.release(datetime.now(UTC), self.namespace, self.name)
                if given_up is not None:
                    self._election.saw(await self._answer(partial(Client.update, obj=given_up)))
                    logger.info("released the Lease %s", self)
                self._claimed = False
            except (ApiError, ConnectionFailed) as error:
                self._claiming.met(error)
                await anyio.sleep(self._timing.retry_period / 20)

    async def _read(self) -> Object | None:
        try:
            return await self._answer(lambda client: client.get(LEASE, self.namespace, self.name))
        except NotFound:
            return None

    async def _answer(self, request: Callable[[Client], Awaitable[Object]]) -> Object:
        limit = self._timing.timeout
        if self.leading:
            limit = min(limit, max(0.0, self._election.fence - time.monotonic()))
        answer = None
        with anyio.move_on_after(limit):
            answer = await request(self._client.within(0.8 * limit))
        if answer is None:
            raise ConnectionFailed(f"no answer within {limit:.1f} s")
        if not (answer.get("metadata") or {}).get("resourceVersion"):
            raise ConnectionFailed("the answer is not a Lease")
        return answer

    def _pause(self, error: ApiError | ConnectionFailed) -> float:
        asked = error.retry_after if isinstance(error, ApiError) and error.retry_after else 0.0
        return max(asked, self._timing.retry_period * random.uniform(0.5, 1.0))  # noqa: S311


class _Trouble:
    """Says once that something fails, and once that it works again."""

    def __init__(self, what: str, lease: Lease) -> None:
        self._what = what
        self._lease = lease
        self._present = False

    def met(self, error: ApiError | ConnectionFailed) -> None:
        if not self._present:
            logger.warning("cannot %s the Lease %s, will keep trying: %s", self._what, self._lease, error)
        self._present = True

    def over(self) -> None:
        if self._present:
            logger.info("can %s the Lease %s again", self._what, self._lease)
        self._present = False
