"""The rules of leader election by a Lease (coordination.k8s.io/v1): what one candidate knows, and what follows from it. No I/O.

Time is the monotonic clock of each process. The times in a Lease are for people to read and decide nothing, so that wall clocks
may be wrong or jump; client-go's leaderelection package has the same rule.
"""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from redisop.errors import InputError
from redisop.kinds import LEASE, MANAGED_BY, MANAGER, Object
from redisop.store import newer

LONGEST = 60.0
"""Seconds of validity granted to a Lease, whatever its leaseDurationSeconds says: a slip of the hand must not stop us for years."""
RELEASED = 1
"""leaseDurationSeconds of a Lease that its holder gave up. A Lease without holder and with another duration was damaged."""

_NOTHING_SEEN = object()


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: how long a Lease is valid, after how long without a renewal its holder stops, how often it renews."""

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        """Refuse times with which leaders would overlap or never have a second try."""
        if not self.duration > self.renew_deadline > 1.2 * self.retry_period > 0:
            raise InputError("must be duration > renew deadline > 1.2 * retry period > 0", where="lease times")

    @classmethod
    def of(cls, duration: float) -> Self:
        """Return times in the usual proportion."""
        return cls(duration, duration * 2 / 3, duration * 2 / 15)

    @property
    def timeout(self) -> float:
        """Seconds to wait for one answer, so that a connection gone dead leaves time for another one."""
        return self.renew_deadline / 2


class Election:
    """The Lease as one candidate knows it.

    `fence` is the moment on `clock` from which this candidate must not write.
    """

    def __init__(
        self,
        candidate: str,
        timing: Timing,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._candidate = candidate
        self._timing = timing
        self._clock = clock
        self._jitter = jitter
        self._lease: Object | None = None
        self._witness: object = _NOTHING_SEEN
        self._free = False
        self._expires = math.inf
        self._renewed = -math.inf
        self.fence = -math.inf
        self.holder = ""
        """Who leads, or may still believe to: the last holder that was seen and has not released the Lease."""

    @property
    def leading(self) -> bool:
        """Whether this candidate may write now."""
        return self._clock() < self.fence

    @property
    def resource_version(self) -> str:
        """The version of the Lease that is known; empty where there is none."""
        return _text(self._lease, "resourceVersion")

    def saw(self, lease: Object | None) -> None:
        """Take over the Lease as the API server has it now, or that there is none."""
        spec = _spec(lease)
        # Renewals always differ in renewTime; other people's changes of the metadata are none. Of two damages, one may follow a renewal.
        unique = "uid" if spec.get("holderIdentity") else "resourceVersion"
        witness = None if lease is None else (_text(lease, unique), spec)
        if witness != self._witness:
            released = spec.get("leaseDurationSeconds") == RELEASED
            # A Lease that vanished or lost its holder later says nothing about who still leads.
            self._free = not spec.get("holderIdentity") and (released or self._witness is _NOTHING_SEEN)
            valid = max(self._timing.duration, min(spec.get("leaseDurationSeconds") or 0, LONGEST))
            # Spread, so that not all who wait claim it in the same moment.
            self._expires = self._clock() + valid + self._jitter() * self._timing.retry_period / 4
        self._lease, self._witness = lease, witness
        self.holder = "" if self._free else spec.get("holderIdentity") or self.holder
        if self.holder != self._candidate:
            self.fence = -math.inf

    def saw_event(self, event: str, lease: Object) -> None:
        """Take over what a watch says of the Lease, unless it is older than what is known."""
        if event != "BOOKMARK" and newer(_text(lease, "resourceVersion"), self.resource_version):
            self.saw(None if event == "DELETED" else lease)

    def wait(self) -> float:
        """Return the seconds until this candidate should send a claim; infinite while nothing is known."""
        if self._witness is _NOTHING_SEEN:
            return math.inf
        now = self._clock()
        mine = _spec(self._lease).get("holderIdentity") == self._candidate
        if self.leading:
            # A Lease that was deleted or emptied under its leader is put right at once.
            return max(0.0, self._renewed + self._timing.retry_period - now) if mine else 0.0
        return 0.0 if mine or self._free else max(0.0, self._expires - now)

    def claim(self, now: datetime, namespace: str, name: str) -> Object:
        """Return the Lease with this candidate as holder; without resourceVersion where it is to be created."""
        old = _spec(self._lease)
        kept = old.get("holderIdentity") == self._candidate
        changes = (old.get("leaseTransitions") or 0) + (self._lease is not None and not kept)
        spec = {
            "holderIdentity": self._candidate,
            "leaseDurationSeconds": math.ceil(self._timing.duration),
            "acquireTime": (old.get("acquireTime") if kept else None) or micro_time(now),
            "renewTime": micro_time(now),
            # An int32 to the API server: the last one would otherwise be the last for ever.
            "leaseTransitions": changes % 2**31,
        }
        return self._with(spec, namespace, name)

    def accepted(self, lease: Object, sent: float) -> None:
        """Take over the answer to a claim that was sent at `sent`."""
        self.saw(lease)
        if self.holder == self._candidate:
            self._renewed = sent
            self.fence = sent + self._timing.renew_deadline

    def resign(self) -> None:
        """Stop leading now, whatever the Lease says."""
        self.fence = -math.inf

    def release(self, now: datetime, namespace: str, name: str) -> Object | None:
        """Return the Lease as it is to be given up; None where it is not ours to give."""
        old = _spec(self._lease)
        if old.get("holderIdentity") != self._candidate:
            return None
        spec = {
            # Without holderIdentity: the API server refuses an empty one.
            "leaseDurationSeconds": RELEASED,
            "acquireTime": micro_time(now),
            "renewTime": micro_time(now),
            "leaseTransitions": old.get("leaseTransitions") or 0,
        }
        return self._with(spec, namespace, name)

    def _with(self, spec: Object, namespace: str, name: str) -> Object:
        metadata: Object = {"name": name, "namespace": namespace, "labels": {MANAGED_BY: MANAGER}}
        if self._lease is not None:
            metadata = {key: value for key, value in self._lease["metadata"].items() if key != "managedFields"}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}


def micro_time(moment: datetime) -> str:
    """Return `moment` as a MicroTime, which the API server accepts with exactly six digits only."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _spec(lease: Object | None) -> Mapping[str, Any]:
    return (lease or {}).get("spec") or {}


def _text(lease: Object | None, name: str) -> str:
    return str(((lease or {}).get("metadata") or {}).get(name) or "")
