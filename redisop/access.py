"""Who may read the metrics: whoever's token the API server knows, and whose rights it says include `get` of `/metrics`.

As kube-rbac-proxy and controller-runtime do it: TokenReview, then SubjectAccessReview. Verdicts are kept for a short while, by the
digest of the token. While the API server cannot be asked, who was allowed lately still is: an outage must not blind those who watch.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

import anyio

from redisop.client import Client
from redisop.errors import ApiError, ConnectionFailed
from redisop.httpserver import Request, Response
from redisop.kinds import ACCESS_REVIEW, TOKEN_REVIEW

ALLOWED_FOR, REFUSED_FOR = 60.0, 10.0
STALE_FOR = 600.0
"""Seconds for which an allowed token stays so while the API server cannot be asked."""
REMEMBERED = 256
AT_ONCE = 4
"""Questions to the API server at once, whatever number of strangers asks for metrics."""


class _Verdict(NamedTuple):
    status: HTTPStatus
    at: float


class Access:
    """Decides about requests for one path."""

    def __init__(self, client: Client, path: str = "/metrics", clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._path = path
        self._clock = clock
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._verdicts: OrderedDict[bytes, _Verdict] = OrderedDict()

    async def refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that must not be followed; None where it may."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return _refuse(HTTPStatus.UNAUTHORIZED)
        token = token.strip()
        digest = hashlib.sha256(token.encode()).digest()
        status = self._known(digest)
        if status is None:
            async with self._limiter:
                # Somebody with the same token may have asked meanwhile.
                status = self._known(digest) or await self._ask(token, digest)
        return None if status is HTTPStatus.OK else _refuse(status)

    def _known(self, digest: bytes) -> HTTPStatus | None:
        verdict = self._verdicts.get(digest)
        if verdict is None:
            return None
        lasts = ALLOWED_FOR if verdict.status is HTTPStatus.OK else REFUSED_FOR
        return verdict.status if self._clock() - verdict.at < lasts else None

    async def _ask(self, token: str, digest: bytes) -> HTTPStatus:
        try:
            status = await self._review(token)
        except (ApiError, ConnectionFailed):
            last = self._verdicts.get(digest)
            lately = last is not None and last.status is HTTPStatus.OK and self._clock() - last.at < STALE_FOR
            return HTTPStatus.OK if lately else HTTPStatus.SERVICE_UNAVAILABLE
        self._verdicts[digest] = _Verdict(status, self._clock())
        self._verdicts.move_to_end(digest)
        if len(self._verdicts) > REMEMBERED:
            self._verdicts.popitem(last=False)
        return status

    async def _review(self, token: str) -> HTTPStatus:
        found = await self._client.review(TOKEN_REVIEW, {"token": token})
        user: dict[str, Any] = found.get("user") or {}
        if found.get("authenticated") is not True or not user.get("username"):
            return HTTPStatus.UNAUTHORIZED
        subject = {name: user[key] for name, key in _SUBJECT if user.get(key)}
        attributes = {"path": self._path, "verb": "get"}
        answer = await self._client.review(ACCESS_REVIEW, {**subject, "nonResourceAttributes": attributes})
        allowed = answer.get("allowed") is True and answer.get("denied") is not True
        return HTTPStatus.OK if allowed else HTTPStatus.FORBIDDEN


_SUBJECT = (("user", "username"), ("uid", "uid"), ("groups", "groups"), ("extra", "extra"))

_WORDS = {
    HTTPStatus.UNAUTHORIZED: b"a bearer token that the cluster knows is needed\n",
    HTTPStatus.FORBIDDEN: b"your token does not grant `get` of the non-resource URL /metrics\n",
    HTTPStatus.SERVICE_UNAVAILABLE: b"the API server cannot be asked about your token; try again\n",
}


def _refuse(status: HTTPStatus) -> Response:
    headers = (("WWW-Authenticate", "Bearer"),) if status is HTTPStatus.UNAUTHORIZED else ()
    return Response(status, _WORDS[status], headers=headers)
