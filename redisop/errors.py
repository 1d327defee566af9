"""Every error redisop raises on purpose.

RedisopError
├── InputError        what the user gave is wrong: a file, a field, a flag
├── Disputed          somebody else keeps setting a field of ours
├── ConnectionFailed  the API server or Redis could not be reached
│   └── NotLeading    this process may not write now
└── ApiError          the API server answered with an error status
    ├── Conflict      409: what was planned against is stale, or the name is taken
    ├── Gone          410: the watch's resource version was compacted away
    └── NotFound      404
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_QUOTES_NOTHING = re.compile(r'secrets( "[^"]*")? is forbidden: (User "[^"]*" cannot |exceeded quota: )')


def quotes_nothing(message: str) -> bool:
    """Tell whether `message`, about a Secret, is one that never quotes the object: a missing right, or a quota."""
    return _QUOTES_NOTHING.match(message) is not None


class RedisopError(Exception):
    """Base of all errors below; its text is meant for the user and holds no secret."""


class InputError(RedisopError):
    """Something the user gave is wrong; `where` names the file or field."""

    def __init__(self, message: str, *, where: str = "") -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.where = where


class Disputed(RedisopError):
    """Somebody else sets a field again whenever we do; its text names both. Nothing was sent."""


class ConnectionFailed(RedisopError):
    """No answer: refused, timed out, reset, or not HTTP. Whether a write happened is unknown."""


class NotLeading(ConnectionFailed):
    """Another process holds the Lease, or ours could not be renewed in time: nothing was sent.

    Handled like an API server that cannot be reached, since the task it is raised in is about to be cancelled.
    """


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of a Status' `details.causes`."""

    reason: str
    field: str
    message: str


class ApiError(RedisopError):
    """The API server answered with an error Status."""

    def __init__(
        self,
        message: str,
        *,
        code: int,
        reason: str = "",
        causes: Sequence[Cause] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.causes = tuple(causes)
        self.retry_after = retry_after
        """Seconds the server asked to wait (Retry-After), if it did."""

    @property
    def terminal(self) -> bool:
        """Whether the same request can only fail again until its input changes.

        The API server answers 500 «failed to create typed patch object» for a manifest that does not fit the schema.
        """
        return self.code in {400, 403, 404, 405, 413, 422} or (
            self.code == 500 and "failed to create typed patch object" in str(self)
        )


class Conflict(ApiError):
    """409: stale precondition, or create of a name that exists."""


class Gone(ApiError):
    """410: the resource version of a watch or of a continued list is too old."""


class NotFound(ApiError):
    """404: the object, its namespace or its resource does not exist."""
