"""Probes: whether the process is worth keeping (/healthz) and whether it knows enough to act (/readyz).

Open to everybody, without a request to the API server: an outage of that is never a reason to be restarted. A blocked event loop shows
by itself, since nothing is answered; the beat below also notices one that comes round too rarely.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Never, TypeAlias

import anyio

from redisop.httpserver import Request, Response
from redisop.reflector import Reflector

BEAT = 1.0
LATE = 15.0
"""Seconds without a beat after which the event loop counts as stuck."""
STUCK = 600.0
"""Seconds on one key after which a worker counts as stuck; with every request timing out a pass takes half of that."""

Check: TypeAlias = Callable[[], str]
"""Returns what is wrong, in one line; empty where nothing is."""


class Heartbeat:
    """Beats in the event loop once a second; `lagged` is told by how many seconds each beat was late."""

    def __init__(
        self, lagged: Callable[[float], None] = lambda _: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lagged = lagged
        self._clock = clock
        self._last = clock()

    async def run(self) -> Never:
        """Beat for ever."""
        while True:
            started = self._last = self._clock()
            await anyio.sleep(BEAT)
            self._lagged(max(0.0, self._clock() - started - BEAT))

    def problem(self) -> str:
        """Return what is wrong with the event loop."""
        silent = self._clock() - self._last
        return f"no turn for {silent:.0f} s" if silent > LATE else ""


class Health:
    """Answers probes from checks by name."""

    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        self._checks = {"/healthz": live, "/livez": live, "/readyz": ready}

    async def answer(self, request: Request) -> Response:
        """Return 200 where every check passes, else 503; the body has a line for each."""
        checks = self._checks.get(request.path)
        if checks is None:
            return Response(HTTPStatus.NOT_FOUND, b"/healthz or /readyz\n")
        found = {name: check() for name, check in checks.items()}
        lines = [f"[-] {name}: {problem}" if problem else f"[+] {name}" for name, problem in found.items()]
        status = HTTPStatus.SERVICE_UNAVAILABLE if any(found.values()) else HTTPStatus.OK
        return Response(status, "\n".join([*lines, ""]).encode())


def progress(longest: Callable[[], float]) -> Check:
    """Return a check that no worker has been at one key for too long; `longest` tells the seconds of the longest."""

    def check() -> str:
        seconds = longest()
        return f"one key has been worked on for {seconds:.0f} s" if seconds > STUCK else ""

    return check


def synced(reflectors: Iterable[Reflector]) -> Check:
    """Return a check that each reflector has read its first complete list."""

    def check() -> str:
        missing = sorted({reflector.kind.plural for reflector in reflectors if not reflector.synced.is_set()})
        return f"not read yet: {', '.join(missing)}" if missing else ""

    return check
