"""Log records as one line each, JSON or for a terminal, with the reconcile they belong to.

A line is `message` plus fields: those given by `extra=fields(...)`, and the key and trace of the reconcile it was written in.

Two walls keep secrets out. The first is that nobody logs one: errors of the client hold no body, plans are masked. The second is
here: the text of an exception that redisop did not raise on purpose is left out, since it may quote anything, and what has the
shape of a credential is struck out of every line. A password has no shape, so for those the first wall stands alone; comparing every
line with every password in the cache would cost more the more instances there are, and would still miss its base64.
"""

import json
import logging
import re
import secrets
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Literal, TextIO, TypeAlias

from redisop.errors import InputError, RedisopError

Format: TypeAlias = Literal["json", "console"]

LEVELS = ("debug", "info", "warning", "error")
ROOT = "redisop"
REDACTED = "(redacted)"

_SHAPES = re.compile(
    r"(?P<keep>\b(?:Bearer|Basic)\s+(?=\S{12})|\brediss?://[^\s:/@]*:(?=[^\s/@]+@))[^\s\"'@,;]+"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|\brk_[0-9A-Za-z]{10}_[0-9A-Za-z]{20,}(?:_[0-9A-Za-z]{6})?"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
    re.DOTALL,
)
_CONTEXT: ContextVar[Mapping[str, Any]] = ContextVar("context", default={})  # noqa: B039 - replaced, never changed
_PLAIN = re.compile(r"[\w./:@%+=,-]+", re.ASCII)


def fields(**values: Any) -> dict[str, Any]:
    """Return what to pass as `extra` so that `values` become fields of the line."""
    return {"fields": values}


@contextmanager
def within(**values: Any) -> Iterator[str]:
    """Add `values` and a new trace id, which is yielded, to every line that is logged inside."""
    trace = secrets.token_hex(8)
    token = _CONTEXT.set({**_CONTEXT.get(), **values, "trace": trace})
    try:
        yield trace
    finally:
        _CONTEXT.reset(token)


def configure(style: Format, levels: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send every record to `stream` (stderr) as `style`.

    `levels` are «debug» for redisop as a whole or «redisop.reflector=debug» for one module, as one text each or with commas. The
    default is info for redisop and warning for the libraries. InputError where one is neither.
    """
    wanted = _levels(levels)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name, level in {ROOT: "info", **wanted}.items():
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(capture=True)


def redact(line: str) -> str:
    """Strike out what has the shape of a credential."""
    return _SHAPES.sub(lambda match: (match["keep"] or "") + REDACTED, line)


class JsonFormatter(logging.Formatter):
    """One JSON object in one line: time (RFC 3339, UTC, microseconds), level, logger, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        line = {
            "time": _time(record).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in _fields(record).items() if name not in line}
        return redact(json.dumps(line, default=str, ensure_ascii=False))


class ConsoleFormatter(logging.Formatter):
    """For people: the message first, then the fields as name=value; still one line, save for tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        found = _fields(record)
        where = found.pop("exception", "")
        values = (f"{name}={_shown(value)}" for name, value in found.items())
        start = f"{_time(record).strftime('%H:%M:%S.%f')[:-3]} {record.levelname:<7} {record.name}"
        line = " ".join([start, _escaped(record.getMessage()), *values])
        return redact(f"{line}\n{where}".rstrip())


def describe(error: BaseException) -> str:
    """Return what may be logged of an exception: where each part of it came from, and the text only of our own."""
    parts = []
    for leaf in _leaves(error):
        text = f"{type(leaf).__name__}: {leaf}" if isinstance(leaf, RedisopError) else type(leaf).__name__
        parts.append("".join(traceback.format_tb(leaf.__traceback__)) + text)
    return "\n".join(parts)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return list(chain.from_iterable(map(_leaves, error.exceptions)))
    return [error]


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    given: Mapping[str, Any] = getattr(record, "fields", {})
    found = {**_CONTEXT.get(), **given}
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        found["exception"] = describe(error)
    return found


def _levels(texts: Iterable[str]) -> dict[str, str]:
    found = {}
    for part in ",".join(texts).split(","):
        if not part.strip():
            continue
        name, _, level = part.strip().rpartition("=") if "=" in part else (ROOT, "", part.strip())
        if level.lower() not in LEVELS or not re.fullmatch(r"[\w.]+", name):
            raise InputError(
                f"{part.strip()!r} is neither a level ({', '.join(LEVELS)}) nor MODULE=LEVEL", where="--log-level"
            )
        found[name] = level.lower()
    return found


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=True)


def _escaped(text: str) -> str:
    """Keep what others wrote from steering the terminal or faking a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
