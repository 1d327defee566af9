"""Read the apiserver's audit log: one JSON document per line and stage of a request."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def finished_requests(log: Path, wanted: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Requests that ended and have these fields, oldest first; a watch ends with its connection."""
    with log.open() as lines:
        for line in lines:
            event: dict[str, Any] = json.loads(line)
            ended = event["stage"] in ("ResponseComplete", "Panic")
            if ended and all(_field(event, key) == value for key, value in wanted.items()):
                yield event


def _field(event: dict[str, Any], key: str) -> str:
    if key == "user":
        return str(event["user"].get("username", ""))
    if key == "verb":
        return str(event["verb"])
    return str(event.get("objectRef", {}).get(key, ""))
