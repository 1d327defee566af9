"""redis.conf: from an instance's redisConfig to text and back, and what of it Redis can change while it runs.

A directive's value is one text, spelled as CONFIG GET returns it and CONFIG SET takes it.
"""

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from redisop.api import Parameters, RedisConfig
from redisop.errors import InputError

PORT = 6379
DATA_DIR = "/data"
ACL_FILE = "/etc/redis-acl/users.acl"
SAVE_POINTS = "3600 1 300 100 60 10000"
"""Seconds and changes after which a snapshot is taken: Redis' own default."""

DEFAULTS: Mapping[str, str] = {
    "activerehashing": "yes",
    "appendfsync": "everysec",
    "auto-aof-rewrite-percentage": "100",
    "busy-reply-threshold": "5000",
    "databases": "16",
    "dynamic-hz": "yes",
    "hash-max-listpack-entries": "512",
    "hash-max-listpack-value": "64",
    "hz": "10",
    "latency-monitor-threshold": "0",
    "lazyfree-lazy-eviction": "no",
    "lazyfree-lazy-expire": "no",
    "lazyfree-lazy-server-del": "no",
    "lazyfree-lazy-user-del": "no",
    "lazyfree-lazy-user-flush": "no",
    "lfu-decay-time": "1",
    "lfu-log-factor": "10",
    "list-compress-depth": "0",
    "list-max-listpack-size": "-2",
    "maxclients": "10000",
    "maxmemory-eviction-tenacity": "10",
    "maxmemory-samples": "5",
    "notify-keyspace-events": "",
    "rdbcompression": "yes",
    "set-max-intset-entries": "512",
    "slowlog-log-slower-than": "10000",
    "slowlog-max-len": "128",
    "stream-node-max-entries": "100",
    "tcp-keepalive": "300",
    "timeout": "0",
    "zset-max-listpack-entries": "128",
    "zset-max-listpack-value": "64",
}
"""Redis' own values (7.0 to 8.2) of all that `parameters` may choose.

They are spelled out in redis.conf: a parameter that is removed from an instance is then a change like any other, which a running
Redis takes over too.
"""

LIVE = frozenset(DEFAULTS) - {"databases"} | {"appendonly", "maxmemory", "maxmemory-policy", "save"}
"""Directives that CONFIG SET changes in Redis 7.0 and later; all others need a restart."""

_SEVERAL_WORDS = frozenset({"bind", "save"})
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_PLAIN = re.compile(rb"[A-Za-z0-9_./:*@%+,=-]+")
_WORD = re.compile(rb'"((?:[^"\\]|\\.)*)"(?=\s|$)|([^\s"\']+)(?=\s|$)', re.DOTALL)
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
_UNESCAPES = {value[0]: b"\\" + key for key, value in _ESCAPES.items()} | {0x22: b'\\"', 0x5C: b"\\\\"}


class ConfigChange(NamedTuple):
    """One directive that differs; `old` or `new` is None where it is missing. `live`: takes effect without a restart."""

    directive: str
    old: str | None
    new: str | None
    live: bool


def directives(config: RedisConfig) -> dict[str, str]:
    """Return every directive of an instance, sorted by name."""
    chosen = {
        field.replace("_", "-"): _spelled(getattr(config.parameters, field))
        for field in Parameters.model_fields
        if getattr(config.parameters, field) is not None
    }
    return dict(
        sorted(
            {
                **DEFAULTS,
                **chosen,
                "aclfile": ACL_FILE,
                "appendonly": _spelled(config.append_only),
                "bind": "* -::*",
                "dir": DATA_DIR,
                "maxmemory": str(config.memory_bytes),
                "maxmemory-policy": config.maxmemory_policy,
                "port": str(PORT),
                # Defence in depth: a `default` user without a password would be reachable from this host only.
                "protected-mode": "yes",
                "save": SAVE_POINTS if config.persistence else "",
            }.items()
        )
    )


def render(found: Mapping[str, str]) -> str:
    """Return redis.conf with one line per directive; InputError for a name or value that no line can hold."""
    return "".join(f"{_checked(name)} {_line(name, value)}\n" for name, value in found.items())


def parse(text: str) -> dict[str, str]:
    """Return the directives of a redis.conf, names in lower case, the last one where a name is repeated.

    InputError, with the number of the line, where Redis would not read it.
    """
    found: dict[str, str] = {}
    for number, raw in enumerate(text.encode("utf-8", "surrogatepass").split(b"\n"), 1):
        line = raw.strip(b" \t\r")
        if not line or line.startswith(b"#"):
            continue
        name, *words = _words(line, number)
        found[name.lower()] = " ".join(words)
    return found


def changed(old: str, new: str) -> tuple[ConfigChange, ...]:
    """Return how the redis.conf `new` differs from `old`, by name. An `old` that cannot be read counts as empty."""
    try:
        before = parse(old)
    except InputError:
        before = {}
    after = parse(new)
    return tuple(
        ConfigChange(name, before.get(name), after.get(name), name in LIVE and name in after)
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    )


def restart_digest(found: Mapping[str, str]) -> str:
    """Return a short digest of the directives that Redis reads only when it starts."""
    text = render({name: found[name] for name in sorted(found) if name not in LIVE})
    return sha256(text.encode()).hexdigest()[:16]


def equivalent(directive: str, wanted: str, found: str) -> bool:
    """Tell whether CONFIG GET's `found` means what `wanted` says; Redis spells keyspace event classes in an order of its own."""
    if directive != "notify-keyspace-events":
        return wanted == found
    return _classes(wanted) == _classes(found)


def _classes(text: str) -> set[str]:
    # Redis 7.0 does not show "n" beside "A", so it cannot count there.
    found = set(text.replace("A", "g$lshzxetd"))
    return found - {"n"} if found >= set("g$lshzxetd") else found


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(f"{name!r} is not the name of a redis.conf directive")
    return name


def _line(name: str, value: str) -> str:
    words = value.split(" ") if name in _SEVERAL_WORDS else [value]
    return " ".join(_quoted(name, word) for word in words)


def _quoted(name: str, word: str) -> str:
    try:
        raw = word.encode()
    except UnicodeEncodeError:
        raise InputError(f"the value of {name} is not text that can be written in UTF-8") from None
    if 0 in raw:
        raise InputError(f"the value of {name} holds a NUL byte, which no redis.conf can")
    if _PLAIN.fullmatch(raw):
        return word
    inner = b"".join(
        _UNESCAPES.get(byte) or (bytes((byte,)) if 0x20 <= byte < 0x7F else b"\\x%02x" % byte) for byte in raw
    )
    return f'"{inner.decode()}"'


def _words(line: bytes, number: int) -> list[str]:
    words: list[str] = []
    at = 0
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:
            raise InputError(f"redis.conf line {number} has unbalanced quotes")
        quoted, plain = match.groups()
        raw = _ESCAPE.sub(_unescaped, quoted) if quoted is not None else plain
        words.append(raw.decode("utf-8", "surrogateescape"))
        at = match.end()
        while at < len(line) and line[at : at + 1].isspace():
            at += 1
    return words


def _unescaped(match: re.Match[bytes]) -> bytes:
    code: bytes = match[1]
    if len(code) == 3:
        return bytes((int(code[1:], 16),))
    return _ESCAPES.get(code, code)
